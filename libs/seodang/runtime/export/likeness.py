"""Whether llama.cpp would cut texts into the same tokens: its tokenizer rebuilt here from the same parts, and compared.

llama.cpp first takes out the tokens that stand for themselves, longest first, then cuts what lies between by the
patterns of the pre-tokenizer, then merges each piece. It does not normalise.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tokenizers import Tokenizer

from seodang.runtime.export.pre_tokenizers import PRE_TOKENIZERS, PreTokenizer

_SHOWN: Final = 3
_AT_ONCE: Final = 2048


@dataclass(frozen=True, slots=True)
class Difference:
    """A text that the two cut differently."""

    text: str
    ours: tuple[int, ...]
    theirs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Likeness:
    """The closest that llama.cpp comes to a tokenizer."""

    pre_tokenizer: PreTokenizer
    blanks: tuple[str, ...]
    """Tokens of several blanks that the file must declare as standing for themselves, as text."""
    probed: int
    differing: int
    differences: tuple[Difference, ...]
    """A few of them, the shortest."""


class LlamaCppTokenizer:
    """llama.cpp's byte-level BPE on the vocabulary and merges of a ``tokenizer.json``.

    Args:
        spec: its content.
        pre_tokenizer: how pieces are cut.
        whole: text and id of tokens that stand for themselves.
    """

    def __init__(self, spec: Mapping[str, Any], pre_tokenizer: PreTokenizer, whole: Mapping[str, int]) -> None:
        cuts = [
            {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
            for pattern in pre_tokenizer.patterns
        ]
        to_bytes = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
        parts: dict[str, Any] = {
            "normalizer": None,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [*cuts, to_bytes]},
            "post_processor": None,
            "added_tokens": [],
            "truncation": None,
            "padding": None,
            "model": {**spec["model"], "ignore_merges": pre_tokenizer.ignore_merges},
        }
        self._pieces = Tokenizer.from_str(json.dumps({**spec, **parts}))
        self._whole = sorted(whole.items(), key=lambda item: -len(item[0].encode()))

    def encode(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """Token ids of each text."""
        cut = [self._partition(text) for text in texts]
        between = list({part for parts in cut for part in parts if isinstance(part, str)})
        ids = {part: encoding.ids for part, encoding in zip(between, self._pieces.encode_batch(between), strict=True)}
        return [
            tuple(token for part in parts for token in (ids[part] if isinstance(part, str) else [part]))
            for parts in cut
        ]

    def _partition(self, text: str) -> list[str | int]:
        parts: list[str | int] = [text]
        for token, index in self._whole:
            if token in text:
                parts = [piece for part in parts for piece in _take_out(part, token, index)]
        return parts


def closest(spec: Mapping[str, Any], texts: Iterable[str], whole: Mapping[str, int], blanks: Sequence[str]) -> Likeness:
    """The pre-tokenizer under which the fewest of ``texts`` come out differently.

    Args:
        spec: content of ``tokenizer.json``.
        texts: to be tried.
        whole: text and id of the tokens that stand for themselves anyway.
        blanks: texts of other tokens, of several blanks, that may be declared to, should that help.
    """
    every = list(dict.fromkeys(texts))
    original = Tokenizer.from_str(json.dumps(spec))
    ours = [tuple(encoding.ids) for encoding in original.encode_batch(every, add_special_tokens=False)]
    best: Likeness | None = None
    for declared in [(), tuple(blanks)] if blanks else [()]:
        standing = dict(whole) | dict(zip(declared, _ids(original, declared), strict=True))
        for pre_tokenizer in PRE_TOKENIZERS:
            found = _differences(LlamaCppTokenizer(spec, pre_tokenizer, standing), every, ours, best)
            if best is None or len(found) < best.differing:
                best = Likeness(pre_tokenizer, declared, len(every), len(found), _few(found))
            if not found:
                return best
    assert best is not None  # there is at least one pre-tokenizer
    return best


def _differences(
    tokenizer: LlamaCppTokenizer, texts: Sequence[str], ours: Sequence[tuple[int, ...]], best: Likeness | None
) -> list[Difference]:
    """All of them; or some, as soon as they are no fewer than the best's."""
    found: list[Difference] = []
    for begin in range(0, len(texts), _AT_ONCE):
        part = texts[begin : begin + _AT_ONCE]
        triples = zip(part, ours[begin : begin + _AT_ONCE], tokenizer.encode(part), strict=True)
        found += [Difference(*triple) for triple in triples if triple[1] != triple[2]]
        if best is not None and len(found) >= best.differing:
            break
    return found


def _few(found: Sequence[Difference]) -> tuple[Difference, ...]:
    """Some of the shortest, unlike one another."""
    shortest = min((len(difference.text) for difference in found), default=0)
    short = [difference for difference in found if len(difference.text) == shortest]
    words_last = sorted(short, key=lambda difference: (difference.text[-1].isalpha(), difference.text))
    return tuple({difference.text[0]: difference for difference in words_last}.values())[:_SHOWN]


def _take_out(part: str | int, token: str, index: int) -> list[str | int]:
    if isinstance(part, int):
        return [part]
    between = part.split(token)
    taken: list[str | int] = [between[0]]
    for text in between[1:]:
        taken += [index, text]
    return [piece for piece in taken if piece != ""]


def _ids(tokenizer: Tokenizer, texts: Sequence[str]) -> list[int]:
    return [encoding.ids[0] for encoding in tokenizer.encode_batch(list(texts), add_special_tokens=False)]
