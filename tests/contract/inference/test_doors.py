"""Bad input at the door of every method: the right error, the field by name, and nothing done."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from tests.contract.inference.asking import MODEL, ask, generate, score
from tests.serving import Serving

from seodang.api.inference.v1 import chat_pb2, generate_pb2, inference_pb2, score_pb2
from seodang.base.errors import InvalidInput, NotFound, Unsupported
from seodang.client import Client
from seodang.rpc import ConnectionPolicy, open_channel

SERVICE = "/seodang.api.inference.v1.InferenceService"
Sampling = generate_pb2.Sampling
Stopping = generate_pb2.Stopping


def chat(**fields: Any) -> chat_pb2.Prompt:
    return chat_pb2.Prompt(chat=chat_pb2.ChatPrompt(**fields))


def turn(role: chat_pb2.Role.ValueType, content: str = "", **fields: Any) -> chat_pb2.Message:
    return chat_pb2.Message(role=role, content=content, **fields)


def with_extra(key: str, value: Any) -> generate_pb2.GenerateRequest:
    request = generate()
    request.extra[key] = value
    return request


def constrained(**shape: Any) -> generate_pb2.GenerateRequest:
    return generate(constraint=generate_pb2.Constraint(**shape))


def with_nan() -> chat_pb2.Prompt:
    call = chat_pb2.ToolCall(name="f")
    call.arguments["x"] = math.nan
    return chat(messages=[turn(chat_pb2.ROLE_ASSISTANT, tool_calls=[call])])


USER, ASSISTANT, TOOL = chat_pb2.ROLE_USER, chat_pb2.ROLE_ASSISTANT, chat_pb2.ROLE_TOOL

GENERATE: dict[str, tuple[generate_pb2.GenerateRequest, str]] = {
    "no prompt": (generate(prompt=chat_pb2.Prompt()), "prompt"),
    "empty text": (generate(""), "prompt.text"),
    "no ids": (generate([]), "prompt.token_ids.ids"),
    "an id outside": (generate([5, 320]), "prompt.token_ids.ids[1]"),
    "many ids outside": (generate([1, *[10**6] * 5000]), "prompt.token_ids.ids[1]"),
    "too long": (generate([5] * 4096), "prompt"),
    "no turns": (generate(chat()), "prompt.chat.messages"),
    "no role": (generate(chat(messages=[turn(0, "hi")])), "prompt.chat.messages[0].role"),
    "a silent user": (generate(chat(messages=[turn(USER)])), "prompt.chat.messages[0].content"),
    "a user who calls": (
        generate(chat(messages=[turn(USER, "hi", tool_calls=[chat_pb2.ToolCall(name="f")])])),
        "prompt.chat.messages[0].tool_calls",
    ),
    "a call without a name": (
        generate(chat(messages=[turn(ASSISTANT, tool_calls=[chat_pb2.ToolCall()])])),
        "prompt.chat.messages[0].tool_calls[0].name",
    ),
    "an answer to nobody": (
        generate(chat(messages=[turn(USER, "hi", tool_call_id="c")])),
        "prompt.chat.messages[0].tool_call_id",
    ),
    "an argument that JSON has not": (
        generate(with_nan()), "prompt.chat.messages[0].tool_calls[0].arguments.x",
    ),
    "a tool without a name": (
        generate(chat(messages=[turn(USER, "hi")], tools=[chat_pb2.Tool()])), "prompt.chat.tools[0].name",
    ),
    "temperature": (generate(sampling=Sampling(temperature=-1)), "sampling.temperature"),
    "temperature that is no number": (generate(sampling=Sampling(temperature=math.nan)), "sampling.temperature"),
    "top_k": (generate(sampling=Sampling(top_k=-1)), "sampling.top_k"),
    "top_p": (generate(sampling=Sampling(top_p=0)), "sampling.top_p"),
    "min_p": (generate(sampling=Sampling(min_p=1.5)), "sampling.min_p"),
    "repetition_penalty": (generate(sampling=Sampling(repetition_penalty=0)), "sampling.repetition_penalty"),
    "presence_penalty": (generate(sampling=Sampling(presence_penalty=3)), "sampling.presence_penalty"),
    "frequency_penalty": (generate(sampling=Sampling(frequency_penalty=-3)), "sampling.frequency_penalty"),
    "bias of an id outside": (generate(sampling=Sampling(logit_bias={320: 1})), "sampling.logit_bias[0]"),
    "bias": (generate(sampling=Sampling(logit_bias={5: 200})), "sampling.logit_bias[5]"),
    "seventeen stop strings": (generate(stopping=Stopping(strings=["x"] * 17)), "stopping.strings"),
    "an empty stop string": (generate(stopping=Stopping(strings=["x", ""])), "stopping.strings"),
    "a stop id outside": (generate(stopping=Stopping(token_ids=[320])), "stopping.token_ids[0]"),
    "a constraint of no shape": (constrained(), "constraint"),
    "a schema that is no JSON": (constrained(json_schema="{"), "constraint.json_schema"),
    "a schema that is no object": (constrained(json_schema="[]"), "constraint.json_schema"),
    "a schema that is no schema": (constrained(json_schema='{"type": "nothing"}'), "constraint"),
    "an empty pattern": (constrained(regex=""), "constraint.regex"),
    "a pattern with an open bracket": (constrained(regex="[a-"), "constraint"),
    "a grammar without a start": (constrained(lark_grammar="x: y"), "constraint"),
    "a choice of nothing": (constrained(choice=generate_pb2.Constraint.Choice()), "constraint.choice.options"),
    "an empty choice": (
        constrained(choice=generate_pb2.Constraint.Choice(options=["a", ""])), "constraint.choice.options",
    ),
    "no tokens wanted": (generate(new=0), "max_new_tokens"),
    "top_logprobs": (generate(top_logprobs=65), "top_logprobs"),
    "priority": (generate(priority=101), "priority"),
    "an id with spaces": (generate(request_id="a b"), "request_id"),
    "a long id": (generate(request_id="a" * 129), "request_id"),
    "an extra key": (with_extra("mirostat", True), "extra.mirostat"),
    "an extra value": (with_extra("include_stop", "yes"), "extra.include_stop"),
    "no model": (generate(model=""), "model"),
    "no model's name": (generate(model="../etc/passwd"), "model"),
}  # fmt: skip


@pytest.mark.parametrize(("request_", "field"), GENERATE.values(), ids=GENERATE.keys())
def test_generate_names_the_field(client: Client, request_: generate_pb2.GenerateRequest, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        ask(client, request_)
    assert caught.value.field == field
    assert len(caught.value.message) < 400


def sequence(ids: list[int], **fields: Any) -> score_pb2.ScoreSequence:
    return score_pb2.ScoreSequence(token_ids=chat_pb2.TokenIds(ids=ids), **fields)


def candidates(ids: list[int], offsets: list[int] | None = None) -> score_pb2.ScoreSequence:
    return sequence([5, 6, 7], candidates=score_pb2.CandidateIds(ids=ids, offsets=offsets or []))


def signals(**fields: Any) -> score_pb2.ScoreRequest:
    return score([5, 6, 7], signals=score_pb2.ScoreSignals(**fields))


SCORE: dict[str, tuple[score_pb2.ScoreRequest, str]] = {
    "no sequence": (score(), "sequences"),
    "an empty sequence": (score(score_pb2.ScoreSequence()), "sequences[0]"),
    "no ids": (score([5, 6], []), "sequences[1].token_ids.ids"),
    "an id outside": (score([5, 6], [5, 321]), "sequences[1].token_ids.ids[1]"),
    "nothing to predict": (score([5]), "sequences[0].end_position"),
    "an empty range": (score(sequence([5, 6, 7], first_position=2, end_position=2)), "sequences[0].end_position"),
    "a range beyond": (score(sequence([5, 6, 7], end_position=4)), "sequences[0].end_position"),
    "a negative range": (score(sequence([5, 6, 7], first_position=-1)), "sequences[0].end_position"),
    "too long": (score([5] * 4097), "sequences[0]"),
    "no turns": (score(score_pb2.ScoreSequence(chat=chat_pb2.ChatPrompt())), "sequences[0].chat.messages"),
    "a candidate outside": (score(candidates([5, 320])), "sequences[0].candidates.ids[1]"),
    "too few offsets": (score(candidates([5, 6], [0, 2])), "sequences[0].candidates.offsets"),
    "offsets that fall": (score(candidates([5, 6, 7], [0, 4, 3])), "sequences[0].candidates.offsets"),
    "offsets that leave some out": (score(candidates([5, 6, 7], [0, 1, 2])), "sequences[0].candidates.offsets"),
    "offsets into nothing": (score(candidates([], [0, 1, 2])), "sequences[0].candidates.offsets"),
    "too many candidates": (score(candidates([5] * 4097)), "sequences[0].candidates"),
    "top_k": (signals(top_k=-1), "signals.top_k"),
    "top_k beyond the vocabulary": (signals(top_k=321), "signals.top_k"),
    "head": (signals(sampled=score_pb2.SampledTarget(head=321)), "signals.sampled.head"),
    "draws": (signals(sampled=score_pb2.SampledTarget(tail_draws=-1)), "signals.sampled.tail_draws"),
    "a sample of nothing": (signals(sampled=score_pb2.SampledTarget()), "signals.sampled"),
    "temperature": (signals(temperature=0), "signals.temperature"),
    "hidden states": (signals(hidden_states=6), "signals.hidden_states"),
    "encoding": (signals(encoding=7), "signals.encoding"),
    "an offset beyond": (score([5, 6, 7], start_offset=3), "start_offset"),
    "a negative offset": (score([5, 6, 7], start_offset=-1), "start_offset"),
    "priority": (score([5, 6, 7], priority=-101), "priority"),
}


@pytest.mark.parametrize(("request_", "field"), SCORE.values(), ids=SCORE.keys())
def test_score_names_the_field(client: Client, request_: score_pb2.ScoreRequest, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        list(client.inference.Score(request_, timeout=60))
    assert caught.value.field == field


UNSUPPORTED: dict[str, tuple[score_pb2.ScoreRequest, str]] = {
    "independent draws": (
        signals(sampled=score_pb2.SampledTarget(tail_draws=2, method=score_pb2.SampledTarget.METHOD_INDEPENDENT)),
        "signals.sampled.method",
    ),
    "more top than head": (
        signals(top_k=8, sampled=score_pb2.SampledTarget(head=4, tail_draws=2)), "signals.top_k",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("request_", "field"), UNSUPPORTED.values(), ids=UNSUPPORTED.keys())
def test_score_names_what_it_does_not_support(client: Client, request_: score_pb2.ScoreRequest, field: str) -> None:
    with pytest.raises(Unsupported) as caught:
        list(client.inference.Score(request_, timeout=60))
    assert caught.value.metadata == {"field": field}


Call = Callable[[Client, str], Any]
EVERY_METHOD: dict[str, Call] = {
    "Generate": lambda client, model: list(client.inference.Generate(generate(model=model))),
    "Score": lambda client, model: list(client.inference.Score(score([5, 6], model=model))),
    "GetOutputHead": lambda client, model: list(
        client.inference.GetOutputHead(score_pb2.GetOutputHeadRequest(model=model))
    ),
    "GetTokenizer": lambda client, model: list(
        client.inference.GetTokenizer(inference_pb2.GetTokenizerRequest(model=model))
    ),
    "Embed": lambda client, model: client.inference.Embed(inference_pb2.EmbedRequest(model=model, texts=["a"])),
    "CountTokens": lambda client, model: client.inference.CountTokens(
        inference_pb2.CountTokensRequest(model=model, prompt=chat_pb2.Prompt(text="a"))
    ),
    "GetModel": lambda client, model: client.inference.GetModel(inference_pb2.GetModelRequest(name=model)),
}


@pytest.mark.parametrize("call", EVERY_METHOD.values(), ids=EVERY_METHOD.keys())
def test_every_method_knows_no_unknown_model(client: Client, call: Call) -> None:
    with pytest.raises(NotFound) as caught:
        call(client, "models/nobody")
    assert caught.value.metadata == {"model": "models/nobody"}
    assert MODEL in caught.value.message


@pytest.mark.parametrize("call", EVERY_METHOD.values(), ids=EVERY_METHOD.keys())
def test_every_method_refuses_what_is_no_name(client: Client, call: Call) -> None:
    with pytest.raises(InvalidInput):
        call(client, "models/a/../b")


OTHERS: dict[str, tuple[Callable[[Client], Any], str]] = {
    "no texts": (lambda c: c.inference.Embed(inference_pb2.EmbedRequest(model=MODEL)), "texts"),
    "too many texts": (
        lambda c: c.inference.Embed(inference_pb2.EmbedRequest(model=MODEL, texts=["a"] * 257)), "texts",
    ),
    "an empty text": (
        lambda c: c.inference.Embed(inference_pb2.EmbedRequest(model=MODEL, texts=["a", ""])), "texts[1]",
    ),
    "pooling": (
        lambda c: c.inference.Embed(inference_pb2.EmbedRequest(model=MODEL, texts=["a"], pooling=9)), "pooling",
    ),
    "a row beyond": (
        lambda c: list(c.inference.GetOutputHead(score_pb2.GetOutputHeadRequest(model=MODEL, start_row=321))),
        "start_row",
    ),
    "a head of bytes": (
        lambda c: list(c.inference.GetOutputHead(score_pb2.GetOutputHeadRequest(model=MODEL, dtype=4))), "dtype",
    ),
    "a page of -1": (lambda c: c.inference.ListModels(inference_pb2.ListModelsRequest(page_size=-1)), "page_size"),
    "a page of nowhere": (
        lambda c: c.inference.ListModels(inference_pb2.ListModelsRequest(page_token="~~")), "page_token",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("call", "field"), OTHERS.values(), ids=OTHERS.keys())
def test_the_other_methods_name_the_field(client: Client, call: Callable[[Client], Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        call(client)
    assert caught.value.field == field


@pytest.fixture
def channel(server: Serving) -> Iterator[grpc.Channel]:
    """A connection that sends what our own client would not."""
    with open_channel(server.address, ConnectionPolicy(max_message_bytes=64 * 2**20)) as channel:
        yield channel


def refusal(channel: grpc.Channel, body: bytes, timeout_s: float | None = 30.0) -> grpc.RpcError:
    call = channel.unary_stream(f"{SERVICE}/Generate", request_serializer=bytes, response_deserializer=bytes)
    with pytest.raises(grpc.RpcError) as caught:
        list(call(body, timeout=timeout_s))
    return caught.value


def test_a_message_beyond_the_limit_is_refused(channel: grpc.Channel) -> None:
    error = refusal(channel, generate("a" * (17 * 2**20)).SerializeToString())
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_text_that_is_not_utf_8_is_refused(channel: grpc.Channel) -> None:
    body = generate("abcd").SerializeToString().replace(b"abcd", b"\xff\xfe\xfd\xfc")
    assert refusal(channel, body).code() is grpc.StatusCode.INVALID_ARGUMENT


def test_bytes_of_another_message_are_refused(channel: grpc.Channel) -> None:
    assert refusal(channel, b"\x0a\xff\xff\xff\xff\x0f").code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_call_without_a_deadline_is_refused(channel: grpc.Channel) -> None:
    error = refusal(channel, generate().SerializeToString(), timeout_s=None)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "no deadline" in error.details()


def test_a_deadline_in_the_past_is_refused(channel: grpc.Channel) -> None:
    error = refusal(channel, generate().SerializeToString(), timeout_s=-1.0)
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
