"""Search: a question and numbered passages become a short answer that quotes its evidence, or an explicit "no answer".

The answer is ``TEXT [n] "QUOTE"``: ``QUOTE`` stands word for word in passage ``n``, and ``TEXT`` stands in ``QUOTE``,
so that a caller can check both without trusting the model.
"""

import re
from dataclasses import dataclass

from seodang.tasks.message import Message, Role
from seodang.tasks.parsing import InvalidAnswer

SYSTEM_PROMPT = "answer from passages"
NO_ANSWER = "no answer"
_ANSWER = re.compile(r'(?P<text>.+?) \[(?P<citation>[1-9][0-9]?)\] "(?P<quote>.+)"', re.DOTALL)


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """A question, and the passages that may hold its answer; passage 1 is ``passages[0]``."""

    question: str
    passages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Grounded:
    """An answer with the number of the passage it stands on (from 1) and the words quoted from it."""

    text: str
    citation: int
    quote: str


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """The passages do not answer the question."""


SearchAnswer = Grounded | NoAnswer


def messages(request: SearchRequest) -> list[Message]:
    """The prompt of one request."""
    passages = [f"[{number}] {passage}" for number, passage in enumerate(request.passages, start=1)]
    return [
        Message(Role.SYSTEM, SYSTEM_PROMPT),
        Message(Role.USER, "\n".join([*passages, f"? {request.question}"])),
    ]


def render(answer: SearchAnswer) -> str:
    """The answer as the model writes it."""
    if isinstance(answer, NoAnswer):
        return NO_ANSWER
    return f'{answer.text} [{answer.citation}] "{answer.quote}"'


def parse(text: str) -> SearchAnswer:
    """Read a model's text. Whether the quote stands in the passage is for ``supported`` to say.

    Raises:
        InvalidAnswer: neither ``NO_ANSWER`` nor ``TEXT [n] "QUOTE"``.
    """
    stripped = text.strip()
    if stripped == NO_ANSWER:
        return NoAnswer()
    match = _ANSWER.fullmatch(stripped)
    if match is None:
        raise InvalidAnswer(f'an answer must be {NO_ANSWER!r} or TEXT [n] "QUOTE"', text=text)
    return Grounded(match["text"], int(match["citation"]), match["quote"])


def supported(answer: Grounded, passages: tuple[str, ...]) -> bool:
    """Does the quote stand in the cited passage word for word, and the text in the quote?"""
    if not 1 <= answer.citation <= len(passages):
        return False
    return answer.quote in passages[answer.citation - 1] and answer.text in answer.quote


def score(predicted: str, expected: str) -> dict[str, float]:
    """``exact``: the right text and passage, or rightly no answer; ``text`` and ``citation``: that part alone."""
    wanted = parse(expected)
    try:
        answer = parse(predicted)
    except InvalidAnswer:
        return {"exact": 0.0, "text": 0.0, "citation": 0.0}
    if isinstance(wanted, NoAnswer) or isinstance(answer, NoAnswer):
        same = float(wanted == answer)
        return {"exact": same, "text": same, "citation": same}
    text, citation = answer.text == wanted.text, answer.citation == wanted.citation
    return {"exact": float(text and citation), "text": float(text), "citation": float(citation)}
