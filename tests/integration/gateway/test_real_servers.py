"""The same door in front of a real teacher and a real student: real tokens, real slots, real queues."""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest
from openai import AsyncOpenAI, RateLimitError
from tests.serving import Serving

from seodang.api.inference.v1 import inference_pb2
from seodang.client import AsyncClient, chat, complete_async
from seodang.gateway import GatewaySettings, Upstreams, create_app
from seodang.gateway.openai.chat_body import ChatBody
from seodang.gateway.server import http_server

pytestmark = pytest.mark.slow

TALK: list[Any] = [{"role": "user", "content": "거실 불을 켜 줘"}]
GREEDY: dict[str, Any] = {"model": "tiny", "messages": TALK, "temperature": 0, "max_tokens": 24}


@pytest.fixture
async def openai(teacher: Serving, student: Serving) -> AsyncIterator[AsyncOpenAI]:
    settings = GatewaySettings(port=0, grace_s=1, teacher_address=teacher.address, student_address=student.address)
    async with AsyncExitStack() as stack:
        upstreams = await stack.enter_async_context(Upstreams(settings))
        address = await stack.enter_async_context(http_server(create_app(settings, upstreams), settings))
        client = AsyncOpenAI(base_url=f"http://{address}/v1", api_key="none", max_retries=0)
        yield await stack.enter_async_context(client)


@pytest.fixture
async def mesh_client(teacher: Serving) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(teacher.address) as client:
        yield client


async def _running(client: AsyncClient) -> int:
    model = (await client.inference.GetModel(inference_pb2.GetModelRequest(name="models/tiny"), timeout=30)).model
    return model.running_requests + model.waiting_requests


async def _until_running(client: AsyncClient, holds: Callable[[int], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds(await _running(client)):
            await asyncio.sleep(0.02)


async def test_the_door_changes_no_token(openai: AsyncOpenAI, mesh_client: AsyncClient) -> None:
    request = ChatBody.model_validate(GREEDY).request("direct")
    direct = await complete_async(mesh_client, request)
    assert request.prompt == chat([("user", "거실 불을 켜 줘")])
    reply = await openai.chat.completions.create(**GREEDY)
    assert reply.choices[0].message.content == direct.text
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (
        direct.usage.prompt_tokens, direct.usage.completion_tokens,
    )  # fmt: skip


async def test_chunks_joined_are_the_whole_answer(openai: AsyncOpenAI) -> None:
    whole = await openai.chat.completions.create(**GREEDY)
    stream = await openai.chat.completions.create(**GREEDY, stream=True)
    joined = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert joined == whole.choices[0].message.content


async def test_the_bytes_of_all_tokens_are_the_text(openai: AsyncOpenAI) -> None:
    reply = await openai.chat.completions.create(**GREEDY, logprobs=True, top_logprobs=2)
    assert reply.choices[0].logprobs is not None
    entries = reply.choices[0].logprobs.content or []
    assert len(entries) == 24
    written = b"".join(bytes(entry.bytes or []) for entry in entries)
    assert written.decode(errors="replace") == reply.choices[0].message.content
    assert all(len(entry.top_logprobs) == 2 and entry.logprob <= 0 for entry in entries)


async def test_a_schema_is_followed_even_by_a_model_that_knows_nothing(openai: AsyncOpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"on": {"type": "boolean"}, "room": {"enum": ["거실", "부엌"]}},
        "required": ["on", "room"],
        "additionalProperties": False,
    }
    shape: Any = {"type": "json_schema", "json_schema": {"name": "light", "schema": schema}}
    reply = await openai.chat.completions.create(**(GREEDY | {"max_tokens": 120}), response_format=shape)
    answer = json.loads(reply.choices[0].message.content or "")
    assert isinstance(answer["on"], bool)
    assert answer["room"] in ("거실", "부엌")


async def test_a_required_tool_is_called_even_by_a_model_that_knows_nothing(openai: AsyncOpenAI) -> None:
    parameters = {
        "type": "object",
        "properties": {"room": {"enum": ["거실"]}},
        "required": ["room"],
        "additionalProperties": False,
    }
    tool: Any = {"type": "function", "function": {"name": "turn_on", "parameters": parameters}}
    reply = await openai.chat.completions.create(**(GREEDY | {"max_tokens": 200}), tools=[tool], tool_choice="required")
    (call,) = reply.choices[0].message.tool_calls or ()
    assert (call.function.name, json.loads(call.function.arguments)) == ("turn_on", {"room": "거실"})


async def test_embeddings_have_length_one(openai: AsyncOpenAI) -> None:
    reply = await openai.embeddings.create(model="llama", input=["안녕", "hello there"])
    assert [math.hypot(*entry.embedding) for entry in reply.data] == pytest.approx([1, 1], abs=1e-4)


async def test_a_streaming_client_that_leaves_frees_its_slot(openai: AsyncOpenAI, mesh_client: AsyncClient) -> None:
    endless: dict[str, Any] = GREEDY | {"max_tokens": 3000}
    stream = await openai.chat.completions.create(**endless, stream=True, extra_body={"ignore_eos": True})
    await anext(aiter(stream))
    await _until_running(mesh_client, lambda running: running == 1)
    await stream.close()
    await _until_running(mesh_client, lambda running: running == 0)


async def test_a_waiting_client_that_leaves_frees_its_slot(openai: AsyncOpenAI, mesh_client: AsyncClient) -> None:
    endless: dict[str, Any] = GREEDY | {"max_tokens": 3000}
    work = asyncio.create_task(openai.chat.completions.create(**endless, extra_body={"ignore_eos": True}))
    await _until_running(mesh_client, lambda running: running == 1)
    work.cancel()
    with suppress(asyncio.CancelledError):
        await work
    await _until_running(mesh_client, lambda running: running == 0)


async def test_a_full_queue_is_429_with_a_time_to_try_again(openai: AsyncOpenAI, mesh_client: AsyncClient) -> None:
    endless: dict[str, Any] = GREEDY | {"max_tokens": 3000, "extra_body": {"ignore_eos": True}}
    works = [asyncio.create_task(openai.chat.completions.create(**endless)) for _ in range(8)]  # 2 slots, 4 places
    done, waiting = await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
    for work in waiting:
        work.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    refusal = done.pop().exception()
    assert isinstance(refusal, RateLimitError)
    assert int(refusal.response.headers["retry-after"]) >= 1
    await _until_running(mesh_client, lambda running: running == 0)
