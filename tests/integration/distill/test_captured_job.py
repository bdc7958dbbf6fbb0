"""One turn of the wheel, nothing replaced: captured exchanges are frozen, and a student is distilled from them."""

import shutil
import sys
from pathlib import Path

import msgspec
import pytest
from tests.integration.distill.exchanges import CONSENT, allow, append, exchange, freeze
from tests.integration.distill.requests import create, watch
from tests.integration.distill.server_process import server_process
from tests.serving import Serving

from seodang.api.distill.v1 import job_pb2
from seodang.api.inference.v1 import generate_pb2
from seodang.api.registry.v1 import registry_pb2
from seodang.client import AsyncClient, chat, complete_async
from seodang.distill.settings import DistillSettings
from seodang.distillation.data import frozen
from seodang.provenance import Outcome, check_student


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_student_learns_what_the_teacher_says_to_captured_prompts(teacher: Serving, tmp_path: Path) -> None:
    settings = DistillSettings(
        state_dir=tmp_path / "state", teacher_address=teacher.address,
        worker_command=(sys.executable, "-m", "seodang.distillation"),
    )  # fmt: skip
    async with server_process(settings, tmp_path) as server, AsyncClient(server.address) as client:
        await allow(client)
        said = [exchange(str(n), f"{n} + 1? 010-1234-{5000 + n}", f"the student said {n}") for n in range(14)]
        await append(client, *said)
        version = await freeze(client)
        made = await create(client, spec(version.name))
        jobs, _ = await watch(client, made.name, timeout_s=400)
        assert jobs[-1].state == job_pb2.JOB_STATE_SUCCEEDED, jobs[-1]
        request = registry_pb2.GetLineageRequest(version=jobs[-1].result.version)
        nodes = (await client.registry.GetLineage(request)).nodes
        (data,) = [node for node in nodes if node.kind == registry_pb2.LineageNode.KIND_DATA]
        assert data.id.startswith(f"{version.name}#")
        assert data.facts["license"] == "LicenseRef-Consented-Traffic"
    folder = settings.state_dir / "jobs" / made.name.removeprefix("jobs/")
    await check_answers(teacher, folder)
    (published,) = (settings.state_dir / "registry").iterdir()
    student = tmp_path / "chat"
    shutil.copytree(published, student)
    card = (student / "README.md").read_text()
    for line in (f"Source: {version.name}", f"Consent: {CONSENT}", "14 different prompts", "14 PHONE", version.sha256):
        assert line in card
    assert [check for check in check_student(student) if check.outcome is Outcome.FAILS] == []


def spec(version: str) -> job_pb2.JobSpec:
    return job_pb2.JobSpec(
        student="chat",
        teachers=[job_pb2.Teacher(model="models/tiny")],
        data=job_pb2.DataSpec(dataset_version=version, eval_examples=3),
        shape=job_pb2.StudentShape(dense=job_pb2.DenseShape(hidden_size=32, layers=1, heads=2, kv_heads=1)),
        budget=job_pb2.Budget(steps=4, tokens_per_step=64),
        gate=job_pb2.Gate(max_parameter_share=1.0),
    )


async def check_answers(teacher: Serving, job: Path) -> None:
    """What the job took for right is what the teacher says."""
    manifest = msgspec.json.decode((job / "data" / "manifest.json").read_bytes(), type=frozen.DataManifest)
    examples = frozen.open_frozen(job / "data", manifest.tokenizer_sha256).examples["eval"]
    async with AsyncClient(teacher.address) as client:
        for example in examples:
            request = generate_pb2.GenerateRequest(
                model="models/tiny",
                prompt=chat((turn.role.value, turn.content) for turn in example.messages),
                sampling=generate_pb2.Sampling(temperature=0),
                max_new_tokens=512,
            )
            assert (await complete_async(client, request)).text == example.answer
            assert "[PHONE]" in example.messages[-1].content
