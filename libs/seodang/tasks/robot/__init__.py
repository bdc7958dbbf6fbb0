"""Robot: a mission and what the robot knows of the room become one action.

The model keeps no memory. ``SceneMemory`` does: it integrates the robot's partial views and its own moves, and says in
one short line what is where, seen from the robot now.
"""

from seodang.tasks.robot.action import Action, RobotRequest, messages, parse, render, score
from seodang.tasks.robot.mission import UnknownMission, to_korean
from seodang.tasks.robot.scene import SceneMemory

__all__ = [
    "Action",
    "RobotRequest",
    "SceneMemory",
    "UnknownMission",
    "messages",
    "parse",
    "render",
    "score",
    "to_korean",
]
