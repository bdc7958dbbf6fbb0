"""The manifest of a job on a cluster, against Kubeflow Trainer's published schema."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.published import check_train_job

from seodang.base.errors import InvalidInput
from seodang.distill.kubernetes.manifest import Seats, seats_of, train_job, train_job_name
from seodang.distill.kubernetes.settings import KubernetesSettings
from seodang.distillation import JobFolder, JobSpec, resolve
from seodang.distillation.spec import AdapterShape, Budget, Data, FileSource, Teacher

STATE = Path("/state")
FOLDER = JobFolder(STATE / "jobs" / "sums-abcdefghjk")
SETTINGS = KubernetesSettings(image="registry.example/seodang:1", claim="state-distill-0")
SPEC = resolve(
    JobSpec(
        student="sums",
        teachers=(Teacher(model="models/teacher", address="teacher:7101"),),
        data=Data(source=FileSource(path="/state/data/sums.jsonl"), license="MIT"),
    )
)
READS_MORE = msgspec.structs.replace(
    SPEC, shape=AdapterShape(base="/state/registry/aa"), tokenizer="/state/registry/aa"
)


def made(spec: JobSpec = SPEC, environment: dict[str, str] | None = None, **changes: Any) -> dict[str, Any]:
    return train_job(FOLDER, spec, STATE, SETTINGS.model_copy(update=changes), environment or {})


def pod_patch(body: dict[str, Any]) -> dict[str, Any]:
    [patch] = body["spec"]["runtimePatches"]
    [job] = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    assert job["name"] == "node"
    pod: dict[str, Any] = job["template"]["spec"]["template"]["spec"]
    return pod


def of_ranks(ranks: int) -> JobSpec:
    return msgspec.structs.replace(SPEC, budget=Budget(ranks=ranks))


@pytest.mark.parametrize(
    "body",
    [made(), made(of_ranks(16), node_ranks=8, gpu="nvidia.com/gpu"), made(READS_MORE)],
    ids=["cpu", "gpu", "reads more"],
)
def test_the_manifest_is_of_the_published_schema(body: dict[str, Any]) -> None:
    check_train_job(body)


@pytest.mark.parametrize(
    ("path", "right", "wrong"),
    [
        ("spec", "runtimeRef", "runtimeref"),
        ("spec.trainer", "numNodes", "nodes"),
        ("spec.trainer.resourcesPerNode", "limits", "limit"),
        ("spec.runtimePatches.0", "trainingRuntimeSpec", "spec"),
        ("spec.runtimePatches.0.trainingRuntimeSpec.template.spec.replicatedJobs.0.template.spec.template.spec",
         "volumes", "volume"),
    ],
)  # fmt: skip
def test_the_schema_refuses_a_misspelt_field(path: str, right: str, wrong: str) -> None:
    body: Any = made()
    inner = body
    for step in path.split("."):
        inner = inner[int(step) if step.isdigit() else step]
    inner[wrong] = inner.pop(right)
    with pytest.raises(ValueError, match=f'unknown field "{wrong}"|{right}'):
        check_train_job(body)


def test_the_schema_refuses_a_value_of_another_type() -> None:
    body = made()
    body["spec"]["trainer"]["numNodes"] = "2"
    with pytest.raises(ValueError, match="numNodes"):
        check_train_job(body)


def test_the_schema_refuses_two_mounts_of_one_volume() -> None:
    body = made()
    [container] = pod_patch(body)["containers"]
    for mount in container["volumeMounts"]:
        mount["name"] = "seodang-0"
    with pytest.raises(ValueError, match='volumeMounts: Duplicate value: "seodang-0"'):
        check_train_job(body)


def test_the_command_is_torchrun_on_the_folder() -> None:
    trainer = made()["spec"]["trainer"]
    assert trainer["command"] == ["python", "-m", "torch.distributed.run"]
    assert trainer["args"] == ["-m", "seodang.distillation", "/state/jobs/sums-abcdefghjk"]


@pytest.mark.parametrize(
    ("ranks", "node_ranks", "seats"),
    [(1, 8, Seats(1, 1)), (8, 8, Seats(1, 8)), (16, 8, Seats(2, 8)), (6, 4, Seats(2, 3)), (7, 4, Seats(7, 1))],
)
def test_nodes_are_as_few_as_can_have_equally_many_ranks(ranks: int, node_ranks: int, seats: Seats) -> None:
    assert seats_of(ranks, node_ranks) == seats


def test_a_node_asks_for_a_gpu_for_each_of_its_ranks() -> None:
    trainer = made(of_ranks(6), node_ranks=4, node_cpus=12, gpu="nvidia.com/gpu")["spec"]["trainer"]
    assert (trainer["numNodes"], trainer["numProcPerNode"]) == (2, 3)
    assert trainer["resourcesPerNode"] == {
        "requests": {"cpu": "12", "memory": "16Gi", "nvidia.com/gpu": "3"},
        "limits": {"memory": "16Gi", "nvidia.com/gpu": "3"},
    }
    env = {each["name"]: each["value"] for each in trainer["env"]}
    assert env == {"OMP_NUM_THREADS": "4", "SEODANG_DISTILLATION_DEVICE": "cuda"}


def test_settings_of_workers_are_passed_on_and_no_others() -> None:
    given = {"SEODANG_DISTILLATION_WATTS": "300", "SEODANG_DISTILL_DATABASE_URL": "postgresql://secret", "PET_X": "1"}
    env = {each["name"]: each["value"] for each in made(environment=given)["spec"]["trainer"]["env"]}
    assert env == {
        "OMP_NUM_THREADS": "4", "SEODANG_DISTILLATION_WATTS": "300", "SEODANG_DISTILLATION_DEVICE": "cpu",
    }  # fmt: skip


def test_pods_see_the_job_where_the_server_sees_it_and_nothing_that_it_does_not_read() -> None:
    pod = pod_patch(made(READS_MORE))
    volumes = {each["name"]: each["persistentVolumeClaim"] for each in pod["volumes"]}
    assert list(volumes.values()) == [{"claimName": "state-distill-0"}] * 3
    [container] = pod["containers"]
    mounts = [(each["mountPath"], each["subPath"], each.get("readOnly", False)) for each in container["volumeMounts"]]
    assert mounts == [
        ("/state/jobs/sums-abcdefghjk", "jobs/sums-abcdefghjk", False),
        ("/state/data/sums.jsonl", "data/sums.jsonl", True),
        ("/state/registry/aa", "registry/aa", True),
    ]
    assert [each["name"] for each in container["volumeMounts"]] == list(volumes)


def test_a_job_that_reads_what_is_not_on_the_volume_is_refused() -> None:
    elsewhere = msgspec.structs.replace(SPEC.data, source=FileSource(path="/home/sums.jsonl"))
    with pytest.raises(InvalidInput, match=r"reads /home/sums\.jsonl, .* below SEODANG_DISTILL_STATE_DIR=/state"):
        made(msgspec.structs.replace(SPEC, data=elsewhere))


# The published CustomResourceDefinition asks for a label of RFC 1035; a pod of the 10,000th node has to fit 63 letters.
@pytest.mark.parametrize("job_id", ["sums-abcdefghjk", "3d-model-x2", "a" * 95, "_".join("가나다"), "Upper.Case"])
def test_a_name_is_one_that_kubernetes_takes(job_id: str) -> None:
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", train_job_name(job_id))
    assert len(f"{train_job_name(job_id)}-node-0-9999-abcde") <= 63


def test_jobs_have_names_of_their_own_and_always_the_same() -> None:
    assert train_job_name("sums-abcdefghjk") == "job-sums-abcdefghjk-840cefb3"
    assert len({train_job_name(f"{'a' * 40}-{number}") for number in range(100)}) == 100
