"""Finds a quote in a text and says exactly where it stands.

A model may write a letter composed where the text has it decomposed, or one space where the text breaks a line.
Both sides are therefore compared in Unicode's composed form (NFC) with whitespace collapsed, and the place found is
mapped back to the characters of the text as it is. Nothing else is forgiven: a quote that differs is no quote.
"""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from seodang.adapters.search.domain import Span


@dataclass(frozen=True, slots=True)
class Folded:
    """A text in comparable form; character ``i`` of ``text`` came from ``origins[i]`` of the original."""

    text: str
    origins: tuple[Span, ...]


def locate(quote: str, text: str) -> Span | None:
    """Where the quote stands in the text for the first time; None when it does not, or when the quote is blank."""
    wanted, folded = fold(quote).text.strip(), fold(text)
    at = folded.text.find(wanted) if wanted else -1
    while at >= 0:
        span = _original(folded, at, at + len(wanted))
        if span is not None:
            return span
        at = folded.text.find(wanted, at + 1)
    return None


def fold(text: str) -> Folded:
    """The text in NFC with each run of whitespace as one space, and where each character came from."""
    characters: list[str] = []
    origins: list[Span] = []
    for cluster in _clusters(text):
        piece = text[cluster.start : cluster.end]
        folded = " " if piece.isspace() else unicodedata.normalize("NFC", piece)
        characters.append(folded)
        origins += [cluster] * len(folded)
    return Folded("".join(characters), tuple(origins))


def _clusters(text: str) -> Iterator[Span]:
    """Runs of whitespace, and the shortest pieces that can be normalised without regard to their neighbours."""
    start = 0
    for at in range(1, len(text) + 1):
        if at == len(text) or not _belongs(text[start:at], text[at]):
            yield Span(start, at)
            start = at


def _belongs(piece: str, character: str) -> bool:
    if piece[-1].isspace() or character.isspace():
        return piece[-1].isspace() and character.isspace()
    if piece[-1].isascii() and character.isascii():
        return False
    if unicodedata.combining(character):
        return True
    # Hangul vowels and tails, and some Indic signs, are starters that still merge with what stands before them.
    apart = unicodedata.normalize("NFC", piece) + unicodedata.normalize("NFC", character)
    return unicodedata.normalize("NFC", piece + character) != apart


def _original(folded: Folded, start: int, end: int) -> Span | None:
    """The original span of folded characters, unless it would begin or end inside a character of the original."""
    first, last = folded.origins[start], folded.origins[end - 1]
    torn = (start > 0 and folded.origins[start - 1] == first) or (
        end < len(folded.origins) and folded.origins[end] == last
    )
    return None if torn else Span(first.start, last.end)
