"""The engine's scores of a few positions as the contract's ``ScoreChunk``. P positions, H hidden size."""

from typing import Any

import numpy as np
import numpy.typing as npt

from seodang.api.inference.v1 import score_pb2
from seodang.api.types.v1 import tensor_pb2
from seodang.inference.packed import pack
from seodang.inference.positions import Span
from seodang.inference.signals import Signals
from seodang.inference.sparse import SparseRows
from seodang.inference.tensors import from_array, from_worker, to_bfloat16, to_int8
from seodang.worker import Tensor
from seodang.worker.messages import ScoreChunk

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int32]


def to_chunk(chunk: ScoreChunk, span: Span, signals: Signals, *, first_of_sequence: bool) -> score_pb2.ScoreChunk:
    """One message of the stream."""
    message = score_pb2.ScoreChunk(
        offset=span.offset + chunk.start - span.first,
        sequence=span.sequence,
        first_position=chunk.start,
        next_logprobs=from_worker(chunk.next_logprobs),
        logsumexp=from_worker(chunk.logsumexp),
    )
    if first_of_sequence and span.rendered:
        message.token_ids.CopyFrom(from_array(np.array(span.token_ids, np.int32)))
    if signals.entropy:
        assert chunk.entropy is not None
        message.entropy.CopyFrom(from_worker(chunk.entropy))
    if span.candidates is not None:
        _add_candidates(message, chunk, span.candidates.table(*_within(chunk, span)), signals)
    _add_top_and_sample(message, chunk, signals)
    if signals.hidden_dtype is not None:
        assert chunk.hidden_states is not None
        _add_hidden(message, chunk.hidden_states, signals.hidden_dtype)
    return message


def _within(chunk: ScoreChunk, span: Span) -> tuple[int, int]:
    begin = chunk.start - span.first
    return begin, begin + chunk.positions


def _add_candidates(message: score_pb2.ScoreChunk, chunk: ScoreChunk, ids_PK: Ids, signals: Signals) -> None:
    assert chunk.named_logprobs is not None
    rows = SparseRows.of_table(ids_PK, chunk.named_logprobs.to_numpy())
    # The caller knows the ids and their order, so packed rows carry neither.
    message.candidates.CopyFrom(_rows(rows, signals, with_ids=False))


def _add_top_and_sample(message: score_pb2.ScoreChunk, chunk: ScoreChunk, signals: Signals) -> None:
    ids, logprobs = _table(chunk.top_ids, chunk.top_logprobs, chunk.positions)
    outside = _array(chunk.tail_mass, np.ones(chunk.positions, np.float32))
    if signals.top_k:
        rows = SparseRows.of_table(ids[:, : signals.top_k], logprobs[:, : signals.top_k])
        message.top.CopyFrom(_rows(rows, signals))
        message.tail_mass.CopyFrom(from_array(_mass_outside(outside, logprobs, signals.top_k)))
    if signals.sample:
        head = signals.sample.head
        tail = _table(chunk.sample_ids, chunk.sample_logprobs, chunk.positions)
        rows = SparseRows.of_sample((ids[:, :head], logprobs[:, :head]), tail)
        message.sampled.CopyFrom(_rows(rows, signals))
        message.sampled_tail_mass.CopyFrom(from_array(_mass_outside(outside, logprobs, head)))


def _mass_outside(outside_all_P: Floats, logprobs_Pk: Floats, kept: int) -> Floats:
    """Probability outside the first ``kept`` entries, given that outside all of them."""
    mass: Floats = (outside_all_P + np.exp(logprobs_Pk[:, kept:]).sum(axis=1)).astype(np.float32)
    return mass


def _add_hidden(message: score_pb2.ScoreChunk, hidden_PH: Tensor, dtype: tensor_pb2.DType.ValueType) -> None:
    if dtype == tensor_pb2.D_TYPE_INT8:
        hidden, scales = to_int8(hidden_PH.to_numpy())
        message.hidden_scales.CopyFrom(scales)
    elif dtype == tensor_pb2.D_TYPE_FLOAT32:
        hidden = from_array(hidden_PH.to_numpy())
    else:
        hidden = from_worker(hidden_PH) if hidden_PH.dtype == "bfloat16" else to_bfloat16(hidden_PH.to_numpy())
    message.hidden_states.CopyFrom(hidden)


def _rows(rows: SparseRows, signals: Signals, *, with_ids: bool = True) -> score_pb2.SparseRows:
    if signals.packed:
        return score_pb2.SparseRows(encoding=score_pb2.SPARSE_ENCODING_PACKED, packed=pack(rows, with_ids=with_ids))
    plain = score_pb2.SparseRows(
        encoding=score_pb2.SPARSE_ENCODING_PLAIN,
        counts=from_array(rows.counts),
        ids=from_array(rows.ids),
        logprobs=from_array(rows.logprobs),
    )
    if rows.draws is not None:
        plain.draws.CopyFrom(from_array(rows.draws))
    return plain


def _table(ids: Tensor | None, logprobs: Tensor | None, positions: int) -> tuple[Ids, Floats]:
    return (
        _array(ids, np.empty((positions, 0), np.int32)),
        _array(logprobs, np.empty((positions, 0), np.float32)),
    )


def _array(tensor: Tensor | None, absent: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return absent if tensor is None else tensor.to_numpy()
