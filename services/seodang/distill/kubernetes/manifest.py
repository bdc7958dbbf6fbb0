"""The TrainJob of a job: ranks as torchrun starts them, on nodes that see the job's folder where the server sees it."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from seodang.base.errors import InvalidInput
from seodang.distill.kubernetes.settings import KubernetesSettings
from seodang.distillation import JobFolder, JobSpec
from seodang.distillation.spec import AdapterShape, DatasetSource, FileSource

GROUP: Final = "trainer.kubeflow.org"
VERSION: Final = "v1alpha1"
KIND: Final = "TrainJob"
NODE: Final = "node"
"""What Kubeflow Trainer calls the trainer's job in a runtime, and its container."""
JOB_ANNOTATION: Final = "distill.seodang/job"
LABELS: Final = {"app.kubernetes.io/name": "distillation", "app.kubernetes.io/part-of": "seodang"}

_MANAGER: Final = "distill.seodang/launcher"
_WORKER_VARIABLES: Final = "SEODANG_DISTILLATION_"
_READABLE_LETTERS: Final = 24
"""Of the name: pods get the name of their TrainJob and more, in 63 letters."""


@dataclass(frozen=True)
class Seats:
    """Where the ranks of a job sit."""

    nodes: int
    ranks_per_node: int


def seats_of(ranks: int, node_ranks: int) -> Seats:
    """As few nodes as can have equally many ranks each, at most ``node_ranks``."""
    per_node = max(count for count in range(1, min(ranks, node_ranks) + 1) if ranks % count == 0)
    return Seats(ranks // per_node, per_node)


def train_job_name(job_id: str) -> str:
    """The one name that a job's TrainJob can have: a DNS label in which people recognise the job."""
    readable = re.sub(r"[^a-z0-9]+", "-", job_id.lower())[:_READABLE_LETTERS].strip("-")
    return f"job-{readable}-{hashlib.sha256(job_id.encode()).hexdigest()[:8]}"


def train_job(
    folder: JobFolder, spec: JobSpec, state_dir: Path, settings: KubernetesSettings, environment: Mapping[str, str]
) -> dict[str, Any]:
    """The manifest of the job in ``folder``.

    Args:
        state_dir: what the claim's volume holds; the job's folder and all that the job reads are below.
        environment: of the server; settings of workers are passed on.

    Raises:
        InvalidInput: the job reads a file that is not on the volume.
    """
    job_id = folder.root.name
    seats = seats_of(spec.budget.ranks, settings.node_ranks)
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "metadata": {
            "name": train_job_name(job_id),
            "namespace": settings.namespace,
            "labels": LABELS,
            "annotations": {JOB_ANNOTATION: f"jobs/{job_id}"},
        },
        "spec": {
            "runtimeRef": {"apiGroup": GROUP, "kind": settings.runtime_kind, "name": settings.runtime},
            "trainer": {
                "image": settings.image,
                # The runtime says in PET_* variables how many there are, and where they meet; torchrun reads those.
                "command": ["python", "-m", "torch.distributed.run"],
                "args": ["-m", "seodang.distillation", str(folder.root)],
                "env": _environment(seats, settings, environment),
                "numNodes": seats.nodes,
                "numProcPerNode": seats.ranks_per_node,
                "resourcesPerNode": _resources(seats, settings),
            },
            "runtimePatches": [_volume_patch(folder, spec, state_dir, settings.claim)],
        },
    }


def _environment(seats: Seats, settings: KubernetesSettings, environment: Mapping[str, str]) -> list[dict[str, str]]:
    threads = max(1, settings.node_cpus // seats.ranks_per_node)
    passed_on = {name: value for name, value in environment.items() if name.startswith(_WORKER_VARIABLES)}
    device = "cuda" if settings.gpu else "cpu"
    # Otherwise each rank would take a thread for every core of the machine, however few are the pod's.
    variables = {"OMP_NUM_THREADS": str(threads)} | passed_on | {f"{_WORKER_VARIABLES}DEVICE": device}
    return [{"name": name, "value": value} for name, value in sorted(variables.items())]


def _resources(seats: Seats, settings: KubernetesSettings) -> dict[str, dict[str, str]]:
    gpus = {settings.gpu: str(seats.ranks_per_node)} if settings.gpu else {}
    taken = {"cpu": str(settings.node_cpus), "memory": settings.node_memory}
    return {"requests": taken | gpus, "limits": {"memory": settings.node_memory} | gpus}


def _volume_patch(folder: JobFolder, spec: JobSpec, state_dir: Path, claim: str) -> dict[str, Any]:
    """Only the job's own folder and what it reads are mounted: the volume also holds keys and other people's jobs."""
    mounts = [_mount(folder.root, state_dir), *(_mount(path, state_dir) | {"readOnly": True} for path in _read(spec))]
    # TrainJob knows mounts apart by their volume, so each has one of its own, and all of them are the same claim.
    names = [f"seodang-{number}" for number in range(len(mounts))]
    pod = {
        "volumes": [{"name": name, "persistentVolumeClaim": {"claimName": claim}} for name in names],
        "containers": [
            {"name": NODE, "volumeMounts": [{"name": name} | mount for name, mount in zip(names, mounts, strict=True)]}
        ],
    }
    job = {"name": NODE, "template": {"spec": {"template": {"spec": pod}}}}
    return {"manager": _MANAGER, "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": [job]}}}}


def _read(spec: JobSpec) -> Iterator[Path]:
    """Files and folders that the job reads, each once."""
    source = spec.data.source
    named = [
        source.path if isinstance(source, FileSource | DatasetSource) else "",
        spec.tokenizer,
        spec.shape.base if isinstance(spec.shape, AdapterShape) else "",
    ]
    yield from (Path(path) for path in dict.fromkeys(named) if path)


def _mount(path: Path, state_dir: Path) -> dict[str, Any]:
    inside, root = path.resolve(), state_dir.resolve()
    if not inside.is_relative_to(root):
        raise InvalidInput(
            f"the job reads {path}, which no pod of it would see: on a cluster everything must be below "
            f"SEODANG_DISTILL_STATE_DIR={state_dir}, the volume that its pods mount. Put it there, and let "
            "SEODANG_DISTILL_DATA_ROOTS name a folder there"
        )
    return {"mountPath": str(path), "subPath": inside.relative_to(root).as_posix()}
