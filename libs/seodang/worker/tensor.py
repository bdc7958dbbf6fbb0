"""An array on the wire: dtype, shape and little-endian bytes, nothing executable."""

import math
from typing import Any, Literal, TypeAlias, cast

import msgspec
import numpy as np
import numpy.typing as npt

WireDType: TypeAlias = Literal["float32", "bfloat16", "int32", "int64", "uint8"]

_ITEM_BYTES: dict[str, int] = {"float32": 4, "bfloat16": 2, "int32": 4, "int64": 8, "uint8": 1}


class Tensor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A dense row-major array. Construction refuses bytes that do not fill the shape exactly."""

    dtype: WireDType
    shape: tuple[int, ...]
    data: bytes

    def __post_init__(self) -> None:
        expected = math.prod(self.shape) * _ITEM_BYTES[self.dtype]
        if min(self.shape, default=0) < 0 or len(self.data) != expected:
            raise ValueError(
                f"tensor of {self.dtype} {list(self.shape)} needs {expected} bytes, got {len(self.data)}; "
                "send the array's own row-major little-endian bytes"
            )

    @classmethod
    def from_numpy(cls, array: npt.NDArray[Any]) -> "Tensor":
        """Copy an array of float32, int32, int64 or uint8; any other dtype is a ``ValueError``."""
        name = array.dtype.name
        if name not in _ITEM_BYTES:
            raise ValueError(f"dtype {name} has no wire form; cast to one of {', '.join(_ITEM_BYTES)}")
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        return cls(dtype=cast(WireDType, name), shape=array.shape, data=little.tobytes())

    def to_numpy(self) -> npt.NDArray[Any]:
        """A read-only view of the bytes; bfloat16 is widened, exactly, to a float32 copy."""
        if self.dtype == "bfloat16":
            widened = np.frombuffer(self.data, "<u2").astype("<u4") << 16
            return np.ascontiguousarray(widened).view("<f4").reshape(self.shape)
        return np.frombuffer(self.data, np.dtype(self.dtype).newbyteorder("<")).reshape(self.shape)
