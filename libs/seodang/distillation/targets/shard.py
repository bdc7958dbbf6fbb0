"""The signal on some sequences as arrays, and as a parquet file of one row a sequence.

S sequences, P positions in all, E sparse entries in all, H width of the teacher. Columns, lists over the positions of
the row's sequence: ``next_log_probs``, ``entropy``, ``counts`` (entries a position), ``outside`` (probability outside
the exact entries), ``hidden`` (bytes: bfloat16, or int8 with ``hidden_scales``); lists over their entries:
``id_gaps`` (to the id before in the same position, from 0), ``draws`` (0: exact), ``log_probs``, which may be those of
the exact entries alone. What a target does not have is absent.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import parquet

from seodang.base.errors import InternalFault
from seodang.distillation.teacher import Scored

Array: TypeAlias = npt.NDArray[Any]

_BY_POSITION: Final = ("next_log_probs", "entropy", "counts", "outside", "hidden", "hidden_scales")
_BY_ENTRY: Final = ("id_gaps", "draws", "log_probs")
_ROUNDED_BITS: Final = 14
"""Of the mantissa, as many as leave the largest log-probability exact to 1e-3."""


@dataclass(frozen=True, eq=False)
class Shard:
    """Arrays of one shard, or of several joined."""

    positions: Array
    """int64 [S] positions of each sequence."""
    next_log_probs: Array
    """float32 [P]"""
    entropy: Array | None = None
    """float32 [P]"""
    counts: Array | None = None
    """uint16 [P]"""
    ids: Array | None = None
    """int32 [E]; rising within a position, but for candidates, which keep the order they were asked in"""
    log_probs: Array | None = None
    """float32 [E]; NaN at drawn entries where they are not kept"""
    draws: Array | None = None
    """uint16 [E]"""
    outside: Array | None = None
    """float32 [P]"""
    hidden: Array | None = None
    """[P, H]: uint16 holding the bits of bfloat16, or int8."""
    hidden_scales: Array | None = None
    """float32 [P]"""

    @classmethod
    def of(cls, positions: Array, chunks: Sequence[Scored], candidates_PK: Array | None = None) -> "Shard":
        """From the chunks of one whole stream, in order; ``candidates_PK`` are the ids that were asked for."""
        entries = [chunk.entries for chunk in chunks if chunk.entries is not None]
        hidden = [chunk.hidden for chunk in chunks if chunk.hidden is not None]
        arrays: dict[str, Any] = {}
        if candidates_PK is not None:
            arrays["counts"] = np.full(len(candidates_PK), candidates_PK.shape[1], np.uint16)
            arrays["ids"] = candidates_PK.reshape(-1)
            arrays["log_probs"] = _joined([chunk.candidates for chunk in chunks])
            arrays["draws"] = np.zeros(candidates_PK.size, np.uint16)
        elif entries:
            counts = np.concatenate([each.counts.astype(np.uint16) for each in entries])
            ids = np.concatenate([each.ids for each in entries])
            rising = np.lexsort((ids, np.repeat(np.arange(len(counts)), counts)))
            arrays["counts"], arrays["ids"] = counts, ids[rising]
            arrays["log_probs"] = np.concatenate([each.log_probs for each in entries])[rising]
            arrays["draws"] = np.concatenate([each.draws.astype(np.uint16) for each in entries])[rising]
            arrays["outside"] = _joined([each.outside for each in entries])
        shard = cls(
            positions=np.asarray(positions, np.int64),
            next_log_probs=np.concatenate([chunk.next_log_probs for chunk in chunks]),
            entropy=_joined([chunk.entropy for chunk in chunks]),
            hidden=_joined([_stored(each) for each in hidden]),
            hidden_scales=_joined([chunk.hidden_scales for chunk in chunks]),
            **arrays,
        )
        if int(shard.positions.sum()) != len(shard.next_log_probs):
            raise InternalFault(
                f"the journal holds {len(shard.next_log_probs)} positions of {int(shard.positions.sum())}: report it"
            )
        return shard

    @classmethod
    def joined(cls, shards: Sequence["Shard"]) -> "Shard":
        """Several as one, in order."""
        if len(shards) == 1:
            return shards[0]
        arrays: dict[str, Any] = {
            each.name: _joined([getattr(shard, each.name) for shard in shards]) for each in fields(cls)
        }
        return cls(**arrays)

    def lean(self) -> "Shard":
        """What a student learns from, in fewer bytes: numbers of a position as coarse as the packed wire's are of an
        entry, and no log-probabilities of drawn entries, each of which stands for its draws.
        """
        entropy, outside = (None if part is None else _rounded(part) for part in (self.entropy, self.outside))
        log_probs = self.log_probs
        if log_probs is not None:
            log_probs = np.where(self.column("draws") > 0, np.float32(np.nan), log_probs)
        return replace(
            self, next_log_probs=_rounded(self.next_log_probs), entropy=entropy, outside=outside, log_probs=log_probs
        )

    def column(self, name: str) -> Array:
        """An array that this kind of target has."""
        array = getattr(self, name)
        assert array is not None, f"the target has no {name}"
        return np.asarray(array)

    def to_table(self) -> pa.Table:
        """One row a sequence."""
        by_position = _offsets(self.positions)
        columns = {"positions": pa.array(self.positions, pa.int32())}
        for name in _BY_POSITION:
            if (values := getattr(self, name)) is not None:
                columns[name] = pa.ListArray.from_arrays(by_position, _flat(values))
        if self.counts is not None:
            of_sequence = np.repeat(np.arange(len(self.positions)), self.positions)
            row_E = np.repeat(of_sequence, self.counts.astype(np.int64))
            kept_E = (self.column("draws") == 0) | ~np.isnan(self.column("log_probs"))
            every = np.ones(len(row_E), bool)
            for name, values, told_E in (
                ("id_gaps", self._id_gaps(), every),
                ("draws", self.column("draws"), every),
                ("log_probs", self.column("log_probs"), kept_E),
            ):
                lengths = np.bincount(row_E[told_E], minlength=len(self.positions))
                columns[name] = pa.ListArray.from_arrays(_offsets(lengths), pa.array(values[told_E]))
        return pa.table(columns)

    def _id_gaps(self) -> Array:
        """int32 [E]"""
        counts = self.column("counts").astype(np.int64)
        gaps = np.diff(self.column("ids"), prepend=0)
        first = (np.cumsum(counts) - counts)[counts > 0]
        gaps[first] = self.column("ids")[first]
        return gaps.astype(np.int32)

    @classmethod
    def from_table(cls, table: pa.Table) -> "Shard":
        """The twin of ``to_table``."""
        values = {
            name: table[name].combine_chunks().values
            for name in (*_BY_POSITION, *_BY_ENTRY)
            if name in table.column_names
        }
        arrays: dict[str, Array] = {name: column.to_numpy() for name, column in values.items() if name != "hidden"}
        if "id_gaps" in arrays:
            reached = np.cumsum(arrays.pop("id_gaps"), dtype=np.int64)
            counts = arrays["counts"].astype(np.int64)
            before = np.concatenate([[0], reached])[np.cumsum(counts) - counts]
            arrays["ids"] = (reached - np.repeat(before, counts)).astype(np.int32)
        if "log_probs" in arrays and len(arrays["log_probs"]) < len(arrays["draws"]):
            told = arrays["log_probs"]
            arrays["log_probs"] = np.full(len(arrays["draws"]), np.nan, np.float32)
            arrays["log_probs"][arrays["draws"] == 0] = told
        if "hidden" in values:
            dtype = np.dtype(np.int8 if "hidden_scales" in values else "<u2")
            whole = np.frombuffer(values["hidden"].buffers()[1], dtype)
            arrays["hidden"] = whole.reshape(len(values["hidden"]), -1)
        return cls(positions=table["positions"].to_numpy().astype(np.int64), **arrays)


def write_parquet(table: pa.Table) -> bytes:
    """A shard's file. Probabilities of the packed wire have few distinct values; of gaps and rounded numbers whole
    bytes repeat: each column is coded so.
    """
    sink = pa.BufferOutputStream()
    by_byte = ("id_gaps", "next_log_probs", "entropy", "outside", "hidden_scales")
    split = {f"{name}.list.element": "BYTE_STREAM_SPLIT" for name in by_byte if name in table.column_names}
    dictionary = [f"{name}.list.element" for name in ("log_probs", "draws", "counts") if name in table.column_names]
    parquet.write_table(
        table, sink, compression="zstd", use_dictionary=dictionary, column_encoding=split, write_statistics=False
    )
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _rounded(values: Array) -> Array:
    """float32 to the nearest one of a shorter mantissa."""
    cut = 23 - _ROUNDED_BITS
    bits = np.ascontiguousarray(values, "<f4").view("<u4")
    near: Array = ((bits + np.uint32(1 << (cut - 1))) & np.uint32(0xFFFFFFFF << cut & 0xFFFFFFFF)).view("<f4")
    return np.where(np.isfinite(values), near, values).astype(np.float32)


def _offsets(lengths: Array) -> pa.Array:
    return pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())


def _flat(values: Array) -> pa.Array:
    if values.ndim == 1:
        return pa.array(values)
    rows = np.ascontiguousarray(values)
    width = rows.shape[1] * rows.itemsize
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(rows), [None, pa.py_buffer(rows)])


def _stored(hidden: Array) -> Array:
    """float32 that was bfloat16 on the wire as its upper 16 bits, exactly; int8 as it is."""
    if hidden.dtype == np.int8:
        return hidden
    upper: Array = (np.ascontiguousarray(hidden, "<f4").view("<u4") >> 16).astype("<u2")
    return upper


def _joined(parts: Sequence[Array | None]) -> Array | None:
    present = [part for part in parts if part is not None]
    return np.concatenate(present) if present else None
