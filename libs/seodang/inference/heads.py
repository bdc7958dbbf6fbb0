"""The output head of a model, in pieces that fit a message, under one digest."""

import hashlib
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final
from weakref import WeakKeyDictionary

from seodang.api.inference.v1 import score_pb2
from seodang.api.types.v1 import tensor_pb2
from seodang.base.errors import InvalidInput
from seodang.inference.directory import ModelDirectory, ServedModel
from seodang.inference.tensors import from_array, from_worker, to_bfloat16
from seodang.worker import EngineHost, Tensor

CHUNK_BYTES: Final = 2**20
_DTYPES: Final = (tensor_pb2.D_TYPE_FLOAT32, tensor_pb2.D_TYPE_BFLOAT16)


class OutputHeads:
    """Streams heads; each head's digest is computed once, by a first pass over its rows."""

    def __init__(self, host: EngineHost, directory: ModelDirectory) -> None:
        self._host = host
        self._directory = directory
        self._digests: WeakKeyDictionary[ServedModel, dict[int, str]] = WeakKeyDictionary()

    async def stream(
        self, request: score_pb2.GetOutputHeadRequest
    ) -> AsyncGenerator[score_pb2.GetOutputHeadResponse, None]:
        """Rows from ``start_row`` on. ``InvalidInput`` for a row beyond the head, or a dtype that it has not."""
        lease = self._directory.lease(request.model)
        async with lease as model, aclosing(self._answer(model, request)) as responses:
            async for response in responses:
                yield response

    async def _answer(
        self, model: ServedModel, request: score_pb2.GetOutputHeadRequest
    ) -> AsyncGenerator[score_pb2.GetOutputHeadResponse, None]:
        total_rows = model.info.vocab_size
        if not 0 <= request.start_row <= total_rows:
            raise InvalidInput(
                f"start_row={request.start_row}: the head has {total_rows} rows; resume at 0 to {total_rows}",
                field="start_row",
            )
        dtype = _dtype(request)
        sha256 = await self._sha256(model, dtype)
        async with aclosing(self._rows(model, dtype)) as pieces:
            async for first_row, rows in pieces:
                skipped = max(0, request.start_row - first_row)
                if skipped < rows.shape[0]:
                    yield score_pb2.GetOutputHeadResponse(
                        first_row=first_row + skipped,
                        total_rows=total_rows,
                        rows=_without(rows, skipped),
                        sha256=sha256,
                    )

    async def _rows(
        self, model: ServedModel, dtype: tensor_pb2.DType.ValueType | None
    ) -> AsyncGenerator[tuple[int, tensor_pb2.Tensor], None]:
        chunk_rows = max(1, CHUNK_BYTES // (4 * model.info.hidden_size))
        async with aclosing(self._host.fetch_head(model.info.model_id, chunk_rows=chunk_rows)) as chunks:
            async for chunk in chunks:
                yield chunk.start, _converted(chunk.weight, dtype)

    async def _sha256(self, model: ServedModel, dtype: tensor_pb2.DType.ValueType | None) -> str:
        known = self._digests.setdefault(model, {})
        if (dtype or 0) not in known:
            digest = hashlib.sha256()
            async with aclosing(self._rows(model, dtype)) as pieces:
                async for _, rows in pieces:
                    digest.update(rows.data)
            known[dtype or 0] = digest.hexdigest()
        return known[dtype or 0]


def _dtype(request: score_pb2.GetOutputHeadRequest) -> tensor_pb2.DType.ValueType | None:
    if not request.HasField("dtype"):
        return None
    if request.dtype not in _DTYPES:
        raise InvalidInput(f"dtype={request.dtype}: must be FLOAT32 or BFLOAT16, or left out", field="dtype")
    return request.dtype


def _converted(weight: Tensor, dtype: tensor_pb2.DType.ValueType | None) -> tensor_pb2.Tensor:
    stored = from_worker(weight)
    if dtype is None or dtype == stored.dtype:
        return stored
    return from_array(weight.to_numpy()) if dtype == tensor_pb2.D_TYPE_FLOAT32 else to_bfloat16(weight.to_numpy())


def _without(rows: tensor_pb2.Tensor, skipped: int) -> tensor_pb2.Tensor:
    if not skipped:
        return rows
    count, width = rows.shape
    kept = rows.data[skipped * len(rows.data) // count :]
    return tensor_pb2.Tensor(dtype=rows.dtype, shape=(count - skipped, width), data=kept)
