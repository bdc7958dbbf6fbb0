"""Chat completions, through the unmodified OpenAI client."""

import json
from typing import Any

import pytest
from openai import APIError, AsyncOpenAI
from tests.scripted.inference import Script, words

from seodang.api.inference.v1 import chat_pb2, generate_pb2
from seodang.base import errors

HELLO: list[Any] = [{"role": "user", "content": "hi"}]


async def test_an_answer_arrives_whole(mesh: Any, openai: AsyncOpenAI) -> None:
    reply = await openai.chat.completions.create(model="teacher-mini", messages=HELLO)
    assert reply.choices[0].message.content == "안녕 from the mesh"
    assert (reply.model, reply.choices[0].finish_reason) == ("teacher-mini", "stop")
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.usage.total_tokens) == (7, 4, 11)
    assert reply.usage.prompt_tokens_details is not None
    assert reply.usage.prompt_tokens_details.cached_tokens == 2


async def test_an_answer_arrives_in_chunks_as_it_is_written(mesh: Any, openai: AsyncOpenAI) -> None:
    mesh.teacher.pace.hold()
    stream = await openai.chat.completions.create(model="teacher-mini", messages=HELLO, stream=True)
    seen = []
    async for chunk in stream:
        seen.append(chunk.choices[0].delta.content)
        mesh.teacher.pace.step()
    assert seen == ["", "안녕", " from", " the", " mesh", None]
    assert chunk.choices[0].finish_reason == "stop"


async def test_the_last_chunk_holds_the_usage_when_asked_for(openai: AsyncOpenAI) -> None:
    stream = await openai.chat.completions.create(
        model="teacher-mini", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 4
    assert all(chunk.usage is None for chunk in chunks[:-1])


async def test_no_chunk_holds_usage_unasked(openai: AsyncOpenAI) -> None:
    stream = await openai.chat.completions.create(model="teacher-mini", messages=HELLO, stream=True)
    assert [chunk.usage async for chunk in stream if chunk.usage or not chunk.choices] == []


async def test_every_parameter_reaches_the_server(mesh: Any, openai: AsyncOpenAI) -> None:
    await openai.chat.completions.create(
        model="teacher-mini",
        messages=[
            {"role": "developer", "content": "be brief"},
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        ],
        temperature=0.0,
        top_p=0.5,
        max_completion_tokens=9,
        stop=["\n", "끝"],
        seed=-3,
        presence_penalty=0.5,
        frequency_penalty=-0.5,
        logit_bias={"17": 2.5},
        n=1,
        logprobs=True,
        top_logprobs=3,
        reasoning_effort="none",
        extra_body={"top_k": 4, "min_p": 0.1, "repetition_penalty": 1.1, "stop_token_ids": [5], "priority": -2},
    )
    request = mesh.teacher.requests[-1]
    assert request.model == "models/teacher-mini"
    chat = request.prompt.chat
    assert [(m.role, m.content) for m in chat.messages] == [
        (chat_pb2.ROLE_SYSTEM, "be brief"),
        (chat_pb2.ROLE_USER, "ab"),
    ]
    assert chat.enable_thinking is False
    assert request.sampling == generate_pb2.Sampling(
        temperature=0.0, top_p=0.5, top_k=4, min_p=0.1, repetition_penalty=1.1, presence_penalty=0.5,
        frequency_penalty=-0.5, seed=-3, logit_bias={17: 2.5},
    )  # fmt: skip
    assert request.stopping == generate_pb2.Stopping(strings=["\n", "끝"], token_ids=[5])
    assert (request.max_new_tokens, request.logprobs, request.top_logprobs, request.priority) == (9, True, 3, -2)


async def test_what_is_not_given_stays_unset(mesh: Any, openai: AsyncOpenAI) -> None:
    await openai.chat.completions.create(model="teacher-mini", messages=HELLO)
    request = mesh.teacher.requests[-1]
    assert request.sampling == generate_pb2.Sampling()
    assert request.stopping == generate_pb2.Stopping()
    assert not request.HasField("max_new_tokens")
    assert not request.HasField("priority")
    assert not request.HasField("constraint")
    assert not request.prompt.chat.HasField("enable_thinking")


async def test_an_answer_that_was_cut_says_length(openai: AsyncOpenAI) -> None:
    reply = await openai.chat.completions.create(model="teacher-mini", messages=HELLO, max_tokens=2)
    assert (reply.choices[0].message.content, reply.choices[0].finish_reason) == ("안녕 from", "length")


async def test_logprobs_carry_text_bytes_and_alternatives(mesh: Any, openai: AsyncOpenAI) -> None:
    half, rest = "한".encode()[:1], "한".encode()[1:]
    mesh.teacher.answer = lambda request: Script([half, rest])
    reply = await openai.chat.completions.create(model="teacher-mini", messages=HELLO, logprobs=True, top_logprobs=2)
    assert reply.choices[0].message.content == "한"
    assert reply.choices[0].logprobs is not None
    first, second = reply.choices[0].logprobs.content or ()
    assert bytes((first.bytes or []) + (second.bytes or [])).decode() == "한"
    assert (first.token, first.logprob, second.logprob) == ("\N{REPLACEMENT CHARACTER}", -0.5, -1.0)
    assert [(other.token, other.logprob) for other in first.top_logprobs] == [("alt0", -1.0), ("alt1", -2.0)]


async def test_streamed_logprobs_are_those_of_the_whole_answer(openai: AsyncOpenAI) -> None:
    whole = await openai.chat.completions.create(model="teacher-mini", messages=HELLO, logprobs=True)
    stream = await openai.chat.completions.create(model="teacher-mini", messages=HELLO, logprobs=True, stream=True)
    streamed = [entry async for chunk in stream if (lp := chunk.choices[0].logprobs) for entry in lp.content or ()]
    assert whole.choices[0].logprobs is not None
    assert streamed == whole.choices[0].logprobs.content


async def test_a_json_schema_becomes_a_constraint(mesh: Any, openai: AsyncOpenAI) -> None:
    schema = {"type": "object", "properties": {"방": {"type": "string"}}, "required": ["방"]}
    await openai.chat.completions.create(
        model="teacher-mini",
        messages=HELLO,
        response_format={"type": "json_schema", "json_schema": {"name": "room", "schema": schema, "strict": True}},
    )
    assert json.loads(mesh.teacher.requests[-1].constraint.json_schema) == schema


async def test_json_mode_becomes_a_constraint(mesh: Any, openai: AsyncOpenAI) -> None:
    await openai.chat.completions.create(model="teacher-mini", messages=HELLO, response_format={"type": "json_object"})
    assert mesh.teacher.requests[-1].constraint.WhichOneof("shape") == "json_object"


async def test_a_failure_on_the_way_reaches_the_streaming_client(mesh: Any, openai: AsyncOpenAI) -> None:
    broken = errors.Unavailable("a rank died; its group restarts", retry_after_s=2)
    mesh.teacher.answer = lambda request: Script([b"a", b"b"], fault_at=1, fault=broken)
    stream = await openai.chat.completions.create(model="teacher-mini", messages=HELLO, stream=True)
    chunks = aiter(stream)
    assert [(await anext(chunks)).choices[0].delta.content for _ in range(2)] == ["", "a"]
    with pytest.raises(APIError, match="a rank died"):
        await anext(chunks)


async def test_a_failure_on_the_way_is_a_status_for_the_waiting_client(mesh: Any, openai: AsyncOpenAI) -> None:
    broken = errors.Unavailable("a rank died; its group restarts", retry_after_s=2)
    mesh.teacher.answer = lambda request: Script([b"a", b"b"], fault_at=1, fault=broken)
    with pytest.raises(APIError, match="a rank died") as caught:
        await openai.chat.completions.create(model="teacher-mini", messages=HELLO)
    assert caught.value.status_code == 503
    assert caught.value.response.headers["retry-after"] == "2"


async def test_the_request_id_is_the_clients_own_all_the_way(mesh: Any, openai: AsyncOpenAI) -> None:
    raw = await openai.chat.completions.with_raw_response.create(
        model="teacher-mini", messages=HELLO, extra_headers={"x-request-id": "trace-17"}
    )
    assert raw.headers["x-request-id"] == "trace-17"
    assert mesh.teacher.requests[-1].request_id == "trace-17"
    assert raw.parse().id == "chatcmpl-trace-17"


async def test_without_a_request_id_one_is_made(mesh: Any, openai: AsyncOpenAI) -> None:
    raw = await openai.chat.completions.with_raw_response.create(model="teacher-mini", messages=HELLO)
    assert len(raw.headers["x-request-id"]) == 32
    assert mesh.teacher.requests[-1].request_id == raw.headers["x-request-id"]


async def test_the_timeout_of_a_request_becomes_the_deadline_of_the_call(mesh: Any, openai: AsyncOpenAI) -> None:
    await openai.chat.completions.create(
        model="teacher-mini", messages=HELLO, extra_headers={"x-request-timeout-s": "12.5"}
    )
    await openai.chat.completions.create(model="teacher-mini", messages=HELLO)
    asked, default = mesh.teacher.remaining_s
    assert 11 < asked < 13
    assert 595 < default < 601


async def test_a_request_that_takes_too_long_ends_with_504(mesh: Any, openai: AsyncOpenAI, until: Any) -> None:
    mesh.teacher.pace.hold()
    with pytest.raises(APIError) as caught:
        await openai.chat.completions.create(
            model="teacher-mini", messages=HELLO, extra_headers={"x-request-timeout-s": "0.3"}
        )
    assert caught.value.status_code == 504
    await until(lambda: mesh.teacher.running == 0, "the generation is stopped")


async def test_a_student_answers_by_the_same_door(mesh: Any, openai: AsyncOpenAI) -> None:
    mesh.student.aliases["models/robot@production"] = "models/robot"
    mesh.student.answer = lambda request: words("forward")
    reply = await openai.chat.completions.create(model="models/robot@production", messages=HELLO)
    assert (reply.choices[0].message.content, reply.model) == ("forward", "robot")
    assert mesh.student.requests[-1].model == "models/robot@production"
