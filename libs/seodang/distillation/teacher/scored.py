"""A chunk of the teacher's signal as arrays. P positions, E sparse entries in all, H width of the teacher."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from seodang.api.inference.v1 import score_pb2
from seodang.base.errors import InvalidInput
from seodang.inference import SparseRows, to_array, unpack

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Entries:
    """Sparse entries of P positions, row after row."""

    counts: npt.NDArray[np.uint32]
    """[P]"""
    ids: npt.NDArray[np.int32]
    """[E]"""
    log_probs: Floats
    """[E]"""
    draws: npt.NDArray[np.uint32]
    """[E] draws that an entry stands for; 0 marks an exact one."""
    outside: Floats
    """[P] probability outside the exact entries."""


@dataclass(frozen=True, eq=False)
class Scored:
    """What one chunk says."""

    offset: int
    """Of its first position within the request."""
    next_log_probs: Floats
    """[P] of the sequence's own next token."""
    entropy: Floats | None
    entries: Entries | None
    """Of the sampled or the top-k target."""
    candidates: Floats | None
    """[E] in the order asked."""
    hidden: npt.NDArray[Any] | None
    """[P, H] float32, or int8 to be multiplied by the scales."""
    hidden_scales: Floats | None

    @property
    def positions(self) -> int:
        """P."""
        return len(self.next_log_probs)


def read_chunk(chunk: score_pb2.ScoreChunk, candidates: int = 0) -> Scored:
    """Decodes and checks one chunk.

    Args:
        candidates: how many candidates a position were asked for.

    Raises:
        InvalidInput: its arrays are malformed or disagree about the number of positions.
    """
    next_log_probs = to_array(chunk.next_logprobs, "chunk.next_logprobs")
    positions = len(next_log_probs)
    scored = Scored(
        offset=chunk.offset,
        next_log_probs=next_log_probs,
        entropy=to_array(chunk.entropy, "chunk.entropy") if chunk.HasField("entropy") else None,
        entries=_entries(chunk),
        candidates=_rows(chunk.candidates, positions * candidates).logprobs if candidates else None,
        hidden=to_array(chunk.hidden_states, "chunk.hidden_states") if chunk.HasField("hidden_states") else None,
        hidden_scales=to_array(chunk.hidden_scales, "chunk.hidden_scales") if chunk.HasField("hidden_scales") else None,
    )
    lengths = {
        "candidates": None if scored.candidates is None else len(scored.candidates) // candidates,
        "entropy": None if scored.entropy is None else len(scored.entropy),
        "rows": None if scored.entries is None else len(scored.entries.counts),
        "tail_mass": None if scored.entries is None else len(scored.entries.outside),
        "hidden_states": None if scored.hidden is None else len(scored.hidden),
        "hidden_scales": None if scored.hidden_scales is None else len(scored.hidden_scales),
    }
    for name, length in lengths.items():
        if length not in (None, positions):
            raise InvalidInput(f"the teacher sent {name} for {length} positions in a chunk of {positions}")
    return scored


def _entries(chunk: score_pb2.ScoreChunk) -> Entries | None:
    if chunk.HasField("sampled"):
        rows, outside = _rows(chunk.sampled), to_array(chunk.sampled_tail_mass, "chunk.sampled_tail_mass")
    elif chunk.HasField("top"):
        rows, outside = _rows(chunk.top), to_array(chunk.tail_mass, "chunk.tail_mass")
    else:
        return None
    draws = np.zeros(len(rows.ids), np.uint32) if rows.draws is None else rows.draws
    return Entries(rows.counts, rows.ids.astype(np.int32), rows.logprobs, draws, outside)


def _rows(rows: score_pb2.SparseRows, known_entries: int = 0) -> SparseRows:
    """Decodes rows; of ``known_entries`` the caller knows the ids, and packed rows then leave them out."""
    if rows.encoding == score_pb2.SPARSE_ENCODING_PACKED:
        return unpack(rows.packed, np.zeros(known_entries, np.uint32) if known_entries else None)
    plain = SparseRows(
        counts=to_array(rows.counts, "counts"),
        ids=to_array(rows.ids, "ids"),
        logprobs=to_array(rows.logprobs, "logprobs"),
        draws=to_array(rows.draws, "draws") if rows.HasField("draws") else None,
    )
    if not int(plain.counts.sum()) == len(plain.ids) == len(plain.logprobs):
        raise InvalidInput(
            f"the teacher sent {len(plain.ids)} ids and {len(plain.logprobs)} log-probabilities for "
            f"{int(plain.counts.sum())} entries"
        )
    return plain
