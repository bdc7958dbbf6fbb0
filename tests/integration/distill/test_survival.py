"""The server is killed, stopped and started again at work: jobs go on, and no curve point is lost or repeated."""

import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.integration.distill.conftest import WORKER, Start
from tests.integration.distill.killing import kill_worker, workers
from tests.integration.distill.postgres import running_postgres
from tests.integration.distill.requests import create, finished, get, job_spec, until_step, watch
from tests.integration.distill.server_process import server_process
from tests.integration.distill.test_supervision import assert_whole_curve

from seodang.api.distill.v1 import job_pb2
from seodang.base.errors import Unavailable
from seodang.client import AsyncClient
from seodang.distill.clock import utc_now
from seodang.distill.database.unit_of_work import open_database
from seodang.distill.jobs.domain import new_job
from seodang.distill.settings import DistillSettings
from seodang.distillation import encode_spec, read_spec, spec_from_proto
from seodang.distillation.folder import JobFolder, write_whole


async def no_workers(state_dir: Path) -> None:
    deadline_s = time.monotonic() + 10
    while workers(state_dir):
        assert time.monotonic() < deadline_s, workers(state_dir)
        await asyncio.sleep(0.02)


async def test_a_job_outlives_servers_and_workers_that_are_killed(
    settings: DistillSettings, database_url: str, tmp_path: Path
) -> None:
    settings = settings.model_copy(update={"database_url": database_url})
    async with server_process(settings, tmp_path) as server, AsyncClient(server.address) as client:
        spec = job_spec(steps=60, labels={"hangs-at": "8 25 44"}, gate=job_pb2.Gate(promote_to="production"))
        made = await create(client, spec)
        waiting = await create(client, job_spec())
        await until_step(client, made.name, 8)
        assert await server.end(signal.SIGKILL) == -signal.SIGKILL
        # Its worker does not outlive it.
        await no_workers(settings.state_dir)
        await server.start()
        await until_step(client, made.name, 25)
        kill_worker(settings.state_dir, made.name)
        await until_step(client, made.name, 44)
        await server.end(signal.SIGKILL)
        await server.start()
        jobs, points = await watch(client, made.name)
        assert (jobs[-1].state, jobs[-1].attempts) == (job_pb2.JOB_STATE_SUCCEEDED, 4)
        assert_whole_curve(points, 60)
        # The one that waited is not forgotten either.
        assert (await finished(client, waiting.name)).result.version == "models/robot/versions/2"


async def test_a_server_that_is_told_to_stop_lets_watchers_go_and_leaves_the_job_to_the_next(
    settings: DistillSettings, tmp_path: Path
) -> None:
    async with server_process(settings, tmp_path) as server, AsyncClient(server.address) as client:
        made = await create(client, job_spec(steps=40, labels={"hangs-at": "12"}))
        await until_step(client, made.name, 12)
        watching = asyncio.create_task(watch(client, made.name))
        await asyncio.sleep(0)
        began_s = time.monotonic()
        assert await server.end(signal.SIGTERM) == 0
        assert time.monotonic() - began_s < 2 * settings.grace_s + 5
        with pytest.raises(Unavailable):
            await watching
        await no_workers(settings.state_dir)
        await server.start()
        jobs, points = await watch(client, made.name)
        assert (jobs[-1].state, jobs[-1].attempts) == (job_pb2.JOB_STATE_SUCCEEDED, 2)
        assert_whole_curve(points, 40)


async def test_a_job_follows_the_own_teacher_of_its_server_to_another_address(
    settings: DistillSettings, tmp_path: Path
) -> None:
    async with server_process(settings, tmp_path) as server, AsyncClient(server.address) as client:
        made = await create(client, job_spec(steps=40, labels={"hangs-at": "12"}))
        await until_step(client, made.name, 12)
        await server.end(signal.SIGKILL)
        await no_workers(settings.state_dir)
    moved = settings.model_copy(update={"teacher_address": "127.0.0.1:9"})
    async with server_process(moved, tmp_path) as server, AsyncClient(server.address) as client:
        assert (await finished(client, made.name)).state == job_pb2.JOB_STATE_SUCCEEDED
    (spec,) = [read_spec(path) for path in settings.state_dir.glob("jobs/*/job.json")]
    assert [teacher.address for teacher in spec.teachers] == ["127.0.0.1:9"]


async def test_a_job_that_was_done_when_the_server_died_is_only_published(
    settings: DistillSettings, start: Start, database_url: str
) -> None:
    job = new_job("00000000-0000-0000-0000-000000000001", job_spec(), utc_now()).claimed(utc_now()).started(utc_now())
    async with open_database(database_url) as database, database.write() as work:
        await work.jobs.add(job)
        await work.commit()
    folder = JobFolder(settings.state_dir / "jobs" / job.id)
    write_whole(folder.spec, encode_spec(spec_from_proto(job.spec, settings.teacher_address)))
    subprocess.run([sys.executable, WORKER, folder.root], check=True)
    client = await start(database_url=database_url)
    jobs, points = await watch(client, job.name)
    assert (jobs[-1].state, jobs[-1].attempts) == (job_pb2.JOB_STATE_SUCCEEDED, 1)
    assert_whole_curve(points, 20)


async def test_a_job_that_was_being_cancelled_when_the_server_died_is_cancelled(
    start: Start, database_url: str
) -> None:
    job = new_job("00000000-0000-0000-0000-000000000001", job_spec(), utc_now()).claimed(utc_now())
    async with open_database(database_url) as database, database.write() as work:
        await work.jobs.add(job.asked_to_stop(utc_now()))
        await work.commit()
    client = await start(database_url=database_url)
    assert (await finished(client, job.name)).state == job_pb2.JOB_STATE_CANCELLED
    assert (await get(client, job.name)).attempts == 0


def test_an_unknown_word_on_the_command_line_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "seodang.distill", "serve"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "usage: python -m seodang.distill" in done.stderr


def test_the_migrations_can_be_run_alone(database_url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "seodang.distill", "migrate"],
        env={"SEODANG_DISTILL_DATABASE_URL": database_url}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "the database is at revision r0002\n"), done.stderr


async def test_a_job_goes_on_through_a_crash_of_its_database(settings: DistillSettings, start: Start) -> None:
    with running_postgres() as server:
        client = await start(database_url=server.new_schema())
        made = await create(client, job_spec(steps=30, labels={"hangs-at": "15"}))
        await until_step(client, made.name, 15)
        server.stop()
        with pytest.raises(Unavailable, match="the database does not answer"):
            await get(client, made.name)
        # The worker does not need the database: it dies and comes back all the same.
        kill_worker(settings.state_dir, made.name)
        server.start()
        jobs, points = await watch(client, made.name)
        assert jobs[-1].state == job_pb2.JOB_STATE_SUCCEEDED
        assert_whole_curve(points, 30)
