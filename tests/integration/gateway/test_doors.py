"""Bad input at every door: the right status, in OpenAI's form, with a message to act on."""

import json
import time
from typing import Any

import httpx
import pytest

from seodang.base import errors
from seodang.rpc import MeshServer, ServerConfig

CHAT = "/v1/chat/completions"
GOOD: dict[str, Any] = {"model": "teacher-mini", "messages": [{"role": "user", "content": "hi"}]}


def _error(reply: httpx.Response) -> dict[str, Any]:
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return dict(error)


@pytest.mark.parametrize(
    ("change", "param", "says"),
    [
        ({"frequencypenalty": 1}, "frequencypenalty", "not supported"),
        ({"messages": [{"role": "user", "content": "x", "mood": "sad"}]}, "mood", "not supported"),
        ({"messages": []}, "messages", "at least 1"),
        ({"messages": "hi"}, "messages", "list"),
        ({"messages": [{"role": "owner", "content": "x"}]}, "role", "'system'"),
        ({"messages": [{"role": "user"}]}, "messages", "neither content nor tool_calls"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, None, "'text'"),
        ({"temperature": "warm"}, "temperature", "number"),
        ({"temperature": "0.5"}, "temperature", "number"),
        ({"max_tokens": 0}, "max_tokens", "greater than or equal to 1"),
        ({"max_tokens": 2**40}, "max_tokens", "less than or equal"),
        ({"max_tokens": 3, "max_completion_tokens": 4}, "max_tokens", "differ"),
        ({"n": 2}, "n", "1"),
        ({"seed": 2**70}, "seed", "less than or equal"),
        ({"top_logprobs": 2}, "top_logprobs", "logprobs=true"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "20"),
        ({"logit_bias": {"cat": 1}}, "logit_bias", "token id"),
        ({"logit_bias": {"²": 1}}, "logit_bias", "token id"),
        ({"logit_bias": {"99999999999": 1}}, "logit_bias", "token id"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "stream=true"),
        ({"response_format": {"type": "json_schema"}}, "response_format", "json_schema"),
        ({"response_format": {"type": "yaml"}}, "type", "json_object"),
        ({"tool_choice": "required"}, "tool_choice", "requires a call"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "name", "pattern"),
        ({"model": ""}, "model", "at least 1"),
        ({"audio": {"voice": "x"}}, "audio", "not supported"),
        ({"modalities": ["audio"]}, "0", "'text'"),
    ],
    ids=lambda value: json.dumps(value)[:40] if isinstance(value, dict) else "",
)
async def test_a_bad_field_is_named(
    http: httpx.AsyncClient, change: dict[str, Any], param: str | None, says: str
) -> None:
    reply = await http.post(CHAT, json=GOOD | change)
    error = _error(reply)
    assert reply.status_code == 400
    assert error["type"] == "invalid_request_error"
    assert says in error["message"]
    assert param in (None, error["param"])


@pytest.mark.parametrize(
    "field",
    [
        "user",
        "metadata",
        "service_tier",
        "parallel_tool_calls",
        "prediction",
        "safety_identifier",
        "prompt_cache_key",
    ],
)
async def test_a_known_field_without_effect_is_taken(http: httpx.AsyncClient, field: str) -> None:
    assert (await http.post(CHAT, json=GOOD | {field: "x"})).status_code == 200


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "required"),
        (b"{", "not json"),
        (b"[]", "object"),
        (b'"text"', "object"),
        (b'{"a": "\xff"}', "utf-8"),
        (b"null", "object"),
        (b"[" * 100_000, "recursion"),
        (json.dumps(GOOD | {"temperature": float("nan")}).encode(), "finite"),
        (json.dumps(GOOD | {"model": "\ud800"}).encode(), "unicode"),
        (json.dumps(GOOD | {"messages": [{"role": "user", "content": "\ud800"}]}).encode(), "unicode"),
    ],
    ids=["empty", "cut", "list", "string", "not-utf8", "null", "deep", "nan", "surrogate", "surrogate-content"],
)
async def test_a_body_that_is_none_is_refused(http: httpx.AsyncClient, body: bytes, says: str) -> None:
    reply = await http.post(CHAT, content=body, headers={"content-type": "application/json"})
    assert reply.status_code == 400
    assert says in _error(reply)["message"].lower()


@pytest.mark.parametrize(
    ("path", "good"),
    [
        (CHAT, GOOD),
        ("/v1/completions", {"model": "assistant", "prompt": "안"}),
        ("/v1/embeddings", {"model": "assistant", "input": "안"}),
    ],
    ids=["chat", "completions", "embeddings"],
)
async def test_every_path_that_takes_a_body_refuses_what_is_none(
    http: httpx.AsyncClient, path: str, good: dict[str, Any]
) -> None:
    bodies = [
        (b"", 400, "required"),
        (b"{", 400, "json"),
        (b"[]", 400, "object"),
        (b'{"model": "\xff"}', 400, "utf-8"),
        (json.dumps(good | {"colour": 1}).encode(), 400, "colour: this field is not supported"),
        (json.dumps(good | {"model": 7}).encode(), 400, "model: input should be a valid string (got 7)"),
        (json.dumps(good | {"model": "gpt-17"}).encode(), 404, "get /v1/models lists"),
    ]
    for body, status, says in bodies:
        reply = await http.post(path, content=body, headers={"content-type": "application/json"})
        assert (reply.status_code, says in _error(reply)["message"].lower()) == (status, True), (body, reply.text)


@pytest.mark.parametrize("name", ["gpt-17", "../etc/passwd", "models", "%ff%fe", "a" * 5000])
async def test_a_model_that_is_none_cannot_be_retrieved(http: httpx.AsyncClient, name: str) -> None:
    reply = await http.get(f"/v1/models/{name}")
    assert reply.status_code in (400, 404)
    assert 0 < len(_error(reply)["message"]) < 1000


async def test_a_body_of_another_type_is_refused(http: httpx.AsyncClient) -> None:
    reply = await http.post(CHAT, content=json.dumps(GOOD), headers={"content-type": "text/plain"})
    assert reply.status_code == 400
    assert _error(reply)["message"]


async def test_tools_that_are_nested_too_deeply_are_refused(http: httpx.AsyncClient) -> None:
    schema: dict[str, Any] = {}
    for _ in range(60):
        schema = {"properties": {"a": schema}}
    tool = {"type": "function", "function": {"name": "deep", "parameters": schema}}
    reply = await http.post(CHAT, json=GOOD | {"tools": [tool]})
    assert reply.status_code == 400
    assert "levels deep" in _error(reply)["message"]


async def test_a_body_that_is_too_large_is_refused_by_its_announced_size(mesh: Any) -> None:
    url = await mesh.start(max_body_bytes=1000)
    async with httpx.AsyncClient() as client:
        reply = await client.post(url + CHAT, json=GOOD | {"user": "x" * 2000})
    assert reply.status_code == 413
    assert _error(reply)["code"] == "body_too_large"
    assert reply.headers["x-request-id"]


async def test_a_body_that_grows_too_large_is_refused_on_its_way(mesh: Any) -> None:
    url = await mesh.start(max_body_bytes=1000)

    async def parts() -> Any:
        for _ in range(20):
            yield b"x" * 100

    async with httpx.AsyncClient() as client:
        reply = await client.post(url + CHAT, content=parts(), headers={"content-type": "application/json"})
    assert reply.status_code == 413


async def test_an_unknown_model_is_404(http: httpx.AsyncClient) -> None:
    reply = await http.post(CHAT, json=GOOD | {"model": "gpt-17"})
    assert reply.status_code == 404
    assert _error(reply) == {
        "message": "there is no model 'gpt-17'; GET /v1/models lists those there are",
        "type": "invalid_request_error",
        "param": None,
        "code": "model_not_found",
    }


async def test_a_model_that_went_away_is_looked_for_again(mesh: Any, http: httpx.AsyncClient) -> None:
    body = GOOD | {"model": "robot"}
    assert (await http.post(CHAT, json=body)).status_code == 200
    mesh.student.names = []
    assert (await http.post(CHAT, json=body)).status_code == 404
    mesh.teacher.names = ["models/robot"]
    assert (await http.post(CHAT, json=body)).status_code == 200


@pytest.mark.parametrize(
    ("refusal", "status", "kind"),
    [
        (
            errors.InvalidInput("temperature=11: must be 0 to 10", field="sampling.temperature"),
            400,
            "invalid_request_error",
        ),
        (errors.Unsupported("this engine has no grammar", reason="NO_GRAMMAR"), 400, "invalid_request_error"),
        (errors.PermissionDenied("not yours"), 403, "permission_error"),
        (errors.AlreadyExists("request r runs already"), 409, "conflict_error"),
        (errors.Conflict("the model is unloading"), 409, "conflict_error"),
        (errors.Exhausted("the queue is full", retry_after_s=2.2), 429, "rate_limit_error"),
        (errors.Unavailable("ranks restart", retry_after_s=0.4), 503, "service_unavailable_error"),
        (errors.DeadlineExpired("too late"), 504, "timeout_error"),
        (errors.InternalFault("our bug"), 500, "server_error"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_refusal_of_the_server_has_its_status(
    mesh: Any, http: httpx.AsyncClient, refusal: errors.SeodangError, status: int, kind: str, stream: bool
) -> None:
    mesh.teacher.refusal = refusal
    reply = await http.post(CHAT, json=GOOD | {"stream": stream})
    error = _error(reply)
    assert (reply.status_code, error["type"], error["message"]) == (status, kind, refusal.message)
    assert error["code"] == refusal.reason.lower()
    if isinstance(refusal, errors.Retriable):
        assert reply.headers["retry-after"] == {429: "3", 503: "1"}[status]
    if isinstance(refusal, errors.InvalidInput):
        assert error["param"] == "temperature"


async def test_a_model_of_a_server_that_is_down_is_503_and_not_404(mesh: Any, http: httpx.AsyncClient) -> None:
    await mesh.servers["teacher"]._server.stop(0)
    reply = await http.post(CHAT, json=GOOD)
    assert reply.status_code == 503
    assert "teacher server at 127.0.0.1" in _error(reply)["message"]
    assert "retry-after" in reply.headers


@pytest.mark.parametrize("value", ["", "a b", "x" * 129], ids=["empty", "space", "long"])
async def test_a_bad_request_id_is_refused(http: httpx.AsyncClient, value: str) -> None:
    reply = await http.post(CHAT, json=GOOD, headers={"x-request-id": value})
    assert reply.status_code == 400
    assert "x-request-id" in _error(reply)["message"]


@pytest.mark.parametrize("value", ["soon", "-1", "0", "nan", "inf"])
async def test_a_bad_timeout_is_refused(http: httpx.AsyncClient, value: str) -> None:
    reply = await http.post(CHAT, json=GOOD, headers={"x-request-timeout-s": value})
    assert reply.status_code == 400
    assert value in _error(reply)["message"]


async def test_an_unknown_path_is_404_in_the_same_form(http: httpx.AsyncClient) -> None:
    reply = await http.get("/v1/nonsense")
    assert reply.status_code == 404
    assert "/v1/nonsense" in _error(reply)["message"]


async def test_a_wrong_method_is_405_in_the_same_form(http: httpx.AsyncClient) -> None:
    reply = await http.get(CHAT)
    assert reply.status_code == 405
    assert "GET" in _error(reply)["message"]


async def test_a_fault_of_the_gateway_itself_is_500_and_tells_where_to_look(mesh: Any) -> None:
    class Broken:
        async def holder(self, name: str) -> Any:
            raise ZeroDivisionError

    from seodang.gateway import GatewaySettings, create_app
    from seodang.gateway.server import http_server

    settings = GatewaySettings(port=0, grace_s=1)
    async with http_server(create_app(settings, Broken()), settings) as address, httpx.AsyncClient() as client:  # type: ignore[arg-type]
        reply = await client.post(f"http://{address}{CHAT}", json=GOOD)
    assert reply.status_code == 500
    assert reply.headers["x-request-id"] in _error(reply)["message"]


async def test_a_server_that_comes_back_is_used_again_without_restarting_the_gateway(
    mesh: Any, http: httpx.AsyncClient
) -> None:
    port = mesh.servers["teacher"].port
    await mesh.servers["teacher"].__aexit__(None, None, None)
    assert (await http.post(CHAT, json=GOOD)).status_code == 503
    async with MeshServer("teacher", [mesh.teacher.mount()], ServerConfig(port=port)):
        deadline_s = time.monotonic() + 10
        while (reply := await http.post(CHAT, json=GOOD)).status_code == 503:
            assert time.monotonic() < deadline_s, reply.text
    assert reply.status_code == 200
