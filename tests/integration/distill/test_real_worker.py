"""The whole way, nothing replaced: the teacher, this server, the worker that trains, and who serves the student."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import json_format
from tests.integration.distill.killing import kill_newest_process, kill_worker
from tests.integration.distill.promoted import ask_promoted
from tests.integration.distill.requests import create, until_step, watch
from tests.integration.distill.server_process import server_process
from tests.scripted.kubernetes import ScriptedCluster, as_written
from tests.serving import Serving

from seodang.api.distill.v1 import job_pb2
from seodang.client import AsyncClient
from seodang.distill.kubernetes.manifest import train_job_name
from seodang.distill.settings import DistillSettings, LauncherKind
from seodang.provenance import SigningKey


def sums() -> str:
    lines = [{"messages": [{"role": "user", "content": f"{n} + 1"}], "answer": str(n + 1)} for n in range(60)]
    return "".join(json.dumps(line) + "\n" for line in lines)


def sums_spec() -> job_pb2.JobSpec:
    return job_pb2.JobSpec(
        student="sums",
        teachers=[job_pb2.Teacher(model="models/tiny")],
        data=job_pb2.DataSpec(file="sums.jsonl", license="CC0-1.0", eval_examples=4),
        shape=job_pb2.StudentShape(dense=job_pb2.DenseShape(hidden_size=32, layers=1, heads=2, kv_heads=1)),
        budget=job_pb2.Budget(steps=30, tokens_per_step=64, checkpoint_steps=5),
        gate=job_pb2.Gate(max_parameter_share=1.0, promote_to="production"),
    )


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_student_is_distilled_though_its_worker_is_killed_and_is_served_by_its_alias_and_verified(
    teacher: Serving, checkpoints: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "sums.jsonl").write_text(sums())
    settings = DistillSettings(
        state_dir=tmp_path / "state", teacher_address=teacher.address, data_roots=(data,),
        worker_command=(sys.executable, "-m", "seodang.distillation"),
    )  # fmt: skip
    async with server_process(settings, tmp_path) as server:
        async with AsyncClient(server.address) as client:
            made = await create(client, sums_spec())
            await until_step(client, made.name, 1, timeout_s=300)
            kill_worker(settings.state_dir, made.name)
            jobs, points = await watch(client, made.name, timeout_s=400)
        assert jobs[-1].state == job_pb2.JOB_STATE_SUCCEEDED, jobs[-1]
        steps = [point.step for point in points]
        assert steps == sorted(set(steps))
        assert steps[-1] == 30
        assert {each.subject for each in jobs[-1].result.measurements} == {"teacher", "student"}
        served = await ask_promoted("models/sums@production", server.address, tmp_path)
        assert served.name == jobs[-1].result.version
        student_folder = download_bundled(settings.state_dir, jobs[-1], tmp_path / "bundled")
        check_chain(student_folder, settings.state_dir / "signing-key.pem", checkpoints / "tiny", tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_job_of_two_ranks_survives_one_that_is_killed(teacher: Serving, tmp_path: Path) -> None:
    (tmp_path / "sums.jsonl").write_text(sums())
    settings = DistillSettings(
        state_dir=tmp_path / "state", teacher_address=teacher.address, data_roots=(tmp_path,),
        worker_command=(sys.executable, "-m", "seodang.distillation"),
    )  # fmt: skip
    spec = sums_spec()
    spec.budget.ranks = 2
    async with server_process(settings, tmp_path) as server, AsyncClient(server.address) as client:
        made = await create(client, spec)
        await until_step(client, made.name, 1, timeout_s=300)
        kill_newest_process(settings.state_dir, made.name)
        jobs, points = await watch(client, made.name, timeout_s=400)
    assert jobs[-1].state == job_pb2.JOB_STATE_SUCCEEDED, jobs[-1]
    assert any("rank " in each.state_message for each in jobs)
    steps = [point.step for point in points]
    assert steps == sorted(set(steps))
    assert steps[-1] == 30


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_train_job_of_two_nodes_under_torchrun_survives_a_rank_that_is_killed(
    teacher: Serving, cluster: ScriptedCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEODANG_KUBERNETES_NODE_CPUS", "1")
    cluster.node = as_written
    data = tmp_path / "state" / "data"
    data.mkdir(parents=True)
    (data / "sums.jsonl").write_text(sums())
    settings = DistillSettings(
        state_dir=tmp_path / "state", teacher_address=teacher.address, data_roots=(data,),
        launcher=LauncherKind.KUBERNETES,
    )  # fmt: skip
    spec = sums_spec()
    spec.budget.ranks = 2
    with cluster.up():
        async with server_process(settings, tmp_path) as server, AsyncClient(server.address) as client:
            made = await create(client, spec)
            await until_step(client, made.name, 1, timeout_s=300)
            kill_newest_process(settings.state_dir, made.name)
            jobs, points = await watch(client, made.name, timeout_s=400)
    assert (jobs[-1].state, jobs[-1].attempts) == (job_pb2.JOB_STATE_SUCCEEDED, 2), jobs[-1]
    steps = [point.step for point in points]
    assert steps == sorted(set(steps))
    assert steps[-1] == 30
    assert cluster.calls.count("create") == 2
    assert len(cluster.processes[train_job_name(made.name.removeprefix("jobs/"))]) == 2


def download_bundled(state_dir: Path, job: job_pb2.Job, folder: Path) -> Path:
    """The version with the job's record beside it, as `seodang students` keeps it."""
    (version,) = (state_dir / "registry").iterdir()
    shutil.copytree(version, folder)
    (folder / "record.json").write_text(json_format.MessageToJson(job))
    return folder


def check_chain(student: Path, private_key: Path, teacher: Path, tmp_path: Path) -> None:
    key = tmp_path / "trusted.pem"
    key.write_bytes(SigningKey.open(private_key).public.pem)
    assert verify(student, key, teacher) == {}
    other_key = tmp_path / "other.pem"
    other_key.write_bytes(SigningKey.open_or_make(tmp_path / "stranger.pem").public.pem)
    assert set(verify(student, other_key, teacher)) == {"signature"}
    for name, failing in (
        ("model.safetensors", {"files", "student"}),
        ("tokenizer.json", {"files", "student", "tokenizer"}),
        ("lineage.json", {"files"}),
    ):
        (student / name).chmod(0o644)
        whole = (student / name).read_bytes()
        (student / name).write_bytes(
            whole.replace(b" ", b"  ", 1) if name.endswith("json") else whole[:-1] + bytes([whole[-1] ^ 1])
        )
        failed = verify(student, key, teacher)
        assert set(failed) == failing
        assert name in failed["files"]
        (student / name).write_bytes(whole)
    assert verify(student, key, teacher) == {}


def verify(student: Path, key: Path, teacher: Path) -> dict[str, str]:
    """The checks that fail, as the command line tells them."""
    command = [sys.executable, "-m", "seodang.cli", "verify", student, "--key", key, "--teacher", teacher]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    failed = [line.split(maxsplit=2)[1:] for line in done.stdout.splitlines() if line.startswith("✗")]
    assert done.returncode == (1 if failed else 0), done.stdout + done.stderr
    return dict(failed)
