"""A sparse distribution for each of several positions, as flat arrays row after row."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class SparseRows:
    """R rows with E entries in all; row r has the next ``counts[r]`` entries."""

    counts: npt.NDArray[np.uint32]
    """[R]"""
    ids: npt.NDArray[np.uint32]
    """[E]"""
    logprobs: npt.NDArray[np.float32]
    """[E] natural logarithms."""
    draws: npt.NDArray[np.uint32] | None = None
    """[E] draws that an entry of a sampled target stands for; 0 marks an exact entry."""

    @classmethod
    def of_table(cls, ids: npt.NDArray[np.int32], logprobs: npt.NDArray[np.float32]) -> Self:
        """Tables [R, k]; entries of id -1 are left out."""
        present = ids >= 0
        return cls(
            counts=present.sum(axis=1).astype(np.uint32),
            ids=ids[present].astype(np.uint32),
            logprobs=logprobs[present].astype(np.float32),
        )

    @classmethod
    def of_sample(
        cls,
        head: tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]],
        tail: tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]],
    ) -> Self:
        """Ids and log-probabilities of the exact head [R, h] and of the draws [R, n], which rise and may repeat."""
        head_ids, tail_ids = head[0], tail[0]
        ids = np.concatenate([head_ids, tail_ids], axis=1)
        is_draw = np.zeros(ids.shape, bool)
        is_draw[:, head_ids.shape[1] :] = True
        first = np.ones(ids.shape, bool)
        first[:, head_ids.shape[1] + 1 :] = tail_ids[:, 1:] != tail_ids[:, :-1]
        starts = np.flatnonzero(first)
        repeats = np.diff(starts, append=first.size)
        draws = np.where(is_draw.reshape(-1)[starts], repeats, 0).astype(np.uint32)
        # Where there is no tail, nothing is drawn and the id is -1.
        kept = cls.of_table(np.where(first, ids, -1), np.concatenate([head[1], tail[1]], axis=1))
        return cls(kept.counts, kept.ids, kept.logprobs, draws[ids.reshape(-1)[starts] >= 0])
