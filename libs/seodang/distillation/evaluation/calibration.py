"""Whether a model is right as often as it says: confidence against accuracy, position by position."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from seodang.distillation.result import ReliabilityBin
from seodang.distillation.targets.shard import Array

BINS: Final = 15


def reliability_of(confidence: Array, correct: Array) -> tuple[ReliabilityBin, ...]:
    """The positions in ``BINS`` equally wide ranges of confidence, those that hold any.

    Args:
        confidence: probability that the model gave its likeliest token, [P] in 0 to 1.
        correct: whether that token was right, bool [P].
    """
    numbers = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    return tuple(
        ReliabilityBin(
            confidence=float(confidence[inside].mean()), accuracy=float(correct[inside].mean()), positions=inside.size
        )
        for inside in (np.flatnonzero(numbers == number) for number in range(BINS))
        if inside.size
    )


def calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """The expected calibration error (Guo et al., ICML 2017): mean distance of confidence and accuracy, 0 to 1."""
    total = sum(each.positions for each in bins)
    return sum(each.positions * abs(each.confidence - each.accuracy) for each in bins) / total
