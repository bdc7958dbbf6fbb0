"""Right answers for prompts that have none: captured traffic has only what a student said, so the teacher is asked."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeAlias

from seodang.distillation.answers import AnswerFile
from seodang.distillation.data import Gathered
from seodang.tasks import Example, Message

LONGEST_ANSWER: Final = 512
"""Tokens."""
Ask: TypeAlias = Callable[[Sequence[Sequence[Message]], int], Iterable[str]]
"""Greedy answers to prompts, of at most so many tokens."""


def answered(gathered: Gathered, fits: Callable[[Example], bool], ask: Ask, file: Path, claim: str) -> Gathered:
    """The same prompts with the teacher's answers. Those that it has nothing to say to are left out.

    Args:
        fits: whether a prompt is short enough to be asked; the others stay as they are, to be counted as too long.
        file: the answers so far; what is there is not asked for again.
        claim: fingerprint of teacher and prompts.
    """
    every = [example for part in (gathered.train, gathered.dev, gathered.eval) for example in part if fits(example)]

    def ask_some(numbers: Sequence[int]) -> Iterable[str]:
        return ask([every[number].messages for number in numbers], LONGEST_ANSWER)

    made = AnswerFile(file, claim).complete(len(every), ask_some)
    answer_of = {example.messages: answer for example, answer in zip(every, made, strict=True)}

    def labelled(part: Sequence[Example]) -> tuple[Example, ...]:
        answers = (answer_of.get(example.messages, example.answer) for example in part)
        pairs = zip(part, answers, strict=True)
        return tuple(replace(example, answer=answer, group=answer) for example, answer in pairs if answer.strip())

    return replace(gathered, train=labelled(gathered.train), dev=labelled(gathered.dev), eval=labelled(gathered.eval))
