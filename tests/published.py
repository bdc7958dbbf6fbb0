"""Kubeflow Trainer's published models, held against manifests strictly: a field that they do not know is an error."""

import re
from typing import Any

from kubeflow_trainer_api import models
from pydantic import BaseModel

# What the published CustomResourceDefinition of TrainJob says beyond types: lists whose entries have keys.
KEYS = {
    "env": "name", "volumes": "name", "volumeMounts": "name", "containers": "name", "replicatedJobs": "name",
    "runtimePatches": "manager",
}  # fmt: skip


def check_train_job(body: dict[str, Any]) -> None:
    """Checks a TrainJob.

    Raises:
        ValueError: a field is unknown, missing or of another type, or a key comes twice; with its path.
    """
    _check(body, models.TrainerV1alpha1TrainJob, "TrainJob")
    if not re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", body["metadata"]["name"]):
        raise ValueError("TrainJob.metadata.name must match RFC 1035 DNS label format")
    _check_keys(body["spec"], "TrainJob.spec")


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


def _check_keys(value: Any, where: str) -> None:
    if isinstance(value, list):
        for index, each in enumerate(value):
            _check_keys(each, f"{where}[{index}]")
    elif isinstance(value, dict):
        for field, inner in value.items():
            keys = [each[KEYS[field]] for each in inner] if field in KEYS else []
            if twice := next((key for key in keys if keys.count(key) > 1), None):
                raise ValueError(f'{where}.{field}: Duplicate value: "{twice}"')
            _check_keys(inner, f"{where}.{field}")
