"""What a mission is made of: actions, observations, limits, commands and ends."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum

import numpy as np
from numpy.typing import NDArray

from seodang.tasks import robot


class Action(IntEnum):
    """What a robot can be told; the numbers are the contract's."""

    TURN_LEFT = 1
    TURN_RIGHT = 2
    FORWARD = 3
    PICK_UP = 4
    DROP = 5
    TOGGLE = 6
    DONE = 7
    HOLD = 8


# The model's seven actions; HOLD is the envelope's alone.
FROM_MODEL = {
    robot.Action.LEFT: Action.TURN_LEFT,
    robot.Action.RIGHT: Action.TURN_RIGHT,
    robot.Action.FORWARD: Action.FORWARD,
    robot.Action.PICKUP: Action.PICK_UP,
    robot.Action.DROP: Action.DROP,
    robot.Action.TOGGLE: Action.TOGGLE,
    robot.Action.DONE: Action.DONE,
}
TO_MODEL = {action: model_action for model_action, action in FROM_MODEL.items()}


class Rule(StrEnum):
    """Why the envelope put another action in the place of the model's."""

    STALE_OBSERVATION = "stale_observation"
    DECISION_LATE = "decision_late"
    NO_DECISION = "no_decision"
    INVALID_ANSWER = "invalid_answer"
    NOT_ALLOWED = "not_allowed"
    FORWARD_BLOCKED = "forward_blocked"
    NOTHING_TO_PICK_UP = "nothing_to_pick_up"
    HANDS_FULL = "hands_full"
    NOTHING_TO_DROP = "nothing_to_drop"
    NO_ROOM_TO_DROP = "no_room_to_drop"
    NOTHING_TO_TOGGLE = "nothing_to_toggle"
    LOCKED = "locked"
    WATCHDOG = "watchdog"
    EMERGENCY_STOP = "emergency_stop"


class Outcome(IntEnum):
    """How a mission ended; the numbers are the contract's."""

    MISSION_OVER = 1
    OUT_OF_ACTIONS = 2
    STOPPED = 3


@dataclass(frozen=True, slots=True)
class Limits:
    """What holds for one mission."""

    allowed: frozenset[Action]
    max_actions: int
    max_observation_age_s: float

    def narrowed(self, other: "Limits") -> "Limits":
        """The stricter of both in every respect, so that a request can only tighten the server's."""
        return Limits(
            self.allowed & other.allowed,
            min(self.max_actions, other.max_actions),
            min(self.max_observation_age_s, other.max_observation_age_s),
        )


@dataclass(frozen=True, slots=True)
class Start:
    """A mission as it was asked for. ``limits`` holds what the request asked for; None is the server's own."""

    session: str
    mission: str
    model: str
    allowed: frozenset[Action]
    max_actions: int | None
    max_observation_age_s: float | None
    shared_by: str | None = None
    """Pseudonym of whoever gives the mission, if they agree to its decisions being kept for training."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What the robot sees: ``view`` is uint8 [7, 7, 3], checked; ``executed`` is None only for the first one."""

    sequence: int
    view: NDArray[np.uint8]
    direction: int
    age_s: float
    executed: Action | None
    mission_over: bool


@dataclass(frozen=True, slots=True)
class Command:
    """What the robot is told, and what the model wanted if the envelope stepped in."""

    sequence: int
    action: Action
    proposed: Action | None = None
    rule: Rule | None = None
    decision_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Ended:
    """The mission is over; ``actions`` counts commands, HOLD included."""

    outcome: Outcome
    actions: int
    interventions: int
