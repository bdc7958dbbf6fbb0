"""How tokens are drawn: the contract's ranges, and what a field means that is not set."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from seodang.api.inference.v1 import generate_pb2
from seodang.base.errors import InvalidInput
from seodang.inference.prompts import check_vocabulary
from seodang.worker.messages import ModelInfo, SamplingParams


@dataclass(frozen=True, slots=True)
class Range:
    """Permitted values; ``low`` itself is permitted unless ``above`` is set."""

    low: float
    high: float
    above: bool = False

    def check(self, value: float, field: str) -> None:
        """``InvalidInput`` naming the field and the range. NaN lies in no range."""
        if self.low <= value <= self.high and not (self.above and value == self.low):
            return
        bracket = "(" if self.above else "["
        raise InvalidInput(f"{field}={value:g}: must be in {bracket}{self.low:g}, {self.high:g}]", field=field)


_RANGES: Final = {
    "temperature": Range(0, 10),
    "top_k": Range(0, 2**31 - 1),
    "top_p": Range(0, 1, above=True),
    "min_p": Range(0, 1),
    "repetition_penalty": Range(0, 10, above=True),
    "presence_penalty": Range(-2, 2),
    "frequency_penalty": Range(-2, 2),
    "seed": Range(-(2**63), 2**63 - 1),
}
_BIAS: Final = Range(-100, 100)


def to_sampling(sampling: generate_pb2.Sampling, info: ModelInfo, defaults: SamplingParams) -> SamplingParams:
    """The caller's fields over the model's own defaults. ``InvalidInput`` names a field that is out of range."""
    chosen: dict[str, Any] = {}
    for name, permitted in _RANGES.items():
        if sampling.HasField(name):  # type: ignore[arg-type]
            value = getattr(sampling, name)
            permitted.check(value, f"sampling.{name}")
            chosen[name] = value
    if chosen.get("top_k") == 0:
        chosen["top_k"] = None
    check_vocabulary(list(sampling.logit_bias), info, "sampling.logit_bias")
    for token, bias in sampling.logit_bias.items():
        _BIAS.check(bias, f"sampling.logit_bias[{token}]")
    chosen["logit_bias"] = dict(sampling.logit_bias)
    return msgspec.structs.replace(defaults, **chosen)


def read_defaults(folder: Path) -> SamplingParams:
    """The model's own defaults, from ``generation_config.json`` of its folder; without one, its plain distribution.

    Raises:
        InvalidInput: the file is no JSON object, or one of its values is out of range.
    """
    path = folder / "generation_config.json"
    if not path.is_file():
        return SamplingParams()
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InvalidInput(f"{path} is not JSON: {error}; copy it again from the original", field="folder") from error
    if not isinstance(config, dict):
        raise InvalidInput(f"{path} holds a {type(config).__name__}, expected an object", field="folder")
    return _defaults(config, path)


def _defaults(config: dict[str, Any], path: Path) -> SamplingParams:
    chosen: dict[str, Any] = {}
    for name in ("temperature", "top_k", "top_p", "min_p", "repetition_penalty"):
        value = config.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise InvalidInput(f"{path}: {name}={value!r} is no number; correct it", field="folder")
        _RANGES[name].check(value, f"{path}: {name}")
        chosen[name] = value
    if config.get("do_sample") is False:
        chosen["temperature"] = 0.0
    if chosen.get("top_k") == 0:
        chosen["top_k"] = None
    return SamplingParams(**chosen)
