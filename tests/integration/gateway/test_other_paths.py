"""Models, text completions, embeddings, probes, metrics and webhooks."""

import base64
import struct
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI, BadRequestError, NotFoundError

from seodang.api.messaging.v1 import messaging_pb2


async def test_the_models_of_both_servers_are_one_list(openai: AsyncOpenAI) -> None:
    models = (await openai.models.list()).data
    assert [model.id for model in models] == ["assistant", "robot", "teacher-mini"]
    assert [model.to_dict()["server"] for model in models] == ["student", "student", "teacher"]


@pytest.mark.parametrize("name", ["teacher-mini", "models/teacher-mini"])
async def test_a_model_is_found_by_either_name(openai: AsyncOpenAI, name: str) -> None:
    model = await openai.models.retrieve(name)
    assert model.id == "teacher-mini"
    assert model.to_dict()["context_tokens"] == 2048


async def test_a_model_that_is_not_there_is_not_found(openai: AsyncOpenAI) -> None:
    with pytest.raises(NotFoundError, match="no model 'x'"):
        await openai.models.retrieve("x")


async def test_a_list_without_the_server_that_is_down_says_so(mesh: Any, http: httpx.AsyncClient) -> None:
    await mesh.servers["teacher"]._server.stop(0)
    reply = await http.get("/v1/models")
    assert [model["id"] for model in reply.json()["data"]] == ["assistant", "robot"]
    assert "teacher server at" in reply.headers["x-seodang-incomplete"]


async def test_text_is_continued(mesh: Any, openai: AsyncOpenAI) -> None:
    reply = await openai.completions.create(model="teacher-mini", prompt="안", max_tokens=3, temperature=0)
    assert (reply.choices[0].text, reply.choices[0].finish_reason) == ("안녕 from the", "length")
    assert mesh.teacher.requests[-1].prompt.text == "안"
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 3


async def test_text_is_continued_in_chunks(openai: AsyncOpenAI) -> None:
    stream = await openai.completions.create(
        model="teacher-mini", prompt="안", stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].text for chunk in chunks[:-1]) == "안녕 from the mesh"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage is not None


async def test_token_ids_are_a_prompt_too(mesh: Any, openai: AsyncOpenAI) -> None:
    await openai.completions.create(model="teacher-mini", prompt=[5, 6, 7])
    assert list(mesh.teacher.requests[-1].prompt.token_ids.ids) == [5, 6, 7]


async def test_text_logprobs_are_parallel_lists(openai: AsyncOpenAI) -> None:
    reply = await openai.completions.create(model="teacher-mini", prompt="안", logprobs=1, max_tokens=3)
    logprobs = reply.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.tokens == ["안녕", " from", " the"]
    assert logprobs.token_logprobs == [-0.5, -1.0, -1.5]
    assert logprobs.top_logprobs == [{"alt0": -1.0}] * 3
    assert logprobs.text_offset == [0, 2, 7]


@pytest.mark.parametrize(
    "extra", [{"prompt": ["a", "b"]}, {"prompt": []}, {"prompt": "a", "echo": True}, {"prompt": "a", "best_of": 3}]
)
async def test_what_text_completion_cannot_do_is_refused(openai: AsyncOpenAI, extra: Any) -> None:
    with pytest.raises(BadRequestError):
        await openai.completions.create(model="teacher-mini", **extra)


async def test_embeddings_are_the_servers_vectors(openai: AsyncOpenAI) -> None:
    reply = await openai.embeddings.create(model="assistant", input=["abc", "abcd"])
    assert [entry.index for entry in reply.data] == [0, 1]
    assert reply.data[1].embedding == pytest.approx([4 / 17**0.5, 1 / 17**0.5])
    assert reply.usage.prompt_tokens == 6


async def test_both_encodings_of_an_embedding_are_equal(http: httpx.AsyncClient) -> None:
    body = {"model": "assistant", "input": "abc"}
    plain = (await http.post("/v1/embeddings", json=body)).json()["data"][0]["embedding"]
    packed = (await http.post("/v1/embeddings", json=body | {"encoding_format": "base64"})).json()["data"][0][
        "embedding"
    ]
    assert list(struct.unpack("<2f", base64.b64decode(packed))) == plain


@pytest.mark.parametrize("given", [[], [1, 2], [[1, 2]], None, ["a", 3]], ids=str)
async def test_what_is_no_text_is_not_embedded(http: httpx.AsyncClient, given: Any) -> None:
    reply = await http.post("/v1/embeddings", json={"model": "assistant", "input": given})
    assert reply.status_code == 400


async def test_ready_as_long_as_one_server_serves(mesh: Any, http: httpx.AsyncClient) -> None:
    await mesh.servers["teacher"]._server.stop(0)
    reply = await http.get("/readyz")
    assert (reply.status_code, reply.json()["servers"]) == (200, {"teacher": "down", "student": "serving"})


async def test_not_ready_when_no_server_serves(mesh: Any, http: httpx.AsyncClient) -> None:
    await mesh.servers["teacher"]._server.stop(0)
    await mesh.servers["student"].set_ready(False)
    reply = await http.get("/readyz")
    assert (reply.status_code, reply.json()["servers"]) == (503, {"teacher": "down", "student": "not_serving"})


async def test_alive_even_when_nothing_is_behind(mesh: Any, http: httpx.AsyncClient) -> None:
    await mesh.servers["teacher"]._server.stop(0)
    await mesh.servers["student"]._server.stop(0)
    assert (await http.get("/healthz")).status_code == 200


async def test_requests_tokens_and_latency_are_counted(openai: AsyncOpenAI, http: httpx.AsyncClient) -> None:
    await openai.completions.create(model="teacher-mini", prompt="안")
    await http.get("/v1/models/none")
    text = (await http.get("/metrics")).text
    assert 'seodang_gateway_requests_total{route="/v1/completions",status="200"} 1.0' in text
    assert 'seodang_gateway_requests_total{route="/v1/models/{model:path}",status="404"} 1.0' in text
    assert 'seodang_gateway_tokens_total{kind="completion",model="models/teacher-mini"} 4.0' in text
    assert 'seodang_gateway_first_token_seconds_count{model="models/teacher-mini"} 1.0' in text


@pytest.mark.parametrize(
    ("path", "platform"),
    [("/webhooks/slack", messaging_pb2.PLATFORM_SLACK), ("/webhooks/kakao", messaging_pb2.PLATFORM_KAKAO)],
)
async def test_a_webhook_arrives_byte_for_byte(mesh: Any, http: httpx.AsyncClient, path: str, platform: int) -> None:
    mesh.messaging.answer = messaging_pb2.DeliverEventResponse(
        status=202, content_type="text/plain; charset=utf-8", body="받음".encode()
    )
    body = b'{"a":  1}\r\n\xff'
    headers = [("X-Slack-Signature", "v0=abc"), ("Content-Type", "application/json"), ("X-Two", "1"), ("X-Two", "2")]
    reply = await http.post(path, content=body, headers=headers)
    (event,) = mesh.messaging.events
    assert (event.platform, event.body) == (platform, body)
    assert event.headers["x-slack-signature"] == "v0=abc"
    assert event.headers["x-two"] == "1, 2"
    assert (reply.status_code, reply.content) == (202, "받음".encode())
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"


async def test_a_webhook_that_is_refused_keeps_the_messengers_status(mesh: Any, http: httpx.AsyncClient) -> None:
    mesh.messaging.answer = messaging_pb2.DeliverEventResponse(status=401, body=b"bad signature")
    assert (await http.post("/webhooks/slack", content=b"{}")).status_code == 401


async def test_a_webhook_that_is_too_large_is_refused(mesh: Any, http: httpx.AsyncClient) -> None:
    assert (await http.post("/webhooks/kakao", content=b"x" * (2**20 + 1))).status_code == 413
    assert mesh.messaging.events == []


async def test_a_webhook_while_the_messaging_server_is_down_is_503(mesh: Any) -> None:
    url = await mesh.start(webhook_timeout_s=1.0)
    await mesh.servers["messaging"]._server.stop(0)
    async with httpx.AsyncClient() as client:
        reply = await client.post(f"{url}/webhooks/slack", content=b"{}")
    assert reply.status_code in (503, 504)
    assert reply.json()["error"]["message"]


async def test_an_answer_without_a_status_is_a_fault_and_not_a_reply(mesh: Any, http: httpx.AsyncClient) -> None:
    mesh.messaging.answer = messaging_pb2.DeliverEventResponse()
    assert (await http.post("/webhooks/slack", content=b"{}")).status_code == 500
