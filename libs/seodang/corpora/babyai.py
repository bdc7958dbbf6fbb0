"""Robot missions: BabyAI rooms of minigrid, driven and labelled by minigrid's expert bot.

Training states come from episodes in which some moves are random and every state is labelled with what the expert
would do there (DAgger, Ross et al. 2011), so that a model learns to find back. Seeds below ``FIRST_TRAINING_SEED`` are
for measuring.
"""

import contextlib
import io
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import minigrid  # noqa: F401  (registers the BabyAI environments)
import numpy as np
from minigrid.core.constants import COLOR_NAMES
from minigrid.envs.babyai.core.verifier import LOC_NAMES, OBJ_TYPES_NOT_DOOR, GoToInstr, ObjDesc, PickupInstr
from minigrid.utils.baby_ai_bot import BabyAIBot
from numpy.typing import NDArray

from seodang.base.errors import SeodangError
from seodang.tasks import Example
from seodang.tasks import robot as task
from seodang.tasks.robot import Action, RobotRequest, SceneMemory

LEVELS = ("GoToLocal", "PickupLoc")
LANGUAGES = ("en", "ko")
FIRST_TRAINING_SEED = 1_000_000
_RANDOM_MOVE_SHARE = 0.15
_EXPERT_PLAN_LIMIT = 1_000
_EXPLORING = (Action.LEFT, Action.RIGHT, Action.FORWARD)
Policy = Callable[[Sequence[RobotRequest]], Sequence[Action]]


class ExpertStuck(SeodangError):
    """The expert bot did not settle on an action within its planning limit; the episode must be left."""

    default_reason = "EXPERT_STUCK"


class Expert(BabyAIBot):  # type: ignore[misc]
    """minigrid's bot with a bounded planning loop: on some rooms the original revises its plan for ever."""

    def replan(self, action_taken: Action | None = None) -> Action:
        """The action to take now, after ``action_taken``.

        Raises:
            ExpertStuck: no action after ``_EXPERT_PLAN_LIMIT`` revisions of the plan.
        """
        self.stack: list[Any] = _BoundedStack(self.stack, _EXPERT_PLAN_LIMIT)
        return Action(int(super().replan(action_taken)))


class _BoundedStack(list[Any]):
    """A plan whose top may be read only so often; the bot's loop reads it once a revision."""

    def __init__(self, items: Sequence[Any], reads: int) -> None:
        super().__init__(items)
        self._reads_left = reads

    def __getitem__(self, index: Any) -> Any:
        self._reads_left -= 1
        if self._reads_left < 0:
            raise ExpertStuck(f"the expert revised its plan {_EXPERT_PLAN_LIMIT} times without an action")
        return super().__getitem__(index)


class Episode:
    """One mission in one room, and the memory of the robot in it.

    ``image`` and ``direction`` are what the robot sees now: minigrid's (7, 7, 3) view and its compass direction.
    """

    def __init__(self, level: str, seed: int, language: str) -> None:
        with contextlib.redirect_stdout(io.StringIO()):  # minigrid prints when it rejects a sampled room
            self.env = gymnasium.make(f"BabyAI-{level}-v0")
            view, _ = self.env.reset(seed=seed)
        mission = str(view["mission"])
        self.mission = mission if language == "en" else task.to_korean(mission)
        self.image: NDArray[np.uint8] = view["image"]
        self.direction = int(view["direction"])
        self.memory = SceneMemory()
        self.memory.observe(self.image)
        self.over = False
        self.success = False
        self.steps = 0

    def request(self) -> RobotRequest:
        """What the model is asked now."""
        return RobotRequest(self.mission, self.memory.describe())

    def step(self, action: Action) -> None:
        """Do one action in the room."""
        view, reward, terminated, truncated, _ = self.env.step(int(action))
        self.image, self.direction = view["image"], int(view["direction"])
        self.memory.observe(self.image, action)
        self.steps += 1
        self.over = bool(terminated or truncated)
        self.success = self.over and float(reward) > 0


@dataclass(frozen=True)
class DriveResult:
    """How the missions of some seeds ended under one policy."""

    episodes: int
    successes: int
    mean_steps: float

    @property
    def success_rate(self) -> float:
        """Share of missions accomplished before the room's step limit."""
        return self.successes / self.episodes


def drive(level: str, seeds: Sequence[int], policy: Policy, language: str) -> DriveResult:
    """Let ``policy`` drive one episode for each seed, all in step: it gets the requests of all rooms still running."""
    episodes = [Episode(level, seed, language) for seed in seeds]
    while running := [episode for episode in episodes if not episode.over]:
        for episode, action in zip(running, policy([episode.request() for episode in running]), strict=True):
            episode.step(action)
    successes = sum(episode.success for episode in episodes)
    return DriveResult(len(episodes), successes, sum(episode.steps for episode in episodes) / len(episodes))


def examples(language: str, split: str, seed: int) -> Iterator[Example]:
    """States without end, from the levels in turn, each with the expert's action."""
    return (conversation[0] for conversation in conversations(language, split, seed, other_missions=0))


def conversations(language: str, split: str, seed: int, other_missions: int) -> Iterator[list[Example]]:
    """States without end: the room's own mission with the expert's action, then other missions in the same state."""
    first = FIRST_TRAINING_SEED if split == "train" else 0
    rng = random.Random(f"babyai {language} {split} {seed}")
    while True:
        for level in LEVELS:
            room = first + rng.randrange(FIRST_TRAINING_SEED if split == "dev" else 2**31 - 1 - first)
            with contextlib.suppress(ExpertStuck):
                yield from _labelled(level, room, language, rng, other_missions)


def _labelled(level: str, seed: int, language: str, rng: random.Random, others: int) -> Iterator[list[Example]]:
    episode = Episode(level, seed, language)
    room = episode.env.unwrapped
    start = _Pose(tuple(room.agent_pos), room.agent_dir)
    expert = Expert(episode.env)
    taken: Action | None = None
    while not episode.over:
        advice = expert.replan(taken)
        asked = [(episode.mission, advice)]
        if room.carrying is None:
            asked += [_other_mission(episode, expert, start, language, rng) for _ in range(others)]
        scene = episode.memory.describe()
        yield [
            Example(tuple(task.messages(RobotRequest(mission, scene))), task.render(action), "babyai", level, language)
            for mission, action in asked
            if action is not Action.DONE
        ] or [Example(tuple(task.messages(episode.request())), task.render(advice), "babyai", level, language)]
        taken = rng.choice(_EXPLORING) if rng.random() < _RANDOM_MOVE_SHARE else advice
        episode.step(taken)


@dataclass(frozen=True)
class _Pose:
    """Where the robot stands in the room, and which way it looks."""

    cell: tuple[int, ...]
    direction: int


def _other_mission(
    episode: Episode, expert: Expert, start: _Pose, language: str, rng: random.Random
) -> tuple[str, Action]:
    """A mission on a random object of the room, in words, and what an expert that saw as much would do for it now."""
    room = episode.env.unwrapped
    now, own = _Pose(tuple(room.agent_pos), room.agent_dir), room.instrs
    mission = _random_mission(rng)
    try:
        room.agent_pos, room.agent_dir = start.cell, start.direction  # places in a mission are seen from the start
        while not mission.desc.find_matching_objs(room)[0]:
            mission = _random_mission(rng)
        mission.reset_verifier(room)
        words = mission.surface(room)
        room.agent_pos, room.agent_dir, room.instrs = now.cell, now.direction, mission
        other = Expert(episode.env)
        other.vis_mask = expert.vis_mask.copy()
        return words if language == "en" else task.to_korean(words), other.replan()
    finally:
        room.agent_pos, room.agent_dir, room.instrs = now.cell, now.direction, own


def _random_mission(rng: random.Random) -> Any:
    colour = rng.choice([None, *COLOR_NAMES]) if rng.random() < 0.5 else rng.choice(COLOR_NAMES)
    place = rng.choice(LOC_NAMES) if rng.random() < 0.3 else None
    description = ObjDesc(rng.choice(OBJ_TYPES_NOT_DOOR), colour, place)
    return rng.choice((GoToInstr, PickupInstr))(description)
