"""Tools: offered to the model, and its calls reported as OpenAI's clients expect them."""

import json
from typing import Any

import pytest
from openai import AsyncOpenAI, BadRequestError
from tests.scripted.inference import Script, words

from seodang.api.inference.v1 import generate_pb2
from seodang.tasks import assistant

ASK: list[Any] = [{"role": "user", "content": "거실 불 켜 줘"}]
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "HassTurnOn",
        "description": "Turns a thing on",
        "parameters": {"type": "object", "properties": {"area": {"type": "string"}}, "required": ["area"]},
    },
}
CALL = assistant.render(assistant.ToolCall("HassTurnOn", {"area": "거실"}))


def _in_pieces(text: str) -> Script:
    data = text.encode()
    return Script([data[start : start + 3] for start in range(0, len(data), 3)])


@pytest.fixture
def assistant_says(mesh: Any) -> Any:
    def say(text: str) -> None:
        mesh.student.answer = lambda request: _in_pieces(text)

    return say


async def _streamed(openai: AsyncOpenAI, **options: Any) -> tuple[str, list[Any], str | None]:
    stream = await openai.chat.completions.create(model="assistant", messages=ASK, stream=True, **options)
    text, calls, finish = "", [], None
    async for chunk in stream:
        choice = chunk.choices[0]
        text += choice.delta.content or ""
        calls += choice.delta.tool_calls or []
        finish = choice.finish_reason or finish
    return text, calls, finish


async def test_tools_reach_the_model(mesh: Any, openai: AsyncOpenAI) -> None:
    await openai.chat.completions.create(model="assistant", messages=ASK, tools=[TOOL])
    (tool,) = mesh.student.requests[-1].prompt.chat.tools
    assert (tool.name, tool.description) == ("HassTurnOn", "Turns a thing on")
    assert tool.parameters["properties"]["area"]["type"] == "string"


async def test_a_call_is_reported_as_a_call(openai: AsyncOpenAI, assistant_says: Any) -> None:
    assistant_says(CALL)
    reply = await openai.chat.completions.create(model="assistant", messages=ASK, tools=[TOOL])
    choice = reply.choices[0]
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    (call,) = choice.message.tool_calls or ()
    assert (call.type, call.id[:5]) == ("function", "call_")
    assert (call.function.name, json.loads(call.function.arguments)) == ("HassTurnOn", {"area": "거실"})


async def test_a_streamed_call_never_leaks_as_text(openai: AsyncOpenAI, assistant_says: Any) -> None:
    assistant_says(CALL)
    text, calls, finish = await _streamed(openai, tools=[TOOL])
    assert (text, finish) == ("", "tool_calls")
    assert [(call.index, call.function.name, json.loads(call.function.arguments)) for call in calls] == [
        (0, "HassTurnOn", {"area": "거실"})
    ]


async def test_several_tagged_calls_are_reported_one_by_one(openai: AsyncOpenAI, assistant_says: Any) -> None:
    assistant_says(f"<tool_call>\n{CALL}\n</tool_call>\n<tool_call>\n{CALL}\n</tool_call>")
    text, calls, finish = await _streamed(openai, tools=[TOOL])
    assert (text, [call.index for call in calls], finish) == ("", [0, 1], "tool_calls")


@pytest.mark.parametrize(
    "answer",
    ["켰습니다.", '{"name":"Unknown","arguments":{}}', '{"a": 1}', "{ broken", "<b>bold</b>", "<tool_call>oops"],
)
async def test_what_is_no_call_of_an_offered_tool_stays_text(
    openai: AsyncOpenAI, assistant_says: Any, answer: str
) -> None:
    assistant_says(answer)
    reply = await openai.chat.completions.create(model="assistant", messages=ASK, tools=[TOOL])
    assert (reply.choices[0].message.content, reply.choices[0].message.tool_calls) == (answer, None)
    text, calls, finish = await _streamed(openai, tools=[TOOL])
    assert (text, calls, finish) == (answer, [], "stop")


async def test_text_is_not_held_back_once_it_cannot_be_a_call(mesh: Any, openai: AsyncOpenAI) -> None:
    mesh.student.answer = lambda request: words("불을 켰습니다 네")
    mesh.student.pace.hold()
    stream = await openai.chat.completions.create(model="assistant", messages=ASK, tools=[TOOL], stream=True)
    chunks = aiter(stream)
    assert (await anext(chunks)).choices[0].delta.content == ""
    mesh.student.pace.step()
    assert (await anext(chunks)).choices[0].delta.content == "불을"
    mesh.student.pace.release()
    await stream.close()


async def test_without_tools_a_call_is_only_text(openai: AsyncOpenAI, assistant_says: Any) -> None:
    assistant_says(CALL)
    reply = await openai.chat.completions.create(model="assistant", messages=ASK)
    assert reply.choices[0].message.content == CALL


async def test_tool_choice_none_offers_no_tools(mesh: Any, openai: AsyncOpenAI, assistant_says: Any) -> None:
    assistant_says(CALL)
    reply = await openai.chat.completions.create(model="assistant", messages=ASK, tools=[TOOL], tool_choice="none")
    assert reply.choices[0].message.content == CALL
    assert not mesh.student.requests[-1].prompt.chat.tools


async def test_a_required_call_constrains_the_answer(mesh: Any, openai: AsyncOpenAI, assistant_says: Any) -> None:
    assistant_says(CALL)
    await openai.chat.completions.create(model="assistant", messages=ASK, tools=[TOOL], tool_choice="required")
    (call,) = json.loads(mesh.student.requests[-1].constraint.json_schema)["anyOf"]
    assert call["properties"]["name"] == {"const": "HassTurnOn"}
    assert call["properties"]["arguments"] == TOOL["function"]["parameters"]


async def test_a_named_tool_is_the_only_one_left(mesh: Any, openai: AsyncOpenAI, assistant_says: Any) -> None:
    assistant_says(CALL)
    other: Any = {"type": "function", "function": {"name": "Other"}}
    choice: Any = {"type": "function", "function": {"name": "Other"}}
    await openai.chat.completions.create(model="assistant", messages=ASK, tools=[TOOL, other], tool_choice=choice)
    (call,) = json.loads(mesh.student.requests[-1].constraint.json_schema)["anyOf"]
    assert call["properties"]["name"] == {"const": "Other"}


async def test_a_named_tool_that_was_not_offered_is_refused(openai: AsyncOpenAI) -> None:
    choice: Any = {"type": "function", "function": {"name": "Other"}}
    with pytest.raises(BadRequestError, match="not among 'tools'"):
        await openai.chat.completions.create(model="assistant", messages=ASK, tools=[TOOL], tool_choice=choice)


async def test_a_call_and_its_result_go_back_to_the_model(mesh: Any, openai: AsyncOpenAI) -> None:
    called: Any = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "HassTurnOn", "arguments": '{"area": "거실"}'},
    }
    turns: list[Any] = [
        *ASK,
        {"role": "assistant", "content": None, "tool_calls": [called]},
        {"role": "tool", "tool_call_id": "call_1", "content": "ok"},
    ]
    await openai.chat.completions.create(model="assistant", messages=turns, tools=[TOOL])
    _, call, result = mesh.student.requests[-1].prompt.chat.messages
    assert (call.tool_calls[0].id, call.tool_calls[0].name) == ("call_1", "HassTurnOn")
    assert call.tool_calls[0].arguments["area"] == "거실"
    assert (result.tool_call_id, result.content) == ("call_1", "ok")


async def test_a_call_cut_by_the_length_limit_is_text_that_says_so(openai: AsyncOpenAI, assistant_says: Any) -> None:
    assistant_says(CALL)
    reply = await openai.chat.completions.create(model="assistant", messages=ASK, tools=[TOOL], max_tokens=3)
    assert reply.choices[0].finish_reason == "length"
    assert CALL.startswith(reply.choices[0].message.content or "?")


async def test_what_answers_turn_out_to_be_is_counted(mesh: Any, openai: AsyncOpenAI, assistant_says: Any) -> None:
    for answer in (CALL, "네", '{"name":"Unknown","arguments":{}}', "{ broken"):
        assistant_says(answer)
        await openai.chat.completions.create(model="assistant", messages=ASK, tools=[TOOL])
    import httpx

    async with httpx.AsyncClient() as client:
        text = (await client.get(f"{mesh.url}/metrics")).text
    for outcome in ("call", "text", "unknown_name", "invalid_json"):
        assert f'tool_answers_total{{model="models/assistant",outcome="{outcome}"}} 1.0' in text


def test_the_finish_reasons_of_the_contract_are_all_known() -> None:
    from seodang.gateway.openai.reply import _FINISH

    silent = {generate_pb2.FINISH_REASON_UNSPECIFIED, generate_pb2.FINISH_REASON_CANCELLED}
    assert set(generate_pb2.FinishReason.values()) == set(_FINISH) | silent
