"""What infra/ describes is valid against the published schemas, and agrees with the mesh."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from tests.published import check_runtime

from seodang.base.settings import Settings
from seodang.cli.members import MEMBERS, Probe
from seodang.distill.kubernetes import cluster
from seodang.distill.kubernetes.manifest import NODE
from seodang.distill.kubernetes.settings import KubernetesSettings
from seodang.distill.settings import DistillSettings, LauncherKind
from seodang.teacher.settings import TeacherSettings

INFRA = Path(__file__).resolve().parents[2] / "infra"
BASE = INFRA / "kubernetes" / "base"
SHARDED = INFRA / "kubernetes" / "overlays" / "sharded-teacher"
CLUSTER_JOBS = INFRA / "kubernetes" / "overlays" / "cluster-jobs"
BIN = Path(sys.executable).parent


def _documents(folder: Path) -> list[dict[str, Any]]:
    return [document for path in sorted(folder.glob("*.yaml")) for document in yaml.safe_load_all(path.read_text())]


OBJECTS = [document for document in _documents(BASE) if document["kind"] != "Kustomization"]
WORKLOADS = {o["metadata"]["name"]: o for o in OBJECTS if o["kind"] in {"Deployment", "StatefulSet"}}
SERVICES = {o["metadata"]["name"]: o for o in OBJECTS if o["kind"] == "Service"}
ROLE_OBJECTS = list(yaml.safe_load_all((CLUSTER_JOBS / "role.yaml").read_text()))
RUNTIME = yaml.safe_load((CLUSTER_JOBS / "runtime.yaml").read_text())
TEACHER_SET = yaml.safe_load((SHARDED / "teacher.yaml").read_text())

# What the published CustomResourceDefinition of leaderworkerset.x-k8s.io/v1 allows, but for the pods themselves, which
# are checked as pods.
LEADER_WORKER_SET = {
    "type": "object",
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "additionalProperties": False,
    "properties": {
        "apiVersion": {"const": "leaderworkerset.x-k8s.io/v1"},
        "kind": {"const": "LeaderWorkerSet"},
        "metadata": {"type": "object", "required": ["name"]},
        "spec": {
            "type": "object",
            "required": ["leaderWorkerTemplate"],
            "additionalProperties": False,
            "properties": {
                "replicas": {"type": "integer", "minimum": 0},
                "startupPolicy": {"enum": ["LeaderCreated", "LeaderReady"]},
                "networkConfig": {
                    "type": "object",
                    "required": ["subdomainPolicy"],
                    "additionalProperties": False,
                    "properties": {"subdomainPolicy": {"enum": ["Shared", "UniquePerReplica"]}},
                },
                "rolloutStrategy": {"type": "object"},
                "leaderWorkerTemplate": {
                    "type": "object",
                    "required": ["workerTemplate"],
                    "additionalProperties": False,
                    "properties": {
                        "size": {"type": "integer", "minimum": 1},
                        "restartPolicy": {"enum": ["RecreateGroupOnPodRestart", "RecreateGroupAfterStart", "None"]},
                        "leaderTemplate": {"type": "object"},
                        "workerTemplate": {"type": "object"},
                        "subGroupPolicy": {"type": "object"},
                        "volumeClaimTemplates": {"type": "array"},
                    },
                },
            },
        },
    },
}


@pytest.mark.parametrize("manifest", OBJECTS + ROLE_OBJECTS, ids=lambda o: f"{o['kind']}-{o['metadata']['name']}")
def test_a_manifest_is_valid_kubernetes(manifest: dict[str, Any]) -> None:
    kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.name)
def test_every_member_of_the_mesh_has_a_workload_and_a_service(member: Any) -> None:
    [container] = WORKLOADS[member.name]["spec"]["template"]["spec"]["containers"]
    [port] = container["ports"]
    assert container["args"] == [member.module]
    assert port["containerPort"] == SERVICES[member.name]["spec"]["ports"][0]["port"] == member.port
    probe = container["readinessProbe"]
    assert (
        probe["grpc"]["port"] == member.port
        if member.probe is Probe.GRPC
        else probe["httpGet"]["path"] == member.probe.value
    )


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.name)
def test_a_member_finds_its_upstreams(member: Any) -> None:
    [container] = WORKLOADS[member.name]["spec"]["template"]["spec"]["containers"]
    env = {entry["name"]: entry["value"] for entry in container["env"]}
    addresses = [env[f"SEODANG_{member.name.upper()}_{upstream.upper()}_ADDRESS"] for upstream in member.upstreams]
    named = [(address.partition(":")[0], int(address.partition(":")[2])) for address in addresses]
    assert all(SERVICES[host]["spec"]["ports"][0]["port"] == port for host, port in named)


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.name)
def test_a_member_understands_its_environment(member: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    [container] = WORKLOADS[member.name]["spec"]["template"]["spec"]["containers"]
    for name in [name for name in os.environ if name.startswith("SEODANG_")]:
        monkeypatch.delenv(name)
    for entry in container["env"]:
        monkeypatch.setenv(entry["name"], entry["value"])
    module = importlib.import_module(f"{member.module}.settings")
    own = [each for each in vars(module).values() if isinstance(each, type) and each.__module__ == module.__name__]
    [settings] = [each for each in own if issubclass(each, Settings)]
    assert settings.load().model_dump()["port"] == member.port


@pytest.mark.parametrize("folder", [BASE, SHARDED, CLUSTER_JOBS], ids=lambda f: f.name)
def test_a_kustomization_names_files_that_exist(folder: Path) -> None:
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert [name for name in kustomization["resources"] if not (folder / name).exists()] == []


def test_the_sharded_teacher_is_a_valid_set_of_valid_pods() -> None:
    jsonschema.validate(TEACHER_SET, LEADER_WORKER_SET)
    template = TEACHER_SET["spec"]["leaderWorkerTemplate"]["workerTemplate"]
    pod = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "teacher"}, "template": template}
    kubernetes_validate.validate(pod, kubernetes_validate.latest_version(), strict=True)


def test_the_sharded_teacher_is_reached_and_watched_like_the_single_one() -> None:
    single = WORKLOADS["teacher"]["spec"]["template"]
    sharded = TEACHER_SET["spec"]["leaderWorkerTemplate"]["workerTemplate"]
    assert sharded["metadata"]["labels"] == single["metadata"]["labels"]
    assert SERVICES["teacher"]["spec"]["selector"].items() <= sharded["metadata"]["labels"].items()
    [before], [after] = single["spec"]["containers"], sharded["spec"]["containers"]
    for part in ("image", "args", "ports", "readinessProbe", "livenessProbe", "securityContext"):
        assert after[part] == before[part]
    assert after["startupProbe"]["grpc"] == before["startupProbe"]["grpc"]


def test_the_sharded_teacher_has_a_device_for_each_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    [container] = TEACHER_SET["spec"]["leaderWorkerTemplate"]["workerTemplate"]["spec"]["containers"]
    for entry in container["env"]:
        monkeypatch.setenv(entry["name"], entry["value"])
    settings = TeacherSettings.load()
    assert settings.device == "cuda"
    assert settings.layout().ranks == int(container["resources"]["limits"]["nvidia.com/gpu"])


def test_the_role_of_the_distillation_server_allows_what_it_asks_for_and_no_more() -> None:
    account, role, binding = ROLE_OBJECTS
    allowed = {f"{verb} {what}" for rule in role["rules"] for verb in rule["verbs"] for what in rule["resources"]}
    assert allowed == set(re.findall(r'_translated\("([^"]+)"\)', Path(cluster.__file__).read_text()))
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": account["metadata"]["name"], "namespace": "seodang"}
    ]


def test_the_runtime_of_jobs_is_of_the_published_schema_and_restarts_nothing_itself() -> None:
    check_runtime(RUNTIME)
    spec = RUNTIME["spec"]["template"]["spec"]
    [job] = spec["replicatedJobs"]
    template = job["template"]["spec"]["template"]
    pod = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "node"}, "template": template}
    kubernetes_validate.validate(pod, kubernetes_validate.latest_version(), strict=True)
    assert (job["name"], [container["name"] for container in template["spec"]["containers"]]) == (NODE, [NODE])
    restarts = (spec["failurePolicy"]["maxRestarts"], job["template"]["spec"]["backoffLimit"])
    assert (*restarts, template["spec"]["restartPolicy"]) == (0, 0, "Never")


def test_the_server_of_cluster_jobs_understands_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    pod = yaml.safe_load((CLUSTER_JOBS / "distill.yaml").read_text())["spec"]["template"]["spec"]
    [before], [after] = WORKLOADS["distill"]["spec"]["template"]["spec"]["containers"], pod["containers"]
    assert (pod["serviceAccountName"], after["name"]) == (ROLE_OBJECTS[0]["metadata"]["name"], before["name"])
    for entry in before["env"] + after["env"]:
        monkeypatch.setenv(entry["name"], entry["value"])
    settings, asked = DistillSettings.load(), KubernetesSettings.load()
    assert settings.launcher is LauncherKind.KUBERNETES
    assert {"name": "state", "mountPath": str(settings.state_dir)} in before["volumeMounts"]
    [claim] = WORKLOADS["distill"]["spec"]["volumeClaimTemplates"]
    assert asked.claim == f"{claim['metadata']['name']}-distill-0"
    assert (asked.runtime_kind, asked.runtime) == (RUNTIME["kind"], RUNTIME["metadata"]["name"])


def test_the_compose_file_is_valid() -> None:
    command = [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", INFRA / "compose.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_compose_file_runs_every_member() -> None:
    services = yaml.safe_load((INFRA / "compose.yaml").read_text())["services"]
    commands = {name: service.get("command") for name, service in services.items()}
    assert all(commands[member.name] == [member.module] for member in MEMBERS)


def test_the_containerfile_passes_its_linter() -> None:
    done = subprocess.run([BIN / "hadolint", INFRA / "Containerfile"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
