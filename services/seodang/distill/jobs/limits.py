"""The range of every field of a job spec, and the check that tells a caller which field is out of it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.message import Message

from seodang.api.distill.v1 import job_pb2
from seodang.base.errors import InvalidInput
from seodang.distill.registry.domain import checked_word


@dataclass(frozen=True, slots=True)
class Range:
    """Bounds of a number, both allowed; with ``zero_is_default`` 0 passes too."""

    low: float
    high: float
    zero_is_default: bool = False

    def check(self, value: float, field: str) -> None:
        """Refuses a value outside, and not-a-number."""
        if self.zero_is_default and value == 0:
            return
        if math.isnan(value) or not self.low <= value <= self.high:
            default = ", or 0 for the default" if self.zero_is_default else ""
            raise InvalidInput(f"{field}={value:g}: must be {self.low:g} to {self.high:g}{default}", field=field)


_COUNT: Final = Range(0, 10_000_000)
_SHARE: Final = Range(0, 1)
_TINY: Final = 1e-9

LIMITS: Final[dict[str, Range]] = {
    "spec.teachers[].weight": Range(_TINY, 1e6),
    "spec.data.train_examples": _COUNT,
    "spec.data.eval_examples": _COUNT,
    "spec.data.noised_copies": Range(0, 100),
    "spec.shape.dense.hidden_size": Range(8, 16_384, zero_is_default=True),
    "spec.shape.dense.layers": Range(1, 256, zero_is_default=True),
    "spec.shape.dense.heads": Range(1, 256, zero_is_default=True),
    "spec.shape.dense.kv_heads": Range(1, 256, zero_is_default=True),
    "spec.shape.dense.intermediate_size": Range(8, 131_072, zero_is_default=True),
    "spec.shape.adapter.rank": Range(1, 4096, zero_is_default=True),
    "spec.shape.adapter.alpha": Range(_TINY, 1e6, zero_is_default=True),
    "recipe.beta": _SHARE,
    "recipe.cross_entropy_weight": _SHARE,
    "recipe.temperature": Range(0.01, 100),
    "recipe.target.sampled.head": Range(0, 4096),
    "recipe.target.sampled.tail_draws": Range(0, 4096),
    "recipe.target.top_k.k": Range(1, 4096),
    "spec.budget.steps": Range(1, 10_000_000, zero_is_default=True),
    "spec.budget.tokens_per_step": Range(16, 2**24, zero_is_default=True),
    "spec.budget.learning_rate": Range(_TINY, 10, zero_is_default=True),
    "spec.budget.warmup_fraction": _SHARE,
    "spec.budget.weight_decay": Range(0, 10),
    "spec.budget.ranks": Range(1, 64, zero_is_default=True),
    "spec.budget.checkpoint_steps": Range(1, 1_000_000, zero_is_default=True),
    "spec.budget.patience": Range(0, 1_000_000),
    "spec.gate.max_points_below_teacher": Range(-100, 100),
    "spec.gate.min_task_score": _SHARE,
    "spec.gate.max_parameter_share": Range(_TINY, 1e6),
    "spec.gate.max_forward_kl": Range(0, 1e6),
}
"""By path; of a list every item has the same limits, and recipes have the same ones wherever they stand."""

_LANGUAGES: Final = ("", "ko", "en")
_MOST_TEACHERS: Final = 8
_MOST_BASELINES: Final = 16
_MOST_LABELS: Final = 64
_MOST_MODULES: Final = 64
_LABEL_LETTERS: Final = 256
_CONFIG_BYTES: Final = 2**20


def check_limits(spec: job_pb2.JobSpec) -> None:
    """Checks each field by itself.

    Raises:
        InvalidInput: with the path of the first field that is out of range.
    """
    checked_word(spec.student, "spec.student")
    _check_size("spec.teachers", len(spec.teachers), 1, _MOST_TEACHERS)
    _check_size("spec.baselines", len(spec.baselines), 0, _MOST_BASELINES)
    _check_size("spec.labels", len(spec.labels), 0, _MOST_LABELS)
    _check_size("spec.shape.adapter.target_modules", len(spec.shape.adapter.target_modules), 0, _MOST_MODULES)
    _check_size("spec.shape.config_json", len(spec.shape.config_json), 0, _CONFIG_BYTES)
    if spec.data.language not in _LANGUAGES:
        known = ", ".join(filter(None, _LANGUAGES))
        raise InvalidInput(
            f"spec.data.language={spec.data.language[:20]!r}: must be {known}, or empty for all",
            field="spec.data.language",
        )
    for field, limit, value in _numbers(spec, "spec"):
        limit.check(value, field)
    for index, baseline in enumerate(spec.baselines):
        checked_word(baseline.name, f"spec.baselines[{index}].name")
    for key, label in spec.labels.items():
        checked_word(key, "spec.labels")
        _check_size(f"spec.labels[{key!r}]", len(label), 0, _LABEL_LETTERS)
    if spec.gate.promote_to:
        checked_word(spec.gate.promote_to, "spec.gate.promote_to")


def _check_size(field: str, size: int, low: int, high: int) -> None:
    if not low <= size <= high:
        raise InvalidInput(f"{field} has {size} items or characters: must have {low} to {high}", field=field)


def _numbers(message: Message, path: str) -> Iterator[tuple[str, Range, Any]]:
    """Each number that is set and has limits, with its path."""
    for descriptor, value in message.ListFields():
        here = f"{path}.{descriptor.name}"
        if descriptor.message_type is None:
            limit = LIMITS.get(_pattern(here))
            if limit is not None:
                yield here, limit, value
        elif isinstance(value, Message):
            yield from _numbers(value, here)
        elif not descriptor.message_type.GetOptions().map_entry:
            for index, item in enumerate(value):
                yield from _numbers(item, f"{here}[{index}]")


def _pattern(path: str) -> str:
    """The path as ``LIMITS`` writes it."""
    parts = [part.split("[")[0] + ("[]" if "[" in part else "") for part in path.split(".")]
    return ".".join(parts[parts.index("recipe") :] if "recipe" in parts else parts)
