"""Resource names of models: ``models/x``, ``models/x@production``, ``models/x/versions/3``."""

import re
from dataclasses import dataclass
from typing import Final, Self

from seodang.base.errors import InvalidInput

_SEGMENT: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
_NAME: Final = re.compile(rf"models/({_SEGMENT})(?:@({_SEGMENT})|/versions/({_SEGMENT}))?")


@dataclass(frozen=True, slots=True)
class ModelName:
    """A parsed name; at most one of ``alias`` and ``version`` is set."""

    model: str
    alias: str = ""
    version: str = ""

    @classmethod
    def parse(cls, text: str, *, field: str = "model") -> Self:
        """``InvalidInput`` naming ``field`` if ``text`` is no name of a model."""
        match = _NAME.fullmatch(text)
        if match is None:
            raise InvalidInput(
                f"{field}={text[:120]!r} is no model's name: write models/NAME, models/NAME@ALIAS or "
                "models/NAME/versions/VERSION, of letters, digits, '.', '_' and '-'",
                field=field,
            )
        model, alias, version = match.groups()
        return cls(model, alias or "", version or "")

    def __str__(self) -> str:
        if self.alias:
            return f"models/{self.model}@{self.alias}"
        return f"models/{self.model}/versions/{self.version}" if self.version else f"models/{self.model}"
