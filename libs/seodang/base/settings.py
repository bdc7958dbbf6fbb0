"""Settings from the environment: frozen, and unknown keys are errors."""

import os
from typing import Self

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from seodang.base.errors import InvalidInput


class Settings(BaseSettings):
    """Base of each process's settings. A subclass sets ``model_config = settings_config("SEODANG_TEACHER_")``."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid")

    @classmethod
    def load(cls) -> Self:
        """Reads the environment.

        Raises:
            InvalidInput: a variable has a bad value, or none of the settings has its name.
        """
        prefix = str(cls.model_config.get("env_prefix", ""))
        known = {(prefix + field).upper() for field in cls.model_fields}
        unknown = sorted(name for name in os.environ if prefix and name.startswith(prefix) and name not in known)
        if unknown:
            raise InvalidInput(f"unknown settings {', '.join(unknown)}: known are {', '.join(sorted(known))}")
        try:
            return cls()
        except ValidationError as error:
            faults = "; ".join(
                f"{prefix}{'.'.join(map(str, fault['loc'])).upper()}={fault['input']!r}: {fault['msg']}"
                for fault in error.errors()
            )
            raise InvalidInput(f"bad settings: {faults}") from error


def settings_config(prefix: str) -> SettingsConfigDict:
    """The configuration of a settings class whose variables begin with ``prefix``."""
    return SettingsConfigDict(env_prefix=prefix, frozen=True, extra="forbid")
