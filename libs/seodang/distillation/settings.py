"""Settings of the process that works on a job, from ``SEODANG_DISTILLATION_*``. None changes what a job means."""

from typing import Annotated, Literal

from pydantic import Field

from seodang.base.settings import Settings, settings_config


class WorkerSettings(Settings):
    """How the process uses its machine."""

    model_config = settings_config("SEODANG_DISTILLATION_")

    device: Literal["cpu", "cuda"] = "cpu"
    """Where students are trained and measured. A resumed job is bit-identical on ``cpu`` only."""
    threads: Annotated[int, Field(ge=0)] = 0
    """Threads of one operation; 0 is one for each core. A resumed job is bit-identical with the same number only."""
    teacher_patience_s: Annotated[float, Field(gt=0)] = 600.0
    """How long a teacher may be away before the job's process gives up."""
    watts: Annotated[float, Field(gt=0)] | None = None
    """What the machines that a job keeps busy draw on average, the teacher's included. Unset: no energy is told."""
    price_per_hour: Annotated[float, Field(gt=0)] | None = None
    """What an hour of them costs. Unset: no price is told."""
    currency: Annotated[str, Field(pattern=r"^([A-Z]{3})?$")] = ""
    """Of the price, by ISO 4217, such as KRW."""
