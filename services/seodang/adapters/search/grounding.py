"""Reads an answer as a student writes it, and lets through only the sentences whose citations are true.

A sentence is ``TEXT [n] "QUOTE"`` (``seodang.tasks.search``), one a line. It passes when QUOTE stands in passage n and
TEXT stands in QUOTE; anything else is withheld, so that no reader ever sees words that stand in no passage.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from seodang.adapters.search.citations import fold, locate
from seodang.adapters.search.domain import Citation, Outcome, Passage, Span
from seodang.api.types.v1 import usage_pb2
from seodang.tasks import InvalidAnswer, search

_SENTENCE_END = re.compile(r'"[^\S\n]*\n')
# A student that never ends a sentence must not be collected for ever.
_MAX_SENTENCE_CHARACTERS: Final = 20_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """An answer and what it stands on; ``answer`` is the text of all pieces joined."""

    outcome: Outcome
    answer: str = ""
    citations: tuple[Citation, ...] = ()
    rejected_citations: int = 0
    usage: usage_pb2.Usage | None = None


class AnswerReader:
    """Collects a student's text; ``feed`` and ``finish`` yield the text of each sentence once it is proved."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self._passages = passages
        self._pending = ""
        self._answer = ""
        self._citations: list[Citation] = []
        self._rejected_citations = 0
        self._withheld = 0

    def feed(self, text: str) -> Iterator[str]:
        """Takes the next piece of the student's text."""
        self._pending += text
        while end := _SENTENCE_END.search(self._pending):
            written, self._pending = self._pending[: end.end()], self._pending[end.end() :]
            yield from self._judge(written)
        self._pending = self._pending[:_MAX_SENTENCE_CHARACTERS]

    def finish(self) -> Iterator[str]:
        """Takes the end of the student's text."""
        written, self._pending = self._pending, ""
        if written.strip() or not (self._citations or self._withheld):
            yield from self._judge(written)

    def verdict(self, usage: usage_pb2.Usage) -> Verdict:
        """What the sentences read so far amount to."""
        if self._citations:
            outcome = Outcome.GROUNDED
        else:
            outcome = Outcome.UNGROUNDED if self._withheld else Outcome.NO_ANSWER
        return Verdict(outcome, self._answer, tuple(self._citations), self._rejected_citations, usage)

    def _judge(self, written: str) -> Iterator[str]:
        try:
            answer = search.parse(written)
        except InvalidAnswer:
            self._withheld += 1
            return
        if isinstance(answer, search.NoAnswer):
            return
        citation = self._cite(answer)
        if citation is None:
            self._withheld += 1
            self._rejected_citations += 1
            return
        piece = f" {answer.text}" if self._answer else answer.text
        self._answer += piece
        self._citations.append(citation)
        yield piece

    def _cite(self, answer: search.Grounded) -> Citation | None:
        if not 1 <= answer.citation <= len(self._passages):
            return None
        passage = self._passages[answer.citation - 1]
        found = locate(answer.quote, passage.text)
        if found is None or locate(answer.text, answer.quote) is None:
            return None
        span = Span(passage.span.start + found.start, passage.span.start + found.end)
        quote = passage.text[found.start : found.end]
        return Citation(answer.citation - 1, passage.document_id, quote, span)


def shown(passage: Passage) -> str:
    """A passage as the student sees it: on one line, composed."""
    return fold(passage.text).text
