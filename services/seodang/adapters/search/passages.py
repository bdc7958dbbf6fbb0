"""Splits a text into passages: whole sentences where they fit, each passage an exact slice of the text."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from seodang.adapters.search.domain import Span

# A sentence ends at its mark and closing quotes before a space, at an ideographic mark, or at a blank line.
_BREAK = re.compile(r"[.!?…]+[\"'”’」』)\]]*(?=\s)|[。！？]+[\"'”’」』)\]]*|(?P<paragraph>\n[^\S\n]*\n\s*)")
_CONJOINING_VOWELS_AND_TAILS = range(0x1160, 0x1200)


@dataclass(frozen=True, slots=True)
class _Piece:
    span: Span
    opens_paragraph: bool


def split(text: str, limit: int) -> list[Span]:
    """The passages of a text, in order, none longer than ``limit`` characters and none beginning or ending in space.

    Every character that is no whitespace is in exactly one passage. Sentences are packed together up to the limit;
    a paragraph begins a new passage once the one before is at least half full.
    """
    passages: list[Span] = []
    for piece in _pieces(text, limit):
        last = passages[-1] if passages else None
        fits = last is not None and piece.span.end - last.start <= limit
        if last is None or not fits or (piece.opens_paragraph and last.end - last.start >= limit // 2):
            passages.append(piece.span)
        else:
            passages[-1] = Span(last.start, piece.span.end)
    return passages


def sentences(text: str) -> list[str]:
    """The sentences of a text, in order, without the space around them."""
    return [text[piece.span.start : piece.span.end] for piece in _pieces(text, max(len(text), 1))]


def _pieces(text: str, limit: int) -> Iterator[_Piece]:
    """Sentences, cut where one is longer than the limit."""
    start, opens_paragraph = 0, True
    for found in [*_BREAK.finditer(text), None]:
        end = len(text) if found is None else found.end()
        for span in _cut(text, _trimmed(text, Span(start, end)), limit):
            yield _Piece(span, opens_paragraph)
            opens_paragraph = False
        opens_paragraph = opens_paragraph or (found is not None and found["paragraph"] is not None)
        start = end


def _cut(text: str, span: Span, limit: int) -> Iterator[Span]:
    """The span in parts of at most ``limit`` characters, cut at a line's end, else a space, else anywhere whole."""
    while span.end - span.start > limit:
        window = Span(span.start, span.start + limit)
        at = _last_space(text, window) or _whole_character(text, window)
        yield _trimmed(text, Span(span.start, at))
        span = _trimmed(text, Span(at, span.end))
    if span.start < span.end:
        yield span


def _last_space(text: str, window: Span) -> int | None:
    line = text.rfind("\n", window.start + 1, window.end)
    if line > window.start + (window.end - window.start) // 2:
        return line
    return next((i for i in range(window.end - 1, window.start, -1) if text[i].isspace()), None)


def _whole_character(text: str, window: Span) -> int:
    """The last place in the window before which no character is torn from its marks."""
    for at in range(window.end, window.start, -1):
        character = text[at]
        if not unicodedata.combining(character) and ord(character) not in _CONJOINING_VOWELS_AND_TAILS:
            return at
    return window.end


def _trimmed(text: str, span: Span) -> Span:
    start, end = span.start, span.end
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return Span(start, end)
