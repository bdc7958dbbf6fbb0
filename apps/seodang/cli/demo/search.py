"""The search errand: documents go in, a question is answered with a citation that was checked."""

import time
from pathlib import Path

from seodang.api.search.v1 import search_pb2
from seodang.cli.demo.errand import Errand
from seodang.client import AsyncClient
from seodang.rpc import from_fault

INDEX = "indexes/demo"


async def ask_search(search: AsyncClient, model: str, documents: Path, question: str) -> Errand:
    """Indexes every text file of a folder, then asks."""
    began_s = time.monotonic()
    texts = [
        search_pb2.Document(id=path.stem, title=path.stem, text=path.read_text(), uri=path.name)
        for path in sorted(documents.glob("*.txt"))
    ]
    await search.search.IndexDocuments(search_pb2.IndexDocumentsRequest(index=INDEX, documents=texts))
    request = search_pb2.AnswerRequest(index=INDEX, question=question, model=model)
    verdict = search_pb2.Verdict()
    async for event in search.search.Answer(request, timeout=60):
        if event.HasField("fault"):
            raise from_fault(event.fault)
        verdict = event.verdict
    cited = "; ".join(f"{citation.document_id}: “{citation.quote}”" for citation in verdict.citations)
    return Errand(
        adapter="search",
        model=model,
        asked=question,
        answered=f"{verdict.answer or 'no answer'} [{cited or 'nothing cited'}]",
        worked=verdict.outcome == search_pb2.Verdict.OUTCOME_GROUNDED,
        seconds=time.monotonic() - began_s,
        detail=f"{len(texts)} documents indexed, {verdict.rejected_citations} citations rejected",
    )
