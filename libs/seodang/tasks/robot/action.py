"""The robot's request, its typed actions, and the text between them."""

from dataclasses import dataclass
from enum import IntEnum

from seodang.tasks.message import Message, Role
from seodang.tasks.parsing import InvalidAnswer

SYSTEM_PROMPT = "robot"


class Action(IntEnum):
    """What the robot can do in one step; the numbers are minigrid's."""

    LEFT = 0
    RIGHT = 1
    FORWARD = 2
    PICKUP = 3
    DROP = 4
    TOGGLE = 5
    DONE = 6


@dataclass(frozen=True, slots=True)
class RobotRequest:
    """The mission in words (Korean or English) and the scene that ``SceneMemory.describe`` wrote."""

    mission: str
    scene: str


def messages(request: RobotRequest) -> list[Message]:
    """The prompt of one step: the scene, then the mission, so that the model knows what it recalls the scene for."""
    return [Message(Role.SYSTEM, SYSTEM_PROMPT), Message(Role.USER, f"{request.scene}\n{request.mission}")]


def render(action: Action) -> str:
    """The action as the model writes it: one lower-case word."""
    return action.name.lower()


def parse(text: str) -> Action:
    """Read a model's text.

    Raises:
        InvalidAnswer: not exactly one of the seven action words.
    """
    word = text.strip()
    if word != word.lower() or word.upper() not in Action.__members__:
        raise InvalidAnswer(f"an action must be one of {', '.join(render(action) for action in Action)}", text=text)
    return Action[word.upper()]


def score(predicted: str, expected: str) -> dict[str, float]:
    """``exact``: the expert's action. Success of whole missions is measured by driving them, not here."""
    return {"exact": float(predicted.strip() == expected.strip())}
