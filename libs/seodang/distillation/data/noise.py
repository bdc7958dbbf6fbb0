"""Noised copies of prompts: more questions of the kind that the teacher knows to answer, where right answers are few.

A teacher that labels them tells a student how its certainty falls as words go missing, which the few clean prompts do
not (after Tang et al., "Distilling Task-Specific Knowledge from BERT into Simple Neural Networks", 2019).
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from seodang.tasks import Example

DROPPED: Final = 0.1
EXCHANGED: Final = 0.1
SWAPPED: Final = 0.1


def noised(examples: Sequence[Example], copies: int, seed: int) -> Iterator[Example]:
    """``copies`` of each example with words of its last message dropped, swapped, or exchanged for another's.

    The right answer stays: it is what the teacher is asked about, and all that a student without one has.
    """
    words_of: dict[str, list[str]] = {}
    for example in examples:
        words_of.setdefault(example.source, []).extend(example.messages[-1].content.split())
    rng = random.Random(f"noise {seed}")
    for _ in range(copies):
        for example in examples:
            last = example.messages[-1]
            text = " ".join(_noised(last.content.split(), words_of[example.source], rng))
            yield replace(example, messages=(*example.messages[:-1], replace(last, content=text)))


def _noised(words: list[str], others: Sequence[str], rng: random.Random) -> list[str]:
    """At least one word stays."""
    kept = [word for word in words if rng.random() >= DROPPED] or words[:1]
    kept = [rng.choice(others) if rng.random() < EXCHANGED else word for word in kept]
    for at in range(len(kept) - 1):
        if rng.random() < SWAPPED:
            kept[at], kept[at + 1] = kept[at + 1], kept[at]
    return kept
