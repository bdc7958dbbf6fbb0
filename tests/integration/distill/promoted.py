"""The real student server asked for what a job has promoted."""

from pathlib import Path

from tests.serving import start_server

from seodang.api.inference.v1 import generate_pb2, inference_pb2, model_pb2
from seodang.client import AsyncClient, chat, complete_async


async def ask_promoted(alias: str, registry_address: str, folder: Path) -> model_pb2.Model:
    """Who has answered a question to an alias, such as ``models/sums@production``, on a server with an empty folder."""
    (folder / "no-students").mkdir()
    with start_server(
        "student", folder / "student", registry_address=registry_address, model_roots=folder / "no-students",
        state_dir=folder / "student" / "state", cache_bytes=8 * 2**20,
    ) as student:  # fmt: skip
        async with AsyncClient(student.address) as client:
            request = generate_pb2.GenerateRequest(model=alias, prompt=chat([("user", "1 + 1")]), max_new_tokens=4)
            answer = await complete_async(client, request)
            return (await client.inference.GetModel(inference_pb2.GetModelRequest(name=answer.model))).model
