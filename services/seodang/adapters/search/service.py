"""Decides what search does: which documents go in, which passages come out, and which sentences may be said."""

import asyncio
import base64
import binascii
import hashlib
from collections import defaultdict
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Final

from seodang.adapters.search.constraint import answer_grammar
from seodang.adapters.search.domain import (
    Document,
    IndexSize,
    Outcome,
    Passage,
    check_document,
    check_query,
    index_id,
)
from seodang.adapters.search.grounding import AnswerReader, Verdict, shown
from seodang.adapters.search.repository import IndexRepository
from seodang.adapters.search.settings import SearchSettings
from seodang.adapters.search.terms import match_expression
from seodang.api.inference.v1 import generate_pb2
from seodang.base.errors import InternalFault, InvalidInput
from seodang.capture import Keep, keep_nothing
from seodang.client import AsyncClient, chat
from seodang.rpc import from_fault
from seodang.tasks import search

DEFAULT_PAGE_SIZE: Final = 10
LARGEST_PAGE_SIZE: Final = 100
DEFAULT_PASSAGES: Final = 3
MOST_PASSAGES: Final = 8
# What the student leaves of the caller's deadline, so that its lateness arrives as a fault and not as silence.
_WAY_BACK_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Question:
    """What someone asks of an index. ``model`` and ``passages`` may be left to the server: empty, and 0."""

    index: str
    text: str
    passages: int = 0
    model: str = ""
    request_id: str = ""
    shared_by: str | None = None
    """Pseudonym of whoever asks, if they agree to this being kept for training."""


AnswerEvent = tuple[Passage, ...] | str | Verdict


class SearchService:
    """Indexes, ranks and answers; the student is reached through the mesh."""

    def __init__(self, student: AsyncClient, settings: SearchSettings, keep: Keep = keep_nothing) -> None:
        self._student = student
        self._keep = keep
        self._settings = settings
        self._indexes = IndexRepository(settings.state_dir, settings.passage_characters)
        # Writers of one index wait here rather than in a thread each.
        self._writers: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def put(self, index: str, documents: Sequence[Document]) -> IndexSize:
        """Adds or replaces documents by id, all or none; makes the index when there is none.

        Raises:
            InvalidInput: a name, or a document that is empty, too large or given twice.
        """
        name = index_id(index)
        if not documents:
            raise InvalidInput("documents is empty: give at least one", field="documents")
        seen: dict[str, int] = {}
        for number, document in enumerate(documents):
            check_document(document, f"documents[{number}]")
            if document.id in seen:
                raise InvalidInput(
                    f"documents[{number}].id={document.id!r} is also that of documents[{seen[document.id]}]: "
                    "send each document once",
                    field=f"documents[{number}].id",
                )
            seen[document.id] = number
        async with self._writers[name]:
            return await asyncio.to_thread(self._indexes.put, name, documents)

    async def delete(self, index: str, ids: Sequence[str]) -> int:
        """Removes documents; says how many existed.

        Raises:
            InvalidInput: a bad name. NotFound: no such index.
        """
        name = index_id(index)
        async with self._writers[name]:
            return await asyncio.to_thread(self._indexes.delete, name, ids)

    async def size(self, index: str) -> IndexSize:
        """How much an index holds.

        Raises:
            InvalidInput: a bad name. NotFound: no such index.
        """
        return await asyncio.to_thread(self._indexes.size, index_id(index))

    async def query(self, index: str, query: str, page_size: int, page_token: str) -> tuple[list[Passage], str]:
        """A page of passages, best first, and the token of the next page.

        Pages are counted, not held: documents that change between two pages move the later one.

        Raises:
            InvalidInput: a bad name, query, size or token. NotFound: no such index.
        """
        name = index_id(index)
        if not 0 <= page_size <= LARGEST_PAGE_SIZE:
            raise InvalidInput(f"page_size={page_size}: must be 1 to {LARGEST_PAGE_SIZE}", field="page_size")
        expression = _expression(query, "query")
        limit, offset = page_size or DEFAULT_PAGE_SIZE, _offset(page_token, index, query)
        found = await asyncio.to_thread(self._indexes.search, name, expression, limit + 1, offset)
        return found[:limit], _token(offset + limit, index, query) if len(found) > limit else ""

    async def answer(self, question: Question, timeout_s: float) -> AsyncGenerator[AnswerEvent, None]:
        """The passages, the sentences that are proved as they are written, and the verdict.

        Raises:
            InvalidInput: a bad name, question or number. NotFound: no such index.
            SeodangError: after the passages, whatever the student failed with.
        """
        name = index_id(question.index)
        if not 0 <= question.passages <= MOST_PASSAGES:
            raise InvalidInput(f"passages={question.passages}: must be 1 to {MOST_PASSAGES}", field="passages")
        expression = _expression(question.text, "question")
        limit = question.passages or DEFAULT_PASSAGES
        passages = await asyncio.to_thread(self._indexes.search, name, expression, limit)
        yield tuple(passages)
        if not passages:
            yield Verdict(Outcome.NO_ANSWER)
            return
        reader = AnswerReader(passages)
        request = self._request(question, passages)
        model, answer = "", list[str]()
        call = self._student.inference.Generate(request, timeout=max(timeout_s - _WAY_BACK_S, timeout_s / 2))
        try:
            async for event in call:
                if event.HasField("fault"):
                    raise from_fault(event.fault)
                model = event.accepted.model or model
                answer.append(event.delta.text)
                for piece in reader.feed(event.delta.text):
                    yield piece
                if event.HasField("finished"):
                    if question.shared_by is not None:
                        self._keep(question.shared_by, request, model, "".join(answer))
                    for piece in reader.finish():
                        yield piece
                    yield reader.verdict(event.finished.usage)
                    return
        finally:
            call.cancel()
        raise InternalFault("the student's generation ended without saying how: report it")

    def _request(self, question: Question, passages: Sequence[Passage]) -> generate_pb2.GenerateRequest:
        texts = tuple(map(shown, passages))
        messages = search.messages(search.SearchRequest(question.text, texts))
        return generate_pb2.GenerateRequest(
            request_id=question.request_id,
            model=question.model or self._settings.model,
            prompt=chat((message.role.value, message.content) for message in messages),
            sampling=generate_pb2.Sampling(temperature=0),
            constraint=generate_pb2.Constraint(lark_grammar=answer_grammar(texts)),
            max_new_tokens=self._settings.max_answer_tokens,
        )


def _expression(query: str, field: str) -> str:
    check_query(query, field)
    expression = match_expression(query)
    if not expression:
        raise InvalidInput(f"{field}={query[:100]!r} holds no letter or digit to look for", field=field)
    return expression


def _token(offset: int, index: str, query: str) -> str:
    mark = hashlib.sha256(f"{index}\0{query}".encode()).hexdigest()[:16]
    return base64.urlsafe_b64encode(f"{offset}:{mark}".encode()).decode().rstrip("=")


def _offset(token: str, index: str, query: str) -> int:
    if not token:
        return 0
    try:
        offset = int(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode().partition(":")[0])
    except (binascii.Error, ValueError):
        offset = -1
    if offset < 0 or _token(offset, index, query) != token:
        raise InvalidInput(
            f"page_token={token[:100]!r} belongs to no page of this query: pass next_page_token as it came, "
            "with the same index and query",
            field="page_token",
        )
    return offset
