"""Jobs through the real server with real worker processes, and what becomes of them when something dies."""

import asyncio

import pytest
from tests.integration.distill.conftest import Start
from tests.integration.distill.killing import kill_worker
from tests.integration.distill.requests import cancel, create, finished, get, job_spec, resume, run, until_step, watch

from seodang.api.distill.v1 import job_pb2
from seodang.base.errors import Conflict
from seodang.distill.settings import DistillSettings


def assert_whole_curve(points: list[job_pb2.CurvePoint], steps: int, subject: str = "student") -> None:
    """Every step once, in order, with the loss that an undisturbed run has."""
    assert [point.step for point in points if point.subject == subject] == list(range(1, steps + 1))
    for point in points:
        assert point.loss == pytest.approx((3.0 * 0.9**point.step) ** 2, rel=1e-6)


async def test_a_job_is_done_published_and_succeeds(start: Start) -> None:
    client = await start()
    baseline = job_pb2.Baseline(name="no-teacher", recipe=job_pb2.Recipe(kind=job_pb2.Recipe.KIND_NO_TEACHER))
    made = await create(client, job_spec(baselines=[baseline]))
    jobs, points = await watch(client, made.name)
    last = jobs[-1]
    assert last.state == job_pb2.JOB_STATE_SUCCEEDED, last
    assert (last.result.version, last.attempts) == ("models/robot/versions/1", 1)
    assert [each.subject for each in last.result.measurements] == ["teacher", "student", "no-teacher"]
    assert not last.result.measurements[0].HasField("forward_kl")
    assert last.result.cost.training_tokens == 20
    assert_whole_curve(points, 20)
    assert_whole_curve(points, 20, "no-teacher")
    assert [point.step for point in points if point.HasField("eval_loss")] == [10, 20, 10, 20]


async def test_jobs_wait_for_their_turn_and_none_is_forgotten(start: Start) -> None:
    client = await start(parallel_jobs=2)
    made = [await create(client, job_spec(labels={"step-ms": "50"})) for _ in range(4)]
    states = [(await get(client, job.name)).state for job in made]
    assert states[2:] == [job_pb2.JOB_STATE_QUEUED] * 2
    ended = await asyncio.gather(*(finished(client, job.name) for job in made))
    assert {job.state for job in ended} == {job_pb2.JOB_STATE_SUCCEEDED}
    assert {job.result.version for job in ended} == {f"models/robot/versions/{n}" for n in range(1, 5)}


async def test_a_worker_that_is_killed_is_started_again_and_the_curve_stays_whole(start: Start) -> None:
    client = await start()
    made = await create(client, job_spec(steps=30, labels={"dies-at": "17"}))
    jobs, points = await watch(client, made.name)
    assert (jobs[-1].state, jobs[-1].attempts) == (job_pb2.JOB_STATE_SUCCEEDED, 2)
    assert_whole_curve(points, 30)


async def test_a_worker_that_always_dies_at_one_place_fails_the_job_and_says_how(start: Start) -> None:
    client = await start()
    job = await run(client, job_spec(labels={"always-dies-at": "5"}))
    assert (job.state, job.attempts) == (job_pb2.JOB_STATE_FAILED, 3)
    assert job.fault.reason == "WORKER_DIED"
    assert "SIGKILL" in job.fault.message
    assert "the worker was told to die" in job.fault.message


async def test_a_worker_that_gets_further_each_time_is_never_given_up(start: Start, settings: DistillSettings) -> None:
    client = await start(attempts_in_a_row=2)
    # Slow enough that its progress, which is told at intervals, has been told by the time it is killed.
    made = await create(client, job_spec(steps=40, labels={"hangs-at": "5 15 25", "step-ms": "20"}))
    for step in (5, 15, 25):
        await until_step(client, made.name, step)
        kill_worker(settings.state_dir, made.name)
    jobs, points = await watch(client, made.name)
    assert (jobs[-1].state, jobs[-1].attempts) == (job_pb2.JOB_STATE_SUCCEEDED, 4)
    assert_whole_curve(points, 40)


async def test_a_fault_that_will_not_go_away_fails_the_job_at_once(start: Start) -> None:
    client = await start()
    job = await run(client, job_spec(labels={"always-fault": "InvalidInput"}))
    assert (job.state, job.attempts) == (job_pb2.JOB_STATE_FAILED, 1)
    assert (job.fault.code, job.state_message) == (3, "the worker was told to give up with InvalidInput")


async def test_a_fault_that_may_go_away_is_tried_again(start: Start) -> None:
    client = await start()
    job = await run(client, job_spec(labels={"fault": "Unavailable"}))
    assert (job.state, job.attempts) == (job_pb2.JOB_STATE_SUCCEEDED, 2)
    assert not job.HasField("fault")


async def test_a_cancelled_job_stops_and_resumes_where_it_was(start: Start) -> None:
    client = await start()
    made = await create(client, job_spec(steps=40, labels={"hangs-at": "12"}))
    await until_step(client, made.name, 12)
    await cancel(client, made.name)
    job = await finished(client, made.name)
    assert job.state == job_pb2.JOB_STATE_CANCELLED
    assert job.HasField("end_time")
    _, before = await watch(client, made.name)
    assert (await resume(client, made.name)).state == job_pb2.JOB_STATE_QUEUED
    jobs, points = await watch(client, made.name)
    assert (jobs[-1].state, jobs[-1].attempts) == (job_pb2.JOB_STATE_SUCCEEDED, 2)
    assert len(before) == 12
    assert_whole_curve(points, 40)


async def test_a_queued_job_is_cancelled_at_once_and_can_be_resumed(start: Start) -> None:
    client = await start()
    first = await create(client, job_spec(labels={"step-ms": "50"}))
    second = await create(client, job_spec())
    assert (await cancel(client, second.name)).state == job_pb2.JOB_STATE_CANCELLED
    assert (await cancel(client, second.name)).state == job_pb2.JOB_STATE_CANCELLED
    await resume(client, second.name)
    for job in (first, second):
        assert (await finished(client, job.name)).state == job_pb2.JOB_STATE_SUCCEEDED


async def test_a_failed_job_can_be_resumed(start: Start) -> None:
    client = await start(attempts_in_a_row=1)
    job = await run(client, job_spec(labels={"dies-at": "5"}))
    assert job.state == job_pb2.JOB_STATE_FAILED
    await resume(client, job.name)
    job = await finished(client, job.name)
    assert job.state == job_pb2.JOB_STATE_SUCCEEDED
    assert not job.HasField("fault")


async def test_a_job_that_succeeded_is_neither_cancelled_nor_resumed(start: Start) -> None:
    client = await start()
    job = await run(client, job_spec())
    for change in (cancel, resume):
        with pytest.raises(Conflict, match="is succeeded"):
            await change(client, job.name)


async def test_a_worker_that_cannot_be_started_fails_the_job_and_not_the_server(start: Start) -> None:
    client = await start(worker_command=("/nowhere/worker",))
    job = await run(client, job_spec())
    assert job.state == job_pb2.JOB_STATE_FAILED
    assert "/nowhere/worker" in job.fault.message
