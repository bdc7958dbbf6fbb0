"""One turn of the wheel: what people write to a student becomes prompts that the next student's job can name."""

import asyncio
import time
import uuid
from typing import Final

from seodang.api.capture.v1 import capture_pb2
from seodang.api.distill.v1 import distill_pb2, job_pb2
from seodang.cli.demo.errand import Errand
from seodang.cli.demo.messaging import ask_messaging
from seodang.cli.prompts import pieces
from seodang.client import AsyncClient

TENANT: Final = "demo"
DATASET: Final = "datasets/messaging"
CONSENT: Final = "nobody but this demo wrote them"
WRITTEN: Final = (
    "오늘 점심 뭐 먹지?",
    "제 번호는 010-1234-5678이에요",
    "내일 비 온대",
    "메일은 hong@example.com으로 보내 줘",
    "너무 심심해",
    "시험 잘 봤어!",
    "잠이 안 와",
    "고마워",
)
_SETTLE_S: Final = 0.3
_ATTEMPTS: Final = 20


async def allow_capture(distill: AsyncClient) -> None:
    """Keeps what the demo itself writes, for a day."""
    policy = capture_pb2.Policy(tenant=TENANT, enabled=True, sample_rate=1, retention_days=1, consent=CONSENT)
    await distill.capture.SetPolicy(capture_pb2.SetPolicyRequest(policy=policy))


async def turn_wheel(
    distill: AsyncClient, messaging: AsyncClient, model: str, token: str, spec: job_pb2.JobSpec
) -> Errand:
    """Messages are answered, kept and frozen, and the server is asked whether a job like ``spec`` could learn them."""
    began_s = time.monotonic()
    await allow_capture(distill)
    for text in WRITTEN:
        await ask_messaging(messaging, model, text, token)
    version = await _frozen(distill)
    job = job_pb2.JobSpec()
    job.CopyFrom(spec)
    job.data.CopyFrom(job_pb2.DataSpec(dataset_version=version.name))
    # It raises what is wrong with the job.
    await distill.distillation.CreateJob(
        distill_pb2.CreateJobRequest(request_id=str(uuid.uuid4()), spec=job, validate_only=True)
    )
    return Errand(
        adapter="capture",
        model=model,
        asked=f"{len(WRITTEN)} messages, two with personal data",
        answered=f"{version.name}: {version.prompts} prompts, personal data replaced: {pieces(version)}",
        worked=version.prompts == len(WRITTEN),
        seconds=time.monotonic() - began_s,
        detail=f"accepted as the data of a job · sha256 {version.sha256[:12]} · {version.license}",
    )


async def _frozen(distill: AsyncClient) -> capture_pb2.DatasetVersion:
    """Answers go out before exchanges are kept, so the last of them may be a moment behind."""
    request = capture_pb2.CreateDatasetVersionRequest(dataset=DATASET)
    for _ in range(_ATTEMPTS):
        await asyncio.sleep(_SETTLE_S)
        version = (await distill.capture.CreateDatasetVersion(request)).version
        if version.prompts == len(WRITTEN):
            break
    return version
