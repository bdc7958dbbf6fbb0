"""Arrays as ``Tensor`` messages of the contract, and back, with every bound checked."""

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from seodang.api.types.v1 import tensor_pb2
from seodang.base.errors import InvalidInput
from seodang.worker import Tensor

_NUMPY: Final[dict[tensor_pb2.DType.ValueType, np.dtype[Any]]] = {
    tensor_pb2.D_TYPE_FLOAT32: np.dtype("<f4"),
    tensor_pb2.D_TYPE_FLOAT16: np.dtype("<f2"),
    tensor_pb2.D_TYPE_INT8: np.dtype("<i1"),
    tensor_pb2.D_TYPE_UINT8: np.dtype("<u1"),
    tensor_pb2.D_TYPE_INT32: np.dtype("<i4"),
    tensor_pb2.D_TYPE_UINT32: np.dtype("<u4"),
    tensor_pb2.D_TYPE_INT64: np.dtype("<i8"),
    tensor_pb2.D_TYPE_UINT16: np.dtype("<u2"),
}
_DTYPES: Final = {dtype.name: kind for kind, dtype in _NUMPY.items()}
# numpy has no bfloat16: its two bytes travel as they are and are widened on arrival.
_BFLOAT16: Final = np.dtype("<u2")


def from_array(array: npt.NDArray[Any]) -> tensor_pb2.Tensor:
    """An array as a message. Its dtype must be one of the contract's."""
    dtype = _DTYPES[array.dtype.name]
    little = np.ascontiguousarray(array, dtype=_NUMPY[dtype])
    return tensor_pb2.Tensor(dtype=dtype, shape=array.shape, data=little.tobytes())


def from_worker(tensor: Tensor) -> tensor_pb2.Tensor:
    """An engine's array as a message; the bytes are the same."""
    dtype = tensor_pb2.D_TYPE_BFLOAT16 if tensor.dtype == "bfloat16" else _DTYPES[tensor.dtype]
    return tensor_pb2.Tensor(dtype=dtype, shape=tensor.shape, data=tensor.data)


def to_array(tensor: tensor_pb2.Tensor, field: str = "tensor") -> npt.NDArray[Any]:
    """A read-only view of a message's bytes; bfloat16 is widened, exactly, to float32.

    Raises:
        InvalidInput: an unknown dtype, a negative size, or bytes that do not fill the shape exactly.
    """
    widen = tensor.dtype == tensor_pb2.D_TYPE_BFLOAT16
    dtype = _BFLOAT16 if widen else _NUMPY.get(tensor.dtype)
    if dtype is None:
        raise InvalidInput(f"{field}.dtype={tensor.dtype}: not a dtype of the contract", field=f"{field}.dtype")
    shape = tuple(tensor.shape)
    needed = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or needed != len(tensor.data):
        raise InvalidInput(
            f"{field}: shape {list(shape)} of {tensor_pb2.DType.Name(tensor.dtype)} needs {needed} bytes, "
            f"data has {len(tensor.data)}; send the array's own row-major little-endian bytes",
            field=f"{field}.data",
        )
    array = np.frombuffer(tensor.data, dtype).reshape(shape)
    return _widened(array) if widen else array


def to_bfloat16(array: npt.NDArray[np.float32]) -> tensor_pb2.Tensor:
    """float32 rounded to the nearest bfloat16, ties to even."""
    bits = np.ascontiguousarray(array, dtype="<f4").view("<u4")
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    kept = np.where(np.isnan(array), 0x7FC0, rounded).astype("<u2")
    return tensor_pb2.Tensor(dtype=tensor_pb2.D_TYPE_BFLOAT16, shape=array.shape, data=kept.tobytes())


def to_int8(rows: npt.NDArray[np.float32]) -> tuple[tensor_pb2.Tensor, tensor_pb2.Tensor]:
    """float32 [P, n] as int8 [P, n] and float32 scales [P]; rows are about int8 * scale."""
    scales = np.abs(rows).max(axis=1, initial=0.0) / 127.0
    steps = np.divide(rows, scales[:, None], out=np.zeros_like(rows), where=scales[:, None] > 0)
    return from_array(np.rint(steps).astype(np.int8)), from_array(scales.astype(np.float32))


def _widened(bits: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    wide: npt.NDArray[np.float32] = (bits.astype("<u4") << 16).view("<f4")
    return wide
