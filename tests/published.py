"""Kubeflow Trainer's published models, held against manifests strictly: a field that they do not know is an error."""

from typing import Any

from kubeflow_trainer_api import models
from pydantic import BaseModel


def check_train_job(body: dict[str, Any]) -> None:
    """Checks a TrainJob.

    Raises:
        ValueError: a field is unknown, missing or of another type; with its path.
    """
    _check(body, models.TrainerV1alpha1TrainJob, "TrainJob")


def check_runtime(body: dict[str, Any]) -> None:
    """Checks a TrainingRuntime, as ``check_train_job`` does."""
    _check(body, models.TrainerV1alpha1TrainingRuntime, "TrainingRuntime")


def _check(body: dict[str, Any], model: type[BaseModel], where: str) -> None:
    read = model.from_dict(body)  # type: ignore[attr-defined]  # generated on every model
    # What the models do not know they drop, so that whatever is not told again was not understood.
    _compare(body, read.to_dict(), where)


def _compare(given: Any, understood: Any, where: str) -> None:
    if isinstance(given, dict):
        if unknown := sorted(given.keys() - (understood or {}).keys()):
            raise ValueError(f'{where}: unknown field "{unknown[0]}"')
        for key, value in given.items():
            _compare(value, understood[key], f"{where}.{key}")
    elif isinstance(given, list):
        for index, (value, kept) in enumerate(zip(given, understood, strict=True)):
            _compare(value, kept, f"{where}[{index}]")
    elif given != understood:
        raise ValueError(f"{where}: {given!r} was read as {understood!r}")
