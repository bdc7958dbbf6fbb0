import numpy as np
import pytest

from seodang.adapters.robotics.view import Kind, ahead, carried, read_view
from seodang.api.types.v1 import tensor_pb2
from seodang.base.errors import InvalidInput


def tensor(**changes: object) -> tensor_pb2.Tensor:
    seen = np.tile(np.array((1, 0, 0), np.uint8), (7, 7, 1))
    seen[3, 5], seen[3, 6] = (6, 2, 0), (5, 1, 0)
    fields = {"dtype": tensor_pb2.D_TYPE_UINT8, "shape": [7, 7, 3], "data": seen.tobytes()} | changes
    return tensor_pb2.Tensor(**fields)


def test_it_reads_what_is_ahead_and_what_is_carried() -> None:
    view = read_view(tensor())
    assert ahead(view) == (Kind.BALL, 2, 0)
    assert carried(view) == (Kind.KEY, 1, 0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dtype": tensor_pb2.D_TYPE_FLOAT32}, "D_TYPE_FLOAT32"),
        ({"dtype": 77}, "77"),
        ({"shape": [147]}, r"\[147\]"),
        ({"shape": []}, r"view.shape is \[\]"),
        ({"data": bytes(146)}, "146 bytes"),
        ({"data": b""}, "0 bytes"),
        ({"data": bytes([10, 0, 0]) + bytes(144)}, "kind 10"),
        ({"data": bytes([1, 6, 0]) + bytes(144)}, "colour 6"),
        ({"data": bytes(144) + bytes([4, 0, 255])}, "state 255"),
    ],
)
def test_a_view_that_minigrid_cannot_have_made_is_refused_with_the_value(changes: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as refused:
        read_view(tensor(**changes))
    assert refused.value.field == "observation.view"
