"""Jobs as TrainJobs: the real server and the real client with a scripted cluster, whose nodes run real processes."""

import asyncio
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.integration.distill.conftest import Start, tiny_worker
from tests.integration.distill.killing import kill_worker
from tests.integration.distill.requests import cancel, create, finished, get, job_spec, resume, run, until_step, watch
from tests.integration.distill.server_process import server_process
from tests.integration.distill.test_supervision import assert_whole_curve
from tests.scripted.kubernetes import Refusal, ScriptedCluster, pod

from seodang.api.distill.v1 import distill_pb2, job_pb2
from seodang.base.errors import InvalidInput
from seodang.client import AsyncClient
from seodang.distill.kubernetes.manifest import train_job_name
from seodang.distill.server import running_server
from seodang.distill.settings import DistillSettings, LauncherKind

FORBIDDEN = (
    'trainjobs.trainer.kubeflow.org is forbidden: User "system:serviceaccount:seodang:distill" cannot {} resource'
)


@pytest.fixture
def settings(settings: DistillSettings) -> DistillSettings:
    """The server of the other tests, with its data on the volume and its workers on the cluster."""
    (root,) = settings.data_roots
    on_volume = settings.state_dir / "data"
    on_volume.parent.mkdir()
    root.rename(on_volume)
    changes = {"launcher": LauncherKind.KUBERNETES, "data_roots": (on_volume,), "worker_command": ("/nowhere/worker",)}
    return settings.model_copy(update=changes)


def name_of(job: job_pb2.Job) -> str:
    return train_job_name(job.name.removeprefix("jobs/"))


async def until_told(client: AsyncClient, name: str, words: str) -> job_pb2.Job:
    """Waits until the job's state says so."""
    async for event in client.distillation.WatchJob(distill_pb2.WatchJobRequest(name=name), timeout=60):
        if event.HasField("job") and words in event.job.state_message:
            return event.job
    raise AssertionError(f"{name} ended without a word of {words!r}")


async def until(true: Callable[[], bool]) -> None:
    """Waits until the cluster has come so far."""
    deadline_s = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline_s
        await asyncio.sleep(0.02)


async def test_a_job_is_a_train_job_and_its_student_is_published(start: Start, cluster: ScriptedCluster) -> None:
    with cluster.up():
        client = await start()
        made = await create(client, job_spec())
        jobs, points = await watch(client, made.name)
    assert (jobs[-1].state, jobs[-1].attempts) == (job_pb2.JOB_STATE_SUCCEEDED, 1), jobs[-1]
    assert jobs[-1].result.version == "models/robot/versions/1"
    assert_whole_curve(points, 20)
    assert list(cluster.train_jobs) == [name_of(made)]
    assert cluster.calls.count("create") == 1


async def test_a_train_job_whose_process_is_killed_is_made_anew_and_goes_on(
    start: Start, cluster: ScriptedCluster, settings: DistillSettings
) -> None:
    with cluster.up():
        client = await start()
        made = await create(client, job_spec(steps=30, labels={"hangs-at": "12"}))
        await until_step(client, made.name, 12)
        kill_worker(settings.state_dir, made.name)
        jobs, points = await watch(client, made.name)
    assert (jobs[-1].state, jobs[-1].attempts) == (job_pb2.JOB_STATE_SUCCEEDED, 2)
    assert_whole_curve(points, 30)
    assert cluster.calls.count("create") == 2


async def test_a_train_job_that_always_fails_at_one_place_fails_the_job_with_its_log(
    start: Start, cluster: ScriptedCluster
) -> None:
    with cluster.up():
        client = await start()
        job = await run(client, job_spec(labels={"always-dies-at": "5"}))
    assert (job.state, job.attempts, job.fault.reason) == (job_pb2.JOB_STATE_FAILED, 3, "WORKER_DIED")
    assert f"TrainJob {name_of(job)}" in job.fault.message
    assert "Error, exit status 137" in job.fault.message
    assert "the worker was told to die" in job.fault.message


async def test_a_fault_that_will_not_go_away_is_not_tried_again(start: Start, cluster: ScriptedCluster) -> None:
    with cluster.up():
        client = await start()
        job = await run(client, job_spec(labels={"always-fault": "InvalidInput"}))
    assert (job.state, job.attempts, job.fault.code) == (job_pb2.JOB_STATE_FAILED, 1, 3)
    assert cluster.calls.count("create") == 1


async def test_a_runtime_that_starts_a_hopeless_worker_again_and_again_is_stopped(
    start: Start, cluster: ScriptedCluster
) -> None:
    cluster.node = lambda manifest: ["sh", "-c", f"{' '.join(tiny_worker(manifest))}; sleep 600"]
    with cluster.up():
        client = await start()
        job = await run(client, job_spec(labels={"always-fault": "InvalidInput"}))
        assert (job.state, job.attempts, job.fault.code) == (job_pb2.JOB_STATE_FAILED, 1, 3)
        assert cluster.train_jobs == {}


async def test_pods_that_hang_after_their_result_are_not_waited_for(start: Start, cluster: ScriptedCluster) -> None:
    cluster.node = lambda manifest: ["sh", "-c", f"{' '.join(tiny_worker(manifest))}; sleep 600"]
    with cluster.up():
        client = await start()
        job = await run(client, job_spec())
        assert (job.state, job.attempts) == (job_pb2.JOB_STATE_SUCCEEDED, 1)
        await until(lambda: not cluster.train_jobs)


async def test_an_evicted_job_is_made_anew_and_says_why(start: Start, cluster: ScriptedCluster) -> None:
    cluster.node = None
    with cluster.up():
        # Slow enough that what is said in between is seen.
        client = await start(retry_backoff_s=2.0, retry_backoff_max_s=2.0)
        made = await create(client, job_spec())
        name = name_of(made)
        await until(lambda: name in cluster.train_jobs)
        told = asyncio.create_task(until_told(client, made.name, "Another worker starts"))
        cluster.pods[name] = [pod(name, "Failed", reason="Evicted", message="The node was low on resource: memory.")]
        cluster.node = tiny_worker
        cluster.condition(name, "Failed", "FailedJobs", "jobset failed due to one or more job failures")
        assert "Evicted: The node was low on resource: memory." in (await told).state_message
        job = await finished(client, made.name)
    assert (job.state, job.attempts) == (job_pb2.JOB_STATE_SUCCEEDED, 2)


async def test_a_cancelled_job_leaves_no_train_job_and_is_resumed_by_a_new_one(
    start: Start, cluster: ScriptedCluster
) -> None:
    with cluster.up():
        client = await start()
        made = await create(client, job_spec(steps=40, labels={"hangs-at": "12"}))
        await until_step(client, made.name, 12)
        await cancel(client, made.name)
        assert (await finished(client, made.name)).state == job_pb2.JOB_STATE_CANCELLED
        assert cluster.train_jobs == {}
        [process] = cluster.processes[name_of(made)]
        assert process.wait(10) == -signal.SIGKILL
        await resume(client, made.name)
        jobs, points = await watch(client, made.name)
    assert (jobs[-1].state, jobs[-1].attempts) == (job_pb2.JOB_STATE_SUCCEEDED, 2)
    assert_whole_curve(points, 40)


async def test_a_job_is_cancelled_only_once_the_cluster_has_let_go_of_it(
    settings: DistillSettings, cluster: ScriptedCluster, tmp_path: Path
) -> None:
    with cluster.up():
        async with server_process(settings, tmp_path) as server, AsyncClient(server.address) as client:
            made = await create(client, job_spec(steps=40, labels={"hangs-at": "12"}))
            await until_step(client, made.name, 12)
            cluster.refusals["delete"] = Refusal(403, FORBIDDEN.format("delete"))
            await cancel(client, made.name)
            told = await until_told(client, made.name, "may not delete trainjobs")
            assert told.state == job_pb2.JOB_STATE_CANCELLING
            # Not even the death of the server makes it forget.
            await server.end(signal.SIGKILL)
            await server.start()
            await until_told(client, made.name, "may not delete trainjobs")
            cluster.refusals.clear()
            assert (await finished(client, made.name)).state == job_pb2.JOB_STATE_CANCELLED
    assert cluster.train_jobs == {}


async def test_a_server_that_was_killed_finds_its_train_job_again(
    settings: DistillSettings, cluster: ScriptedCluster, tmp_path: Path
) -> None:
    with cluster.up():
        async with server_process(settings, tmp_path) as server, AsyncClient(server.address) as client:
            made = await create(client, job_spec(steps=60, labels={"step-ms": "100"}))
            await until_step(client, made.name, 8)
            await server.end(signal.SIGKILL)
            [process] = cluster.processes[name_of(made)]
            assert process.poll() is None
            await server.start()
            jobs, points = await watch(client, made.name)
    assert (jobs[-1].state, jobs[-1].attempts) == (job_pb2.JOB_STATE_SUCCEEDED, 1)
    assert_whole_curve(points, 60)
    assert cluster.calls.count("create") == 1
    assert cluster.processes == {name_of(made): [process]}


async def test_a_cluster_that_cannot_be_reached_is_told_and_asked_again(start: Start, cluster: ScriptedCluster) -> None:
    client = await start()
    made = await create(client, job_spec())
    told = await until_told(client, made.name, "cannot be reached")
    assert (told.state, told.attempts) == (job_pb2.JOB_STATE_RUNNING, 0)
    assert f"http://127.0.0.1:{cluster.port}" in told.state_message
    with cluster.up():
        assert (await finished(client, made.name)).state == job_pb2.JOB_STATE_SUCCEEDED


async def test_a_job_whose_cluster_never_answers_is_cancelled_once_it_does(
    start: Start, cluster: ScriptedCluster
) -> None:
    client = await start()
    made = await create(client, job_spec())
    await until_told(client, made.name, "cannot be reached")
    await cancel(client, made.name)
    assert (await get(client, made.name)).state == job_pb2.JOB_STATE_CANCELLING
    with cluster.up():
        assert (await finished(client, made.name)).state == job_pb2.JOB_STATE_CANCELLED
    assert cluster.calls.count("create") == 0


async def test_a_job_goes_on_while_the_api_is_away(start: Start, cluster: ScriptedCluster) -> None:
    client = await start()
    with cluster.up():
        made = await create(client, job_spec(steps=60, labels={"step-ms": "100"}))
        await until_step(client, made.name, 5)
    await until_told(client, made.name, "cannot be reached")
    await until_step(client, made.name, 40)
    with cluster.up():
        jobs, points = await watch(client, made.name)
    assert (jobs[-1].state, jobs[-1].attempts) == (job_pb2.JOB_STATE_SUCCEEDED, 1)
    assert_whole_curve(points, 60)


async def test_a_result_counts_though_the_api_stays_away(start: Start, cluster: ScriptedCluster) -> None:
    client = await start()
    with cluster.up():
        made = await create(client, job_spec(steps=40, labels={"step-ms": "50"}))
        await until_step(client, made.name, 5)
    assert (await finished(client, made.name)).state == job_pb2.JOB_STATE_SUCCEEDED


async def test_a_watch_of_a_forgotten_version_begins_anew(start: Start, cluster: ScriptedCluster) -> None:
    cluster.forgotten = True
    with cluster.up():
        client = await start()
        job = await run(client, job_spec())
    assert (job.state, job.attempts) == (job_pb2.JOB_STATE_SUCCEEDED, 1)
    assert not cluster.forgotten
    assert cluster.calls[: cluster.calls.index("watch") + 2] == ["get", "create", "watch", "get"]


async def test_a_train_job_whose_creation_was_not_answered_is_not_created_twice(
    start: Start, cluster: ScriptedCluster
) -> None:
    cluster.lost.add("create")
    with cluster.up():
        client = await start()
        job = await run(client, job_spec())
    assert (job.state, job.attempts) == (job_pb2.JOB_STATE_SUCCEEDED, 1)
    assert len(cluster.processes) == 1


async def test_a_train_job_that_somebody_deletes_is_made_anew(start: Start, cluster: ScriptedCluster) -> None:
    with cluster.up():
        client = await start(retry_backoff_s=2.0, retry_backoff_max_s=2.0)
        made = await create(client, job_spec(steps=30, labels={"hangs-at": "12"}))
        await until_step(client, made.name, 12)
        told = asyncio.create_task(until_told(client, made.name, "somebody deleted it"))
        cluster.vanish(name_of(made))
        await told
        job = await finished(client, made.name)
    assert (job.state, job.attempts) == (job_pb2.JOB_STATE_SUCCEEDED, 2)


DENIED = 'admission webhook "validator.trainjob.trainer.kubeflow.org" denied the request: spec.runtimeRef: not found'


@pytest.mark.parametrize(
    ("refusal", "code", "words"),
    [
        (Refusal(403, FORBIDDEN.format("create")), 7, "may not create trainjobs in namespace 'seodang'.*role.yaml"),
        (Refusal(403, DENIED), 3, "TrainingRuntime 'seodang-distillation' in namespace 'seodang'.*_RUNTIME names it"),
        (Refusal(404, "the server could not find the requested resource"), 5, "install Kubeflow Trainer 2.2"),
        (Refusal(400, 'strict decoding error: unknown field "spec.runtimePatches"'), 3, "runtimePatches.*Trainer 2.2"),
        (Refusal(401, "Unauthorized"), 16, "does not know this server.*SEODANG_KUBERNETES_CONFIG"),
    ],
    ids=["rbac", "webhook", "no trainer", "old trainer", "unknown"],
)
async def test_a_cluster_that_refuses_the_train_job_fails_the_job_and_names_what_to_do(
    start: Start, cluster: ScriptedCluster, refusal: Refusal, code: int, words: str
) -> None:
    cluster.refusals["create"] = refusal
    with cluster.up():
        client = await start()
        job = await run(client, job_spec())
    assert (job.state, job.fault.code) == (job_pb2.JOB_STATE_FAILED, code)
    assert re.search(words, job.fault.message), job.fault.message
    assert cluster.calls.count("create") == 1


@pytest.mark.parametrize(
    "refusal",
    [
        Refusal(503, "apiserver is shutting down"),
        Refusal(403, "trainjobs is forbidden: exceeded quota: count/trainjobs.trainer.kubeflow.org=1"),
        Refusal(500, 'failed calling webhook "validator.trainjob.trainer.kubeflow.org": no endpoints available'),
    ],
    ids=["overloaded", "quota", "webhook away"],
)
async def test_a_cluster_that_cannot_take_the_train_job_now_is_asked_again(
    start: Start, cluster: ScriptedCluster, refusal: Refusal
) -> None:
    cluster.refusals["create"] = refusal
    with cluster.up():
        client = await start()
        made = await create(client, job_spec())
        await until_told(client, made.name, refusal.message)
        cluster.refusals.clear()
        job = await finished(client, made.name)
    assert (job.state, job.attempts) == (job_pb2.JOB_STATE_SUCCEEDED, 1)


async def test_a_server_that_may_not_watch_says_so_and_goes_on_once_it_may(
    start: Start, cluster: ScriptedCluster
) -> None:
    cluster.refusals["watch"] = Refusal(403, FORBIDDEN.format("watch"))
    with cluster.up():
        client = await start()
        made = await create(client, job_spec(steps=60, labels={"step-ms": "50"}))
        await until_told(client, made.name, "may not watch trainjobs in namespace 'seodang'")
        cluster.refusals.clear()
        job = await finished(client, made.name)
    assert (job.state, job.attempts) == (job_pb2.JOB_STATE_SUCCEEDED, 1)


async def test_a_runtime_that_is_not_there_fails_the_job_by_its_name(start: Start, cluster: ScriptedCluster) -> None:
    cluster.node = None
    with cluster.up():
        client = await start()
        made = await create(client, job_spec())
        await until(lambda: name_of(made) in cluster.train_jobs)
        cluster.condition(
            name_of(made), "Failed", "TrainingRuntimeNotSupported", "Referenced TrainingRuntime not found"
        )
        job = await finished(client, made.name)
    assert (job.state, job.attempts, job.fault.reason) == (job_pb2.JOB_STATE_FAILED, 1, "NO_RUNTIME")
    assert "there is no TrainingRuntime 'seodang-distillation'" in job.fault.message


async def test_pods_without_a_node_are_told_until_they_have_one(start: Start, cluster: ScriptedCluster) -> None:
    cluster.node = None
    full = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
    with cluster.up():
        client = await start()
        made = await create(client, job_spec())
        name = name_of(made)
        await until_told(client, made.name, "has made no pods")
        cluster.pods[name] = [pod(name, "Pending", unschedulable=full)]
        await until_told(client, made.name, full)
        cluster.pods[name] = [pod(name, "Pending", waiting=("ContainerCreating", ""))]
        await until_told(client, made.name, "its pods are being started")
        cluster.pods[name] = [pod(name, "Pending", waiting=("ErrImagePull", "not found"))]
        await until_told(client, made.name, "cannot start registry.example/seodang:1 (ErrImagePull: not found)")
        cluster.pods[name] = [pod(name, "Running")]
        subprocess.run(tiny_worker(cluster.train_jobs[name]), check=True)
        cluster.condition(name, "Complete", "AllJobsCompleted")
        job = await finished(client, made.name)
    assert (job.state, job.attempts) == (job_pb2.JOB_STATE_SUCCEEDED, 1)


async def test_pods_of_an_unknown_form_are_told_and_the_job_goes_on(start: Start, cluster: ScriptedCluster) -> None:
    cluster.node = None
    with cluster.up():
        client = await start()
        made = await create(client, job_spec())
        name = name_of(made)
        cluster.pods[name] = [{"metadata": {"name": name}, "spec": {"containers": "none"}}]
        await until_told(client, made.name, "is not understood")
        subprocess.run(tiny_worker(cluster.train_jobs[name]), check=True)
        cluster.condition(name, "Complete", "AllJobsCompleted")
        job = await finished(client, made.name)
    assert (job.state, job.attempts) == (job_pb2.JOB_STATE_SUCCEEDED, 1)


async def test_pods_that_never_start_fail_the_job_in_the_end(
    start: Start, cluster: ScriptedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEODANG_KUBERNETES_START_PATIENCE_S", "1.5")
    cluster.node = None
    with cluster.up():
        client = await start()
        made = await create(client, job_spec())
        name = name_of(made)
        cluster.pods[name] = [pod(name, "Pending", unschedulable="0/3 nodes are available: 3 Insufficient memory.")]
        job = await finished(client, made.name)
        assert cluster.train_jobs == {}
    assert (job.state, job.attempts, job.fault.reason) == (job_pb2.JOB_STATE_FAILED, 1, "PODS_DID_NOT_START")
    assert re.search("3 Insufficient memory.*SEODANG_KUBERNETES_NODE_CPUS=4, _NODE_MEMORY=16Gi", job.fault.message)


async def test_time_in_a_queue_costs_no_patience(
    start: Start, cluster: ScriptedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEODANG_KUBERNETES_START_PATIENCE_S", "0.5")
    cluster.node = None
    with cluster.up():
        client = await start()
        made = await create(client, job_spec())
        await until(lambda: name_of(made) in cluster.train_jobs)
        cluster.condition(name_of(made), "Suspended", "Suspended", "TrainJob is suspended")
        await until_told(client, made.name, "is suspended, as in the queue of Kueue")
        before = cluster.calls.count("watch")
        await until(lambda: cluster.calls.count("watch") >= before + 2)
        assert (await get(client, made.name)).state == job_pb2.JOB_STATE_RUNNING
        assert name_of(made) in cluster.train_jobs


async def test_pods_that_write_to_another_volume_are_found_out(start: Start, cluster: ScriptedCluster) -> None:
    cluster.node = lambda _: ["true"]
    with cluster.up():
        client = await start(attempts_in_a_row=2)
        job = await run(client, job_spec())
    assert (job.state, job.attempts) == (job_pb2.JOB_STATE_FAILED, 2)
    assert "SEODANG_KUBERNETES_CLAIM=state-distill-0 the volume" in job.fault.message


async def test_a_train_job_of_somebody_else_is_left_alone(
    start: Start, cluster: ScriptedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.refusals["create"] = Refusal(503, "not yet")
    with cluster.up():
        client = await start()
        made = await create(client, job_spec())
        await until_told(client, made.name, "not yet")
        theirs = {"metadata": {"name": name_of(made), "resourceVersion": "1", "annotations": {}}}
        cluster.train_jobs[name_of(made)] = theirs
        cluster.refusals.clear()
        job = await finished(client, made.name)
        assert (job.state, job.fault.reason) == (job_pb2.JOB_STATE_FAILED, "TRAIN_JOB_TAKEN")
        assert cluster.train_jobs == {name_of(made): theirs}


async def test_a_data_folder_that_pods_do_not_see_is_refused_at_the_start(
    settings: DistillSettings, cluster: ScriptedCluster, tmp_path: Path
) -> None:
    elsewhere = settings.model_copy(update={"data_roots": (tmp_path,)})
    with pytest.raises(InvalidInput, match=r"SEODANG_DISTILL_DATA_ROOTS names .* pods do not see"):
        async with running_server(elsewhere):
            pass


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("CONFIG", "/nowhere/kubeconfig", "no cluster can be reached by /nowhere/kubeconfig"),
        ("CONTEXT", "other", "other"),
        ("CONFIG", "", "the service account of a pod"),
        ("NODE_MEMORY", "16 GB", "SEODANG_KUBERNETES_NODE_MEMORY='16 GB'"),
        ("NODE_CPU", "4", "unknown settings SEODANG_KUBERNETES_NODE_CPU"),
        ("CLAIM", "", "SEODANG_KUBERNETES_CLAIM=''"),
    ],
)
async def test_a_bad_setting_is_told_at_the_start(
    settings: DistillSettings, cluster: ScriptedCluster, monkeypatch: pytest.MonkeyPatch,
    variable: str, value: str, words: str,
) -> None:  # fmt: skip
    monkeypatch.setenv(f"SEODANG_KUBERNETES_{variable}", value)
    with pytest.raises(InvalidInput, match=re.escape(words)):
        async with running_server(settings):
            pass


def test_a_server_without_the_client_says_what_to_install(settings: DistillSettings, tmp_path: Path) -> None:
    program = "import sys; sys.modules['kubernetes'] = None; from seodang.distill.__main__ import main; main([])"
    env = {
        "SEODANG_DISTILL_LAUNCHER": "kubernetes", "SEODANG_DISTILL_STATE_DIR": str(tmp_path / "other"),
        "SEODANG_DISTILL_PORT": "0",
    }  # fmt: skip
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "pip install 'seodang[kubernetes]'" in done.stdout + done.stderr
