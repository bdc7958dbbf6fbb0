"""Translates between the contract and the search service."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from grpc import aio

from seodang.adapters.search.domain import Citation, Document, Outcome, Passage
from seodang.adapters.search.grounding import Verdict
from seodang.adapters.search.service import AnswerEvent, Question, SearchService
from seodang.api.search.v1 import search_pb2, search_pb2_grpc
from seodang.base.errors import SeodangError
from seodang.rpc import to_fault

Context = aio.ServicerContext[Any, Any]

_OUTCOMES = {
    Outcome.GROUNDED: search_pb2.Verdict.OUTCOME_GROUNDED,
    Outcome.NO_ANSWER: search_pb2.Verdict.OUTCOME_NO_ANSWER,
    Outcome.UNGROUNDED: search_pb2.Verdict.OUTCOME_UNGROUNDED,
}


class SearchServicer(search_pb2_grpc.SearchServiceServicer):
    """The contract's SearchService."""

    def __init__(self, service: SearchService) -> None:
        self._service = service

    async def IndexDocuments(
        self, request: search_pb2.IndexDocumentsRequest, context: Context
    ) -> search_pb2.IndexDocumentsResponse:
        """Adds or replaces documents."""
        documents = [Document(d.id, d.title, d.text, d.uri, dict(d.metadata)) for d in request.documents]
        size = await self._service.put(request.index, documents)
        return search_pb2.IndexDocumentsResponse(documents=size.documents, passages=size.passages)

    async def DeleteDocuments(
        self, request: search_pb2.DeleteDocumentsRequest, context: Context
    ) -> search_pb2.DeleteDocumentsResponse:
        """Removes documents."""
        deleted = await self._service.delete(request.index, list(request.ids))
        return search_pb2.DeleteDocumentsResponse(deleted=deleted)

    async def Query(self, request: search_pb2.QueryRequest, context: Context) -> search_pb2.QueryResponse:
        """Ranked passages."""
        passages, token = await self._service.query(request.index, request.query, request.page_size, request.page_token)
        return search_pb2.QueryResponse(passages=map(_passage, passages), next_page_token=token)

    async def GetIndex(self, request: search_pb2.GetIndexRequest, context: Context) -> search_pb2.GetIndexResponse:
        """How large an index is."""
        size = await self._service.size(request.index)
        return search_pb2.GetIndexResponse(index=request.index, documents=size.documents, passages=size.passages)

    async def Answer(
        self, request: search_pb2.AnswerRequest, context: Context
    ) -> AsyncIterator[search_pb2.AnswerResponse]:
        """Passages, text, and the verdict or a fault."""
        question = Question(
            request.index,
            request.question,
            request.passages,
            request.model,
            request.request_id,
            request.subject if request.store else None,
        )
        accepted = False
        try:
            async with aclosing(self._service.answer(question, context.time_remaining())) as events:
                async for event in events:
                    yield _answer_event(event)
                    accepted = True
        except SeodangError as error:
            if not accepted:
                raise
            yield search_pb2.AnswerResponse(fault=to_fault(error))


def _answer_event(event: AnswerEvent) -> search_pb2.AnswerResponse:
    if isinstance(event, Verdict):
        return search_pb2.AnswerResponse(verdict=_verdict(event))
    if isinstance(event, str):
        return search_pb2.AnswerResponse(text=event)
    passages = search_pb2.AnswerResponse.Passages(passages=map(_passage, event))
    return search_pb2.AnswerResponse(passages=passages)


def _verdict(verdict: Verdict) -> search_pb2.Verdict:
    return search_pb2.Verdict(
        outcome=_OUTCOMES[verdict.outcome],
        answer=verdict.answer,
        citations=map(_citation, verdict.citations),
        rejected_citations=verdict.rejected_citations,
        usage=verdict.usage,
    )


def _citation(citation: Citation) -> search_pb2.Citation:
    return search_pb2.Citation(
        passage=citation.passage,
        document_id=citation.document_id,
        quote=citation.quote,
        start=citation.span.start,
        end=citation.span.end,
    )


def _passage(passage: Passage) -> search_pb2.Passage:
    return search_pb2.Passage(
        document_id=passage.document_id,
        title=passage.title,
        uri=passage.uri,
        text=passage.text,
        start=passage.span.start,
        end=passage.span.end,
        score=passage.score,
    )
