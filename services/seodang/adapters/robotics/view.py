"""The robot's view as it comes over the wire, and the three cells that the envelope looks at.

A view is minigrid's: uint8 [7, 7, 3], (kind, colour, state) of each cell; the robot stands at [3, 6] and looks along
falling second index. What it carries is shown at its own place.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from seodang.api.types.v1 import tensor_pb2
from seodang.base.errors import InvalidInput

SHAPE = (7, 7, 3)
_AGENT = (3, 6)
_AHEAD = (3, 5)
# One above the largest code of kind, colour and state: a robot never sees itself (kind 10).
_CODE_ENDS = np.array([10, 6, 3], dtype=np.uint8)
OPEN, CLOSED, LOCKED = 0, 1, 2


class Kind(IntEnum):
    """What a cell holds; the numbers are minigrid's."""

    UNSEEN = 0
    EMPTY = 1
    WALL = 2
    FLOOR = 3
    DOOR = 4
    KEY = 5
    BALL = 6
    BOX = 7
    GOAL = 8
    LAVA = 9


PORTABLE = frozenset({Kind.KEY, Kind.BALL, Kind.BOX})

Cell = tuple[Kind, int, int]


def read_view(tensor: tensor_pb2.Tensor) -> NDArray[np.uint8]:
    """The array of a view.

    Raises:
        InvalidInput: another dtype, shape or length, or a code that minigrid does not use.
    """
    if tensor.dtype != tensor_pb2.D_TYPE_UINT8:
        raise InvalidInput(
            f"view.dtype is {_dtype_name(tensor.dtype)}: a view is D_TYPE_UINT8", field="observation.view"
        )
    if tuple(tensor.shape) != SHAPE:
        raise InvalidInput(f"view.shape is {list(tensor.shape)}: a view is {list(SHAPE)}", field="observation.view")
    if len(tensor.data) != np.prod(SHAPE):
        raise InvalidInput(
            f"view.data has {len(tensor.data)} bytes: {list(SHAPE)} of uint8 is {np.prod(SHAPE)}",
            field="observation.view",
        )
    view = np.frombuffer(tensor.data, np.uint8).reshape(SHAPE)
    if (view >= _CODE_ENDS).any():
        column, row, part = (int(index) for index in np.argwhere(view >= _CODE_ENDS)[0])
        raise InvalidInput(
            f"view[{column}, {row}] has {('kind', 'colour', 'state')[part]} {view[column, row, part]}: "
            f"the largest is {_CODE_ENDS[part] - 1}",
            field="observation.view",
        )
    return view


def ahead(view: NDArray[np.uint8]) -> Cell:
    """The cell that the robot faces."""
    return _cell(view, _AHEAD)


def carried(view: NDArray[np.uint8]) -> Cell | None:
    """What the robot carries, if anything."""
    cell = _cell(view, _AGENT)
    return cell if cell[0] in PORTABLE else None


def _dtype_name(number: int) -> str:
    known = tensor_pb2.DType.DESCRIPTOR.values_by_number.get(number)
    return known.name if known else str(number)


def _cell(view: NDArray[np.uint8], place: tuple[int, int]) -> Cell:
    kind, colour, state = (int(value) for value in view[place])
    return Kind(kind), colour, state
