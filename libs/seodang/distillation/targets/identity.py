"""What a stored signal depends on. A store is opened with the identity that its reader needs, and each difference is
refused by name: a stale or foreign signal trains a wrong student without any other symptom.
"""

import hashlib
from typing import Final

import msgspec

from seodang.base.errors import Conflict
from seodang.distillation.spec import Record, Target
from seodang.distillation.teacher import TeacherIdentity

FORMAT_VERSION: Final = 3
"""2: each line of the ledger names the identity that its shard was made for. 3: ids rise and are stored as gaps, and
what a packed store keeps of a position is rounded."""


class TargetMismatch(Conflict):
    """A target store was made by something else than it is opened for."""

    default_reason = "TARGET_MISMATCH"


class TargetIdentity(Record, frozen=True, kw_only=True):
    """Everything that a position's signal is a function of."""

    format_version: int = FORMAT_VERSION
    model: str
    weights_sha256: str
    tokenizer_sha256: str
    """Over tokenizer and chat template."""
    vocabulary_size: int
    engine_dtype: str
    temperature: float
    target: Target
    seed: int
    """Of the tail draws."""
    packed: bool = True
    """Log-probabilities came rounded to a byte; otherwise as float32."""
    candidates: bool = False
    """The log-probabilities are at tokens that a student chose, as many as the target has entries."""
    data_sha256: str
    """Over the ids of all sequences; of a live store, over the data that its sequences are drawn from."""

    @classmethod
    def of(
        cls,
        teacher: TeacherIdentity,
        target: Target,
        *,
        temperature: float,
        seed: int,
        data_sha256: str,
        packed: bool = True,
        candidates: bool = False,
    ) -> "TargetIdentity":
        """The identity of the signal of one teacher on some data."""
        return cls(
            model=teacher.model,
            weights_sha256=teacher.weights_sha256,
            tokenizer_sha256=teacher.tokenizer_sha256,
            vocabulary_size=teacher.vocabulary_size,
            engine_dtype=teacher.dtype,
            temperature=temperature,
            target=target,
            seed=seed,
            packed=packed,
            candidates=candidates,
            data_sha256=data_sha256,
        )

    @property
    def sha256(self) -> str:
        """Over all of it."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()

    def check(self, wanted: "TargetIdentity", where: str) -> None:
        """Refuses a store that was not made for ``wanted``.

        Raises:
            TargetMismatch: with every field that differs.
        """
        differing = {
            name: (getattr(self, name), getattr(wanted, name))
            for name in self.__struct_fields__
            if getattr(self, name) != getattr(wanted, name)
        }
        if differing:
            told = "; ".join(
                f"{name} is {_short(mine)}, needed {_short(theirs)}" for name, (mine, theirs) in differing.items()
            )
            raise TargetMismatch(
                f"the target store {where} holds another signal: {told}. Remove it to score anew, or use what made it",
                metadata={name: _short(mine) for name, (mine, _) in differing.items()},
            )


def _short(value: object) -> str:
    text = msgspec.json.encode(value).decode() if isinstance(value, msgspec.Struct) else str(value)
    return text if len(text) <= 60 else f"{text[:16]}…"
