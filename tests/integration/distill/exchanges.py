"""Exchanges that tests capture, and how they are captured, frozen and looked for."""

import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from seodang.api.capture.v1 import capture_pb2 as pb
from seodang.api.inference.v1 import chat_pb2
from seodang.client import AsyncClient

CONSENT = "privacy notice of 2026-03, section 4"


def exchange(request_id: str, text: str = "안녕?", answer: str = "반가워요.", **fields: Any) -> pb.Interaction:
    """One of tenant ``shop``, who agreed to it."""
    prompt = chat_pb2.ChatPrompt(
        messages=[
            chat_pb2.Message(role=chat_pb2.ROLE_SYSTEM, content="chat: ko"),
            chat_pb2.Message(role=chat_pb2.ROLE_USER, content=text),
        ]
    )
    given: dict[str, Any] = {
        "tenant": "shop",
        "subject": "user-1",
        "dataset": "datasets/chat",
        "prompt": prompt,
        "answer": answer,
        "model": "models/chat/versions/2",
        "consented": True,
    }
    return pb.Interaction(request_id=request_id, **given | fields)


async def allow(client: AsyncClient, tenant: str = "shop", **fields: Any) -> None:
    """Sets a policy that keeps everything."""
    given = {"enabled": True, "sample_rate": 1.0, "retention_days": 30, "consent": CONSENT}
    policy = pb.Policy(tenant=tenant, **given | fields)
    await client.capture.SetPolicy(pb.SetPolicyRequest(policy=policy))


async def append(client: AsyncClient, *every: pb.Interaction) -> pb.AppendInteractionsResponse:
    requests = [pb.AppendInteractionsRequest(interaction=each) for each in every]
    return await client.capture.AppendInteractions(iter(requests), timeout=20)


async def freeze(client: AsyncClient, dataset: str = "datasets/chat", request_id: str = "") -> pb.DatasetVersion:
    request = pb.CreateDatasetVersionRequest(dataset=dataset, request_id=request_id)
    return (await client.capture.CreateDatasetVersion(request)).version


async def erase(client: AsyncClient, subject: str, **fields: Any) -> pb.EraseSubjectResponse:
    return await client.capture.EraseSubject(pb.EraseSubjectRequest(tenant="shop", subject=subject, **fields))


async def versions(client: AsyncClient, dataset: str = "") -> list[pb.DatasetVersion]:
    return list((await client.capture.ListDatasetVersions(pb.ListDatasetVersionsRequest(dataset=dataset))).versions)


def prompts_of(state_dir: Path, version: pb.DatasetVersion) -> list[dict[str, Any]]:
    """What a worker would read."""
    _, dataset, _, number = version.name.split("/")
    text = (state_dir / "datasets" / dataset / number / "prompts.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def found_on_disk(folder: Path, words: Iterable[str]) -> dict[str, list[str]]:
    """The files below a folder in which a word stands, by word, whatever kind of files they are."""
    contents = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    found = {
        word: [path.relative_to(folder).as_posix() for path, content in contents.items() if word.encode() in content]
        for word in words
    }
    return {word: paths for word, paths in found.items() if paths}


def days_ago(now: datetime, days: float) -> Timestamp:
    moment = Timestamp()
    moment.FromDatetime(now - timedelta(days=days))
    return moment
