"""What one step computes: a few rows, each a run of new tokens of one sequence behind tokens already cached.

T tokens of all rows together, B rows, M blocks in the longest block table, N outputs.
"""

from collections.abc import Sequence as Seq
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Ints: TypeAlias = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Row:
    """New tokens of one sequence, from position ``start`` on; ``blocks`` has room for all of them."""

    tokens: Seq[int]
    start: int
    blocks: Seq[int]
    outputs: slice
    """Which of the tokens need their hidden state, counted within the row."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows as arrays; the rows of a single token come first."""

    tokens_T: Ints
    lengths_B: Ints
    starts_B: Ints
    tables_BM: Ints
    """Block tables, filled up with block 0, which holds no sequence's tokens."""
    outputs_N: Ints
    """Indices into ``tokens_T``, row after row."""

    @property
    def singles(self) -> int:
        """Rows of one token."""
        return int((self.lengths_B == 1).sum())

    @classmethod
    def of(cls, rows: Seq[Row]) -> "Batch":
        """Pack rows; those of a single token must come first."""
        lengths = np.fromiter((len(row.tokens) for row in rows), np.int32, len(rows))
        assert (np.diff((lengths > 1).astype(np.int8)) >= 0).all(), "single-token rows come first"
        tables = np.zeros((len(rows), max(len(row.blocks) for row in rows)), np.int32)
        tokens: list[int] = []
        outputs: list[int] = []
        for index, row in enumerate(rows):
            tables[index, : len(row.blocks)] = row.blocks
            outputs.extend(range(len(tokens) + row.outputs.start, len(tokens) + row.outputs.stop))
            tokens.extend(row.tokens)
        return cls(
            tokens_T=np.array(tokens, np.int32),
            lengths_B=lengths,
            starts_B=np.fromiter((row.start for row in rows), np.int32, len(rows)),
            tables_BM=tables,
            outputs_N=np.array(outputs, np.int32),
        )
