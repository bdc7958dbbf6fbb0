"""What the cluster says about a TrainJob and its pods, in our words."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from kubernetes.aio.client import V1ContainerStatus, V1Pod

from seodang.distill.kubernetes.manifest import JOB_ANNOTATION

RUNTIME_MISSING: Final = "TrainingRuntimeNotSupported"
"""Reason that Kubeflow Trainer gives a TrainJob whose runtime is not there."""
_ON_ITS_WAY: Final = frozenset({"ContainerCreating", "PodInitializing"})


class Phase(StrEnum):
    """Where a TrainJob stands."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    COMPLETE = "complete"
    FAILED = "failed"


@dataclass(frozen=True)
class TrainJob:
    """A TrainJob as it was last seen."""

    name: str
    job: str
    """Resource name of the job that it was created for; empty if we did not create it."""
    version: str
    """Of the object, to go on watching from."""
    phase: Phase
    reason: str
    """Machine-readable, from the condition that tells the phase."""
    message: str
    leaving: bool
    """It is being deleted, and its pods with it."""

    @property
    def ended(self) -> bool:
        """Whether its pods do no more."""
        return self.phase in (Phase.COMPLETE, Phase.FAILED)


def read_train_job(body: Mapping[str, Any]) -> TrainJob:
    """Reads what the API returned."""
    metadata = body["metadata"]
    conditions = {
        each["type"]: each for each in body.get("status", {}).get("conditions", []) if each["status"] == "True"
    }
    told = {"Failed": Phase.FAILED, "Complete": Phase.COMPLETE, "Suspended": Phase.SUSPENDED}
    kind = next((kind for kind in told if kind in conditions), "")
    condition = conditions.get(kind, {})
    return TrainJob(
        name=metadata["name"],
        job=metadata.get("annotations", {}).get(JOB_ANNOTATION, ""),
        version=metadata["resourceVersion"],
        phase=told.get(kind, Phase.ACTIVE),
        reason=condition.get("reason", ""),
        message=condition.get("message", ""),
        leaving="deletionTimestamp" in metadata,
    )


def have_begun(pods: Iterable[V1Pod]) -> bool:
    """Whether one of the pods runs, or has run."""
    return any(pod.status and pod.status.phase not in (None, "Pending") for pod in pods)


def hindrance(pods: Iterable[V1Pod]) -> str:
    """What keeps the pods from starting; empty if nothing does, or nothing is known yet."""
    return next((words for pod in pods for words in _hindrances(pod)), "")


def _hindrances(pod: V1Pod) -> Iterator[str]:
    if pod.status is None or pod.status.phase != "Pending":
        return
    for condition in pod.status.conditions or []:
        if condition.type == "PodScheduled" and condition.status == "False":
            yield f"pod {_name(pod)} finds no node ({condition.reason}: {condition.message})"
    for container in _containers(pod):
        waiting = container.state.waiting if container.state else None
        if waiting and waiting.reason not in _ON_ITS_WAY:
            yield f"pod {_name(pod)} cannot start {container.image} ({waiting.reason}: {waiting.message or ''})"


def ends(pods: Iterable[V1Pod]) -> dict[str, str]:
    """How each pod that went wrong has ended, by its name."""
    return {_name(pod): words for pod in pods for words in [_end(pod)] if words}


def _end(pod: V1Pod) -> str:
    if pod.status is None or pod.status.phase != "Failed":
        return ""
    exits = [
        f"{container.name}: {ended.reason or 'Error'}, exit status {ended.exit_code}"
        for container in _containers(pod)
        for ended in [container.state.terminated if container.state else None]
        if ended
    ]
    whole = ": ".join(part for part in (pod.status.reason, pod.status.message) if part)
    return "; ".join([*([whole] if whole else []), *exits]) or "failed without a reason"


def _containers(pod: V1Pod) -> list[V1ContainerStatus]:
    assert pod.status is not None
    return [*(pod.status.init_container_statuses or []), *(pod.status.container_statuses or [])]


def _name(pod: V1Pod) -> str:
    return (pod.metadata and pod.metadata.name) or "(without a name)"
