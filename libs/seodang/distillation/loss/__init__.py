"""One loss for every kind of teacher signal, computed in chunks so that tokens x vocabulary is never held."""

from seodang.distillation.loss.chunked import LossParts, distillation_loss
from seodang.distillation.loss.divergence import Objective
from seodang.distillation.loss.signal import (
    CandidateSignal,
    DenseSignal,
    HiddenSignal,
    MixedSignal,
    SampledSignal,
    Signal,
    TruncatedSignal,
)
from seodang.distillation.loss.spans import SpanSignal, span_loss

__all__ = [
    "CandidateSignal",
    "DenseSignal",
    "HiddenSignal",
    "LossParts",
    "MixedSignal",
    "Objective",
    "SampledSignal",
    "Signal",
    "SpanSignal",
    "TruncatedSignal",
    "distillation_loss",
    "span_loss",
]
