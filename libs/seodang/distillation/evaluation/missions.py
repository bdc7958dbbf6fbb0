"""Robot missions as an examination: whole episodes of BabyAI, many at a time, each to its end."""

from collections.abc import Callable, Sequence
from typing import Final

from seodang.tasks import InvalidAnswer, robot
from seodang.tasks.robot import Action, RobotRequest

# Below the seeds of training, and apart from those by which a teacher is tuned.
FIRST_SEED: Final = 500_000

Act = Callable[[Sequence[RobotRequest]], Sequence[str]]


def drive_missions(numbers: Sequence[int], languages: Sequence[str], act: Act) -> list[str]:
    """ "1" for each episode that ends in success, else "0". An answer that is no action moves nothing, and counts.

    Args:
        numbers: of the episodes; levels and languages take turns.
        act: the texts that answer some requests.
    """
    from seodang.corpora.babyai import LEVELS, Episode

    kinds = [(level, language) for level in LEVELS for language in languages]
    episodes = []
    for number in numbers:
        level, language = kinds[number % len(kinds)]
        episodes.append(Episode(level, FIRST_SEED + number // len(kinds), language))
    while running := [episode for episode in episodes if not episode.over]:
        for episode, text in zip(running, act([episode.request() for episode in running]), strict=True):
            episode.step(_action(text))
    return [str(int(episode.success)) for episode in episodes]


def _action(text: str) -> Action:
    try:
        return robot.parse(text)
    except InvalidAnswer:
        return Action.DONE
