"""Any one service of a running mesh is killed: the others do not notice, and it comes back alone."""

import asyncio
import json
from pathlib import Path

import httpx
import pytest
from tests.e2e.mesh.up import PATIENCE_S, Up
from tests.integration.distill.requests import create, until_step, watch
from tests.serving import wait_for

from seodang.api.distill.v1 import job_pb2
from seodang.api.inference.v1 import generate_pb2
from seodang.cli.members import MEMBERS, Member
from seodang.cli.probe import is_ready
from seodang.client import AsyncClient, Client, chat, complete

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def _settled(up: Up) -> bool:
    """Whether the gateway, too, has found its servers again: it tries for a moment longer than they take to come."""
    answer = httpx.get(f"http://{up.address('gateway')}/readyz", timeout=30).json()
    return set(answer["servers"].values()) == {"serving"}


async def _healthy(up: Up, members: list[Member]) -> list[str]:
    ready = await asyncio.gather(*(is_ready(each.probe, up.address(each.name), timeout_s=30) for each in members))
    return [member.name for member, serves in zip(members, ready, strict=True) if serves]


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.name)
async def test_a_killed_service_leaves_the_others_healthy_and_comes_back_alone(up: Up, member: Member) -> None:
    others = [each for each in MEMBERS if each is not member]
    wait_for(lambda: _settled(up), "the mesh to settle", timeout_s=PATIENCE_S)
    before = up.pids()
    assert set(before) == {each.name for each in MEMBERS}
    up.kill(member.name)
    assert await _healthy(up, others) == [each.name for each in others]
    wait_for(lambda: up.is_back(member.name), f"{member.name} to come back", timeout_s=PATIENCE_S)
    assert await _healthy(up, list(MEMBERS)) == [each.name for each in MEMBERS]
    after = up.pids()
    assert [name for name in before if before[name] != after[name]] == [member.name]


def test_a_teacher_and_a_student_that_came_back_answer(up: Up) -> None:
    for name in ("teacher", "student"):
        request = generate_pb2.GenerateRequest(model="models/tiny", prompt=chat([("user", "안녕")]), max_new_tokens=4)
        with Client(up.address(name)) as client:
            assert complete(client, request).usage.completion_tokens == 4


async def test_a_job_whose_server_is_killed_is_finished_when_it_comes_back(up: Up, data: Path) -> None:
    lines = [{"messages": [{"role": "user", "content": f"{n} + 1"}], "answer": str(n + 1)} for n in range(40)]
    (data / "sums.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    spec = job_pb2.JobSpec(
        student="sums",
        teachers=[job_pb2.Teacher(model="models/tiny")],
        data=job_pb2.DataSpec(file="sums.jsonl", license="CC0-1.0", eval_examples=2),
        shape=job_pb2.StudentShape(dense=job_pb2.DenseShape(hidden_size=32, layers=1, heads=2, kv_heads=1)),
        budget=job_pb2.Budget(steps=200, tokens_per_step=64, checkpoint_steps=10),
        gate=job_pb2.Gate(max_parameter_share=1.0),
    )
    async with AsyncClient(up.address("distill")) as client:
        made = await create(client, spec)
        await until_step(client, made.name, 10, timeout_s=PATIENCE_S)
        up.kill("distill")
        wait_for(lambda: up.is_back("distill"), "distill to come back", timeout_s=PATIENCE_S)
        jobs, points = await watch(client, made.name, timeout_s=PATIENCE_S)
    assert (jobs[-1].state, jobs[-1].attempts) == (job_pb2.JOB_STATE_SUCCEEDED, 2), jobs[-1]
    steps = [point.step for point in points]
    assert steps == sorted(set(steps))
    assert steps[-1] == 200


def test_no_line_of_grpc_itself_is_in_any_log(up: Up) -> None:
    logs = {path.name: path.read_text() for path in [up.folder / "up.log", *(up.folder / "logs").glob("*.log")]}
    assert set(logs) == {"up.log", *(f"{member.name}.log" for member in MEMBERS)}
    assert [line for text in logs.values() for line in text.splitlines() if ".cc:" in line] == []
