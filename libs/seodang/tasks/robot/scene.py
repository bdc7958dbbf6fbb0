"""From partial views to a scene in words: where things are, seen from the robot now.

Frames: the *start frame* has its origin where the robot first stood, +y ahead of it and +x to its right. ``heading``
counts quarter turns to the right from there. A view is minigrid's (7, 7, 3) array of (kind, colour, state) codes; the
robot stands at ``image[3, 6]`` and looks along falling second index; what it carries is shown at its own place.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seodang.base.errors import InvalidInput
from seodang.tasks.robot.action import Action

VIEW_CELLS = 7
_AGENT_COLUMN, _AGENT_ROW = 3, 6
_UNSEEN, _EMPTY, _WALL, _FLOOR, _DOOR, _GOAL = 0, 1, 2, 3, 4, 8
_KINDS = {4: "door", 5: "key", 6: "ball", 7: "box", 8: "goal", 9: "lava"}
_COLOURS = ("red", "green", "blue", "purple", "yellow", "grey")
_DOOR_STATES = ("open", "closed", "locked")
_AHEAD = ((0, 1), (1, 0), (0, -1), (-1, 0))
_REMEMBERED_ACTIONS = 3

Cell = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Thing:
    """An object as the robot names it; ``state`` is a door's: open, closed or locked."""

    kind: str
    colour: str
    state: str = ""

    @property
    def passable(self) -> bool:
        """Can the robot stand there?"""
        return self.kind == "goal" or self.state == "open"

    def __str__(self) -> str:
        return f"{self.colour} {self.kind} {self.state}".rstrip()


class SceneMemory:
    """What one robot has seen since it started, kept in its start frame by dead reckoning."""

    def __init__(self) -> None:
        self._x, self._y, self._heading = 0, 0, 0
        self._free: set[Cell] = set()
        self._walls: set[Cell] = set()
        self._things: dict[Cell, Thing] = {}
        self._carried: Thing | None = None
        self._last: deque[Action] = deque(maxlen=_REMEMBERED_ACTIONS)

    def observe(self, image: NDArray[np.uint8], action: Action | None = None) -> None:
        """Take in the view that ``action`` led to; ``None`` for the first view of an episode.

        Raises:
            InvalidInput: the view has another shape, or a code that minigrid does not use.
        """
        if image.shape != (VIEW_CELLS, VIEW_CELLS, 3):
            raise InvalidInput(f"a view must have shape (7, 7, 3), got {image.shape}", field="image")
        if action is not None:
            self._move(action)
            self._last.append(action)
        for column in range(VIEW_CELLS):
            for row in range(VIEW_CELLS):
                code, colour, state = (int(value) for value in image[column, row])
                self._see(self._in_start_frame(_AGENT_ROW - row, column - _AGENT_COLUMN), code, colour, state)

    def describe(self) -> str:
        """The scene in one line: things by distance, the nearest unseen place, free neighbours, load, last actions.

        ``red ball f2 l3 @lb`` is two cells ahead and three to the left now, and was left of and behind the start pose.
        """
        parts = [f"{thing} {self._offset(cell)} @{_side(cell)}" for cell, thing in self._by_distance()]
        frontier = self._nearest_unseen()
        if frontier is not None:
            parts.append(f"unseen {self._offset(frontier)}")
        free = "".join(name for name, step in zip("frbl", range(4), strict=True) if self._is_free_at(step))
        lines = [", ".join(parts), f"free {free or 'none'}", f"hold {self._carried or 'nothing'}"]
        lines.append(f"last {' '.join(action.name.lower() for action in self._last) or 'none'}")
        return "; ".join(line for line in lines if line)

    def blocked_ahead(self) -> bool:
        """Is the cell ahead known to be occupied or a wall? (For safety checks that do not trust a model.)"""
        return not self._is_free_at(0)

    def _move(self, action: Action) -> None:
        if action is Action.LEFT:
            self._heading = (self._heading - 1) % 4
        elif action is Action.RIGHT:
            self._heading = (self._heading + 1) % 4
        elif action is Action.FORWARD and self._is_free_at(0):
            step_x, step_y = _AHEAD[self._heading]
            self._x, self._y = self._x + step_x, self._y + step_y

    def _see(self, cell: Cell, code: int, colour: int, state: int) -> None:
        here = cell == (self._x, self._y)
        if code == _UNSEEN:
            return
        if here:
            self._carried = _thing(code, colour, state) if code in _KINDS and code not in (_DOOR, _GOAL) else None
            self._free.add(cell)
            return
        self._free.discard(cell)
        self._things.pop(cell, None)
        if code == _WALL:
            self._walls.add(cell)
        elif code in (_EMPTY, _FLOOR):
            self._free.add(cell)
        else:
            self._things[cell] = _thing(code, colour, state)

    def _in_start_frame(self, ahead: int, right: int) -> Cell:
        (ahead_x, ahead_y), (right_x, right_y) = _AHEAD[self._heading], _AHEAD[(self._heading + 1) % 4]
        return self._x + ahead * ahead_x + right * right_x, self._y + ahead * ahead_y + right * right_y

    def _relative(self, cell: Cell) -> tuple[int, int]:
        """(cells ahead, cells to the right) of the robot's pose now."""
        dx, dy = cell[0] - self._x, cell[1] - self._y
        (ahead_x, ahead_y), (right_x, right_y) = _AHEAD[self._heading], _AHEAD[(self._heading + 1) % 4]
        return dx * ahead_x + dy * ahead_y, dx * right_x + dy * right_y

    def _offset(self, cell: Cell) -> str:
        ahead, right = self._relative(cell)
        words = [f"{'f' if ahead > 0 else 'b'}{abs(ahead)}"] if ahead else []
        words += [f"{'r' if right > 0 else 'l'}{abs(right)}"] if right else []
        return " ".join(words)

    def _distance(self, cell: Cell) -> tuple[int, int, int]:
        ahead, right = self._relative(cell)
        return abs(ahead) + abs(right), -ahead, right

    def _by_distance(self) -> list[tuple[Cell, Thing]]:
        return sorted(self._things.items(), key=lambda item: self._distance(item[0]))

    def _nearest_unseen(self) -> Cell | None:
        unseen = {cell for free in self._free for cell in _neighbours(free) if not self._is_known(cell)}
        return min(unseen, key=self._distance, default=None)

    def _is_known(self, cell: Cell) -> bool:
        return cell in self._free or cell in self._walls or cell in self._things

    def _is_free_at(self, quarter_turns: int) -> bool:
        step_x, step_y = _AHEAD[(self._heading + quarter_turns) % 4]
        cell = (self._x + step_x, self._y + step_y)
        return cell in self._free or (cell in self._things and self._things[cell].passable)


def _thing(code: int, colour: int, state: int) -> Thing:
    if code not in _KINDS or not 0 <= colour < len(_COLOURS) or not 0 <= state < len(_DOOR_STATES):
        raise InvalidInput(f"a view holds ({code}, {colour}, {state}): no such kind, colour or state", field="image")
    return Thing(_KINDS[code], _COLOURS[colour], _DOOR_STATES[state] if code == _DOOR else "")


def _side(cell: Cell) -> str:
    """Where the cell lies seen from the start pose: ``f`` in front, ``b`` behind, ``l`` and ``r`` to the sides."""
    x, y = cell
    return ("l" if x < 0 else "r" if x > 0 else "") + ("f" if y > 0 else "b" if y < 0 else "")


def _neighbours(cell: Cell) -> Iterator[Cell]:
    for step_x, step_y in _AHEAD:
        yield cell[0] + step_x, cell[1] + step_y
