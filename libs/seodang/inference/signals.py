"""Which parts of the teacher's signal a caller wants, checked at the door."""

from dataclasses import dataclass
from typing import Final

from seodang.api.inference.v1 import score_pb2
from seodang.api.types.v1 import tensor_pb2
from seodang.base.errors import InvalidInput, Unsupported
from seodang.inference.sampling import Range
from seodang.worker.messages import ModelInfo

MAX_TOP_K: Final = 1024
MAX_DRAWS: Final = 1024
_TEMPERATURE: Final = Range(0, 100, above=True)
HIDDEN_DTYPES: Final = (tensor_pb2.D_TYPE_FLOAT32, tensor_pb2.D_TYPE_BFLOAT16, tensor_pb2.D_TYPE_INT8)


@dataclass(frozen=True, slots=True)
class Sample:
    """An exact head and systematic draws from the rest."""

    head: int
    draws: int
    seed: int


@dataclass(frozen=True, slots=True)
class Signals:
    """``ScoreSignals`` after its checks, with every default filled in."""

    top_k: int
    sample: Sample | None
    entropy: bool
    hidden_dtype: tensor_pb2.DType.ValueType | None
    temperature: float
    packed: bool

    @property
    def engine_top_k(self) -> int:
        """The exact head that serves both ``top`` and ``sampled``."""
        return max(self.top_k, self.sample.head if self.sample else 0)

    def bytes_per_position(self, info: ModelInfo, candidates: int) -> int:
        """About what one position takes on the wire, unpacked."""
        sparse = 8 * (self.top_k + candidates) + (12 * (self.sample.head + self.sample.draws) if self.sample else 0)
        hidden = 4 * info.hidden_size if self.hidden_dtype is not None else 0
        return 24 + sparse + hidden


def to_signals(signals: score_pb2.ScoreSignals, info: ModelInfo) -> Signals:
    """``InvalidInput`` names a field out of range, ``Unsupported`` one that this server cannot serve."""
    limit = min(MAX_TOP_K, info.vocab_size)
    _in_range(signals.top_k, limit, "signals.top_k")
    temperature = signals.temperature if signals.HasField("temperature") else 1.0
    _TEMPERATURE.check(temperature, "signals.temperature")
    sample = _sample(signals.sampled, limit) if signals.HasField("sampled") else None
    if sample and sample.draws and signals.top_k > sample.head:
        raise Unsupported(
            f"signals.top_k={signals.top_k} beside signals.sampled.head={sample.head}: this server draws from outside "
            f"the larger of the two; set head to at least {signals.top_k}, or ask for them in two requests",
            metadata={"field": "signals.top_k"},
        )
    return Signals(
        top_k=signals.top_k,
        sample=sample,
        entropy=signals.entropy,
        hidden_dtype=_hidden_dtype(signals),
        temperature=temperature,
        packed=_packed(signals.encoding),
    )


def _sample(sampled: score_pb2.SampledTarget, limit: int) -> Sample:
    _in_range(sampled.head, limit, "signals.sampled.head")
    _in_range(sampled.tail_draws, MAX_DRAWS, "signals.sampled.tail_draws")
    if not sampled.head and not sampled.tail_draws:
        raise InvalidInput("signals.sampled asks for nothing: set head, tail_draws or both", field="signals.sampled")
    if sampled.method == score_pb2.SampledTarget.METHOD_INDEPENDENT:
        raise Unsupported(
            "signals.sampled.method=METHOD_INDEPENDENT: this engine draws systematically, which is unbiased too and "
            "varies less; use METHOD_SYSTEMATIC",
            metadata={"field": "signals.sampled.method"},
        )
    if sampled.method not in (score_pb2.SampledTarget.METHOD_UNSPECIFIED, score_pb2.SampledTarget.METHOD_SYSTEMATIC):
        raise InvalidInput(f"signals.sampled.method={sampled.method}: unknown", field="signals.sampled.method")
    return Sample(sampled.head, sampled.tail_draws, sampled.seed)


def _hidden_dtype(signals: score_pb2.ScoreSignals) -> tensor_pb2.DType.ValueType | None:
    if not signals.HasField("hidden_states"):
        return None
    if signals.hidden_states not in HIDDEN_DTYPES:
        raise InvalidInput(
            f"signals.hidden_states={signals.hidden_states}: must be FLOAT32, BFLOAT16 or INT8",
            field="signals.hidden_states",
        )
    return signals.hidden_states


def _packed(encoding: score_pb2.SparseEncoding.ValueType) -> bool:
    if encoding not in score_pb2.SparseEncoding.values():
        raise InvalidInput(f"signals.encoding={encoding}: must be PLAIN or PACKED", field="signals.encoding")
    return encoding == score_pb2.SPARSE_ENCODING_PACKED


def _in_range(value: int, limit: int, field: str) -> None:
    if not 0 <= value <= limit:
        raise InvalidInput(f"{field}={value}: must be 0 to {limit}", field=field)
