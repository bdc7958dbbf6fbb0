"""One contestant's answers to the held-out data and the task's verdict on each."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from seodang.distillation.answers import AnswerFile
from seodang.distillation.catalogue import Task
from seodang.distillation.evaluation.contestants import Contestant
from seodang.distillation.evaluation.missions import drive_missions
from seodang.tasks import Example, assistant, messaging, robot, search
from seodang.tasks.robot import RobotRequest

_EPISODES_AT_ONCE: Final = 50


@dataclass(frozen=True)
class Examination:
    """What is asked."""

    task: Task
    examples: Sequence[Example]
    """Held out; of missions, only their languages count."""
    episodes: int
    """Of missions."""
    max_new_tokens: int
    claim: str
    """Fingerprint of the questions."""
    action_tokens: int = 0
    """Of missions: enough for any action and its end, whoever's tokens they are."""

    @property
    def count(self) -> int:
        """Examples or episodes."""
        return self.episodes if self.task is Task.MISSION else len(self.examples)


def examine(
    contestant: Contestant, examination: Examination, file: Path, claim: str, on_examples: Callable[[int], None]
) -> list[float]:
    """The score of each answer, 0 to 1. Answers that ``file`` holds are not asked for again.

    Args:
        claim: fingerprint of the contestant's weights.
    """
    made = AnswerFile(file, f"{examination.claim} {claim}", _EPISODES_AT_ONCE)
    if examination.task is Task.MISSION:
        languages = sorted({example.language for example in examination.examples})

        def act(requests: Sequence[RobotRequest]) -> Sequence[str]:
            scenes = [robot.messages(request) for request in requests]
            return list(contestant.answers(scenes, examination.action_tokens))

        outcomes = made.complete(
            examination.count,
            lambda numbers: drive_missions(numbers, languages, act),
            on_examples,
        )
        return [float(outcome) for outcome in outcomes]
    prompts = [example.messages for example in examination.examples]

    def answer(numbers: Sequence[int]) -> Iterable[str]:
        return contestant.answers([prompts[number] for number in numbers], examination.max_new_tokens)

    answers = made.complete(examination.count, answer, on_examples)
    judge = _JUDGES[examination.task]
    return [judge(text, example.answer) for text, example in zip(answers, examination.examples, strict=True)]


def _judge_exact(text: str, expected: str) -> float:
    return float(text.strip() == expected.strip())


_JUDGES: Final[dict[Task, Callable[[str, str], float]]] = {
    Task.TOOL_CALL: lambda text, expected: assistant.score(text, expected)["exact"],
    Task.GROUNDED: lambda text, expected: search.score(text, expected)["exact"],
    Task.REPLY: lambda text, expected: messaging.score(text, expected)["f1"],
    Task.EXACT: _judge_exact,
}
