"""Further questions on a prompt already read: more to learn from the same tokens, in training only.

Reading a room or some passages is dear, and one action word or one answer teaches little about it. So an example
goes on: where is the target, where is that other thing, what about the next question.
"""

import random
from collections.abc import Iterator

from seodang.corpora import babyai, grounded
from seodang.corpora.probes import Turn, probes
from seodang.tasks import Example

_MISSIONS_A_STATE = 4
_QUESTIONS_A_CASE = 4


def robot_cases(language: str, seed: int) -> Iterator[tuple[Example, list[Turn]]]:
    """States with the expert's action, then what it would do on other missions, and where things are."""
    rng = random.Random(f"probes {seed}")
    for first, *others in babyai.conversations(language, "train", seed, _MISSIONS_A_STATE):
        yield first, [(_question(other), other.answer) for other in others] + probes(first, rng)


def grounded_cases(language: str, seed: int) -> Iterator[tuple[Example, list[Turn]]]:
    """Grounded questions, each with further ones on the same passages."""
    for conversation in grounded.conversations(language, "train", seed):
        first, *others = conversation[: 1 + _QUESTIONS_A_CASE]
        yield first, [(_question(other), other.answer) for other in others]


def _question(example: Example) -> str:
    return example.messages[-1].content.rsplit("\n", 1)[1]
