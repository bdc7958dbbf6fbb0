"""Which sequences a step reads, and how they lie in memory. Both depend on seed and step alone, so that a resumed
training reads what an undisturbed one would have.

B sequences, T tokens of the longest, N trained positions.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from seodang.distillation.data import Encoded

Indices = npt.NDArray[np.int64]
MICRO_TOKENS = 4096


@dataclass(frozen=True)
class Batch:
    """A few sequences of similar length."""

    ids_BT: Tensor
    """int64; padded on the right with 0, which is never trained on."""
    at_N: Tensor
    """int64 index of each trained position in the flattened [B * T]."""
    labels_N: Tensor
    """int64 the right next tokens."""
    rows_N: Indices
    """Number of each position among the trained positions of the whole data."""
    tokens: int
    """Without padding."""

    def to(self, device: torch.device) -> "Batch":
        """The same batch where a student is."""
        tensors = {name: getattr(self, name).to(device) for name in ("ids_BT", "at_N", "labels_N")}
        return replace(self, **tensors)


def plan_steps(lengths: Indices, tokens_per_step: int, seed: int) -> Iterator[Indices]:
    """The sequences of step 0, 1, ...: whole random orders of the data one after another, cut where a step is full."""
    epoch = 0
    left = np.zeros(0, np.int64)
    while True:
        ends = np.cumsum(lengths[left])
        while not len(ends) or ends[-1] < tokens_per_step:
            left = np.concatenate([left, np.random.default_rng([seed, epoch]).permutation(len(lengths))])
            ends = np.cumsum(lengths[left])
            epoch += 1
        used = int(np.searchsorted(ends, tokens_per_step)) + 1
        yield left[:used]
        left = left[used:]


def micro_batches(encoded: Encoded, indices: Indices, tokens: int = MICRO_TOKENS) -> list[Batch]:
    """The sequences of a step as batches of at most ``tokens``, padding included, which sorting keeps small."""
    order = indices[np.argsort(encoded.lengths[indices], kind="stable")]
    batches: list[Batch] = []
    group: list[int] = []
    for index in order:
        if group and (len(group) + 1) * encoded.lengths[index] > tokens:
            batches.append(collate(encoded, group))
            group = []
        group.append(int(index))
    return [*batches, collate(encoded, group)]


def collate(encoded: Encoded, indices: Sequence[int]) -> Batch:
    """These sequences as one batch."""
    chosen = np.asarray(indices, np.int64)
    lengths = encoded.lengths[chosen]
    width = int(lengths.max())
    columns = np.arange(width)
    inside = columns < lengths[:, None]
    ids = np.zeros((len(chosen), width), np.int64)
    ids[inside] = np.concatenate([encoded.ids(index) for index in chosen])
    answered = np.zeros((len(chosen), width + 1), np.bool_)
    answered[:, :width][inside] = np.concatenate([encoded.answered_of(index) for index in chosen])
    at = np.flatnonzero(answered[:, 1:])
    counts = encoded.positions[chosen]
    first_rows = encoded.first_rows[chosen]
    rows = np.repeat(first_rows - (np.cumsum(counts) - counts), counts) + np.arange(int(counts.sum()))
    return Batch(
        ids_BT=torch.from_numpy(ids),
        at_N=torch.from_numpy(at),
        labels_N=torch.from_numpy(ids.reshape(-1)[at + 1]),
        rows_N=rows,
        tokens=int(lengths.sum()),
    )
