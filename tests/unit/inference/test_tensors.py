"""Arrays on the wire."""

import numpy as np
import pytest

from seodang.api.types.v1 import tensor_pb2
from seodang.base.errors import InvalidInput
from seodang.inference import from_array, to_array
from seodang.inference.tensors import to_bfloat16, to_int8


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "uint8", "int32", "uint32", "int64", "uint16"])
def test_an_array_comes_back_as_it_was(dtype: str) -> None:
    array = np.arange(6).reshape(2, 3).astype(dtype)
    back = to_array(from_array(array))
    assert back.dtype == array.dtype
    assert back.tolist() == array.tolist()


def test_bfloat16_keeps_eight_bits_of_a_number() -> None:
    values = np.array([1.0, -2.5, 3.14159, 1e-30, 65504.0, np.inf, -np.inf], np.float32)
    back = to_array(to_bfloat16(values))
    np.testing.assert_allclose(back, values, rtol=2**-8)
    assert np.isnan(to_array(to_bfloat16(np.array([np.nan], np.float32)))[0])


def test_bfloat16_rounds_ties_to_even() -> None:
    ties = np.array([0x3F808000, 0x3F818000], np.uint32).view(np.float32)
    assert to_array(to_bfloat16(ties)).view(np.uint32).tolist() == [0x3F800000, 0x3F820000]


def test_int8_rows_have_a_scale_each() -> None:
    rows = np.array([[1.0, -2.0], [0.0, 0.0], [1e-6, 5e-7]], np.float32)
    steps, scales = to_int8(rows)
    back = to_array(steps).astype(np.float32) * to_array(scales)[:, None]
    np.testing.assert_allclose(back, rows, atol=np.abs(rows).max(1).max() / 254)
    assert to_array(scales)[1] == 0


BAD = {
    "no dtype": tensor_pb2.Tensor(shape=[1], data=b"\0\0\0\0"),
    "too few bytes": tensor_pb2.Tensor(dtype=tensor_pb2.D_TYPE_FLOAT32, shape=[2], data=b"\0\0\0\0"),
    "too many bytes": tensor_pb2.Tensor(dtype=tensor_pb2.D_TYPE_FLOAT32, shape=[0], data=b"\0"),
    "a negative size": tensor_pb2.Tensor(dtype=tensor_pb2.D_TYPE_UINT8, shape=[-1, -1], data=b"\0"),
    "a size beyond memory": tensor_pb2.Tensor(dtype=tensor_pb2.D_TYPE_INT64, shape=[2**40, 2**40], data=b"\0"),
}


@pytest.mark.parametrize("tensor", BAD.values(), ids=BAD.keys())
def test_a_malformed_tensor_is_refused(tensor: tensor_pb2.Tensor) -> None:
    with pytest.raises(InvalidInput):
        to_array(tensor)
