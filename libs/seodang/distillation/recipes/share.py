"""What one rank of a job asks its teachers of a step: the sequences in the batches that it owns, so that the ranks ask
for each once. S sequences, P positions, both of the rank and in the order of the step.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from seodang.distillation.data import Encoded
from seodang.distillation.group import Group
from seodang.distillation.training.batches import Batch, Indices


@dataclass(frozen=True, eq=False)
class Share:
    """Where a rank's part lies in the step; empty where there are fewer batches than ranks."""

    places_S: Indices
    """Number of each sequence within the step."""
    rows_P: Indices
    """Number of each position within the step."""

    @classmethod
    def of(cls, group: Group, sequences: Encoded, batches: Sequence[Batch]) -> Self:
        """Of a step's sequences, as the batches number their positions."""
        own = [batch.rows_N for number, batch in enumerate(batches) if group.owns(number)]
        rows_P = np.sort(np.concatenate([np.zeros(0, np.int64), *own]))
        return cls(np.flatnonzero(np.isin(sequences.first_rows, rows_P)), rows_P)

    def rows(self, batch: Batch) -> Indices:
        """Number of each position of an own batch within this part."""
        return np.searchsorted(self.rows_P, batch.rows_N)
