"""A teacher whose model an external server computes: what becomes of its callers when that server fails."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.scripted.vllm import DONE, Body, Cut, Hang, Script, ScriptedVllm, data, event, well
from tests.serving import Serving, start_server, wait_for

from seodang.api.inference.v1 import chat_pb2, generate_pb2, inference_pb2, model_pb2
from seodang.base.errors import DeadlineExpired, Exhausted, SeodangError, Unavailable, Unsupported
from seodang.client import Client, complete
from seodang.rpc import from_fault

MODEL = "models/tiny"


def generation(new: int = 6, **fields: Any) -> generate_pb2.GenerateRequest:
    prompt = chat_pb2.Prompt(token_ids=chat_pb2.TokenIds(ids=[5, 6, 7]))
    return generate_pb2.GenerateRequest(model=MODEL, prompt=prompt, max_new_tokens=new, **fields)


@pytest.fixture(scope="module")
def scripted() -> ScriptedVllm:
    return ScriptedVllm()


@pytest.fixture(scope="module")
def teacher_before_it(
    checkpoints: Path, scripted: ScriptedVllm, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Serving]:
    """Started while its server is away, as it may be on a cluster; the server is a secret's, too."""
    with start_server(
        "teacher",
        tmp_path_factory.mktemp("external"),
        ready=False,
        folder=checkpoints / "qwen3",
        model=MODEL,
        engine_url=scripted.url,
        engine_model="tiny",
        engine_api_key="s3cr3t-key",
        max_batch=2,
    ) as serving:
        wait_for(lambda: "waiting: the external server" in serving.log(), "the teacher to wait for its server")
        with Client(serving.address) as client:
            assert state(client) == model_pb2.MODEL_STATE_LOADING
        yield serving


@pytest.fixture
def client(scripted: ScriptedVllm, teacher_before_it: Serving) -> Iterator[Client]:
    """Of a teacher that is ready, whose server does well."""
    scripted.forget()
    with scripted.up(), Client(teacher_before_it.address) as client:
        wait_for(teacher_before_it.is_ready, "the teacher to be ready")
        yield client


def state(client: Client) -> model_pb2.ModelState.ValueType:
    return client.inference.GetModel(inference_pb2.GetModelRequest(name=MODEL)).model.state


def tokens_and_fault(client: Client, request: generate_pb2.GenerateRequest) -> tuple[list[int], SeodangError]:
    """What came before the fault that must end the stream."""
    events = list(client.inference.Generate(request, timeout=30))
    assert events[0].HasField("accepted")
    assert {event.WhichOneof("event") for event in events[1:-1]} <= {"delta"}
    return [token.id for event in events for token in event.delta.tokens], from_fault(events[-1].fault)


def test_tokens_come_through_with_the_use_of_the_cache(client: Client, scripted: ScriptedVllm) -> None:
    answer = complete(client, generation())
    assert answer.usage.completion_tokens == 6
    assert answer.usage.cached_prompt_tokens == 3
    (body,) = scripted.bodies
    assert (body["model"], body["prompt"], body["max_tokens"]) == ("tiny", [5, 6, 7], 6)


def test_the_key_is_shown_to_the_server_and_to_nobody_else(
    client: Client, scripted: ScriptedVllm, teacher_before_it: Serving
) -> None:
    wait_for(lambda: scripted.headers, "the teacher to look after its server")
    assert {headers["Authorization"] for headers in scripted.headers} == {"Bearer s3cr3t-key"}
    assert "s3cr3t" not in teacher_before_it.log()


def two_then(*rest: bytes, end: type[Exception] | None = None) -> Any:
    """Two tokens, and then something."""

    def script(body: Body) -> Iterator[bytes]:
        yield event(10, wanted=body.get("logprobs"))
        yield event(11, wanted=body.get("logprobs"))
        yield from rest
        if end is not None:
            raise end

    return script


BROKEN = {
    "cut": two_then(end=Cut),
    "cut in a line": two_then(b'data: {"choices": [{"tok', end=Cut),
    "over without its end": two_then(),
    "done without a reason": two_then(DONE),
    "cut after the last token": two_then(event(12, finish="length"), end=Cut),
    "an error": two_then(data({"error": {"message": "EngineCore died", "code": 500}}), DONE),
    "an end by the server": two_then(event(finish="abort"), DONE),
    "no JSON": two_then(b"data: <html>\n\n", DONE),
    "no UTF-8": two_then(b'data: {"choices": "\xff"}\n\n', DONE),
    "other JSON": two_then(data({"choices": [{"token_ids": ["a"]}]}), DONE),
    "no ids": two_then(data({"choices": [{"text": "hi"}]}), DONE),
    "a token outside": two_then(event(320), DONE),
    "an endless line": two_then(b"data: " + b"x" * (2 * 2**20)),
}


@pytest.mark.parametrize("script", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_stream_ends_with_one_fault_that_may_be_tried_again(
    client: Client, scripted: ScriptedVllm, script: Any
) -> None:
    scripted.script = script
    tokens, error = tokens_and_fault(client, generation())
    assert tokens == [10, 11]
    assert isinstance(error, Unavailable)
    assert (error.reason, error.retry_after_s > 0) == ("RANKS_LOST", True)
    assert "external server" in error.message
    scripted.script = well
    assert complete(client, generation()).usage.completion_tokens == 6


def test_log_probabilities_of_other_tokens_are_refused(client: Client, scripted: ScriptedVllm) -> None:
    scripted.script = lambda _: [event(10), DONE]
    tokens, error = tokens_and_fault(client, generation(logprobs=True))
    assert not tokens
    assert isinstance(error, Unavailable)


def test_an_end_that_nobody_asked_for_is_no_good_end(client: Client, scripted: ScriptedVllm) -> None:
    scripted.script = two_then(event(12, finish="length"), DONE)
    tokens, error = tokens_and_fault(client, generation())
    assert tokens == [10, 11, 12]
    assert isinstance(error, Unsupported)
    assert "3 of 6 tokens" in error.message


def test_text_with_what_unicode_calls_a_line_s_end_breaks_no_line(client: Client, scripted: ScriptedVllm) -> None:
    scripted.script = lambda _: [event(10, finish="length", text="a\u2028b\x85c\u2029"), DONE]
    request = generation(stopping=generate_pb2.Stopping(token_ids=[10]))
    assert complete(client, request).usage.completion_tokens == 1


REFUSALS: dict[str, tuple[int, Body | str, type[SeodangError], str]] = {
    "wants less": (
        400,
        {"error": {"message": "logprobs of 30, max allowed: 20", "param": "logprobs"}},
        Unsupported,
        "max allowed: 20",
    ),
    "is full": (429, "", Exhausted, "429"),
    "wants a key": (401, {"error": "Unauthorized"}, Unavailable, "key"),
    "has a fault": (500, {"error": {"message": "CUDA out of memory"}}, Unavailable, "CUDA out of memory"),
    "is a proxy": (502, "<html>Bad Gateway</html>", Unavailable, "Bad Gateway"),
    "knows no such model": (404, {"error": {"message": "The model does not exist"}}, Unavailable, "does not exist"),
}


@pytest.mark.parametrize(("status", "answer", "kind", "words"), REFUSALS.values(), ids=REFUSALS.keys())
def test_a_server_that_refuses_is_quoted(
    client: Client, scripted: ScriptedVllm, status: int, answer: Body | str, kind: type[SeodangError], words: str
) -> None:
    scripted.refusal = (status, answer)
    tokens, error = tokens_and_fault(client, generation())
    assert not tokens
    assert type(error) is kind
    assert words in error.message
    assert scripted.url in error.message
    assert error.metadata == ({"field": "top_logprobs"} if kind is Unsupported else {})


def test_a_deadline_ends_the_request_there_too(client: Client, scripted: ScriptedVllm) -> None:
    scripted.script = two_then(end=Hang)
    with pytest.raises(DeadlineExpired):
        list(client.inference.Generate(generation(), timeout=1.0))
    assert scripted.left.wait(30)


def test_a_caller_who_leaves_ends_the_request_there_too(client: Client, scripted: ScriptedVllm) -> None:
    scripted.script = two_then(end=Hang)
    stream = client.inference.Generate(generation(), timeout=60)
    assert next(stream).HasField("accepted")
    assert next(stream).HasField("delta")
    stream.cancel()
    assert scripted.left.wait(30)


def test_a_stop_string_ends_the_request_there_too(client: Client, scripted: ScriptedVllm) -> None:
    said = complete(client, generation(new=2)).text
    scripted.script = two_then(end=Hang)
    stopped = complete(client, generation(stopping=generate_pb2.Stopping(strings=[said])))
    assert stopped.reason == generate_pb2.FINISH_REASON_STOP_STRING
    assert not stopped.text
    assert scripted.left.wait(30)


def test_a_server_that_goes_away_takes_readiness_along_and_brings_it_back(
    scripted: ScriptedVllm, teacher_before_it: Serving
) -> None:
    with Client(teacher_before_it.address) as client:
        scripted.forget()
        scripted.script = two_then(end=Hang)
        with scripted.up():
            wait_for(teacher_before_it.is_ready, "the teacher to be ready")
            stream = client.inference.Generate(generation(), timeout=60)
            assert [next(stream).WhichOneof("event") for _ in range(2)] == ["accepted", "delta"]
        error = from_fault(list(stream)[-1].fault)
        assert isinstance(error, Unavailable)
        assert error.reason == "RANKS_LOST"

        wait_for(lambda: not teacher_before_it.is_ready(), "the teacher to be not ready")
        assert state(client) == model_pb2.MODEL_STATE_RECOVERING
        with pytest.raises(Unavailable, match="does not answer") as caught:
            complete(client, generation())
        assert caught.value.retry_after_s > 0

        scripted.forget()
        with scripted.up():
            wait_for(teacher_before_it.is_ready, "the teacher to be ready again")
            assert state(client) == model_pb2.MODEL_STATE_READY
            assert complete(client, generation()).usage.completion_tokens == 6


def test_a_sick_server_fails_what_waits_and_what_runs(client: Client, scripted: ScriptedVllm) -> None:
    """Its connections stay open, as those of a server do whose engine is gone."""
    scripted.script = two_then(end=Hang)
    streams = [client.inference.Generate(generation(), timeout=60) for _ in range(4)]
    assert all(next(stream).HasField("accepted") for stream in streams)
    scripted.status = 503
    ends = [from_fault(list(stream)[-1].fault) for stream in streams]
    assert {(type(error), error.reason) for error in ends} == {(Unavailable, "RANKS_LOST")}


NOT_BACK: dict[str, dict[str, Any]] = {
    "and generates nothing": {"proof": lambda _: [data({"error": {"message": "dead"}}), DONE]},
    "with another model": {"models": [{"id": "other", "max_model_len": 256, "parent": None}]},
    "with another context": {"models": [{"id": "tiny", "max_model_len": 128, "parent": None}]},
}


@pytest.mark.parametrize("changes", NOT_BACK.values(), ids=NOT_BACK.keys())
def test_a_server_that_is_back_must_do_what_it_did(
    client: Client, scripted: ScriptedVllm, teacher_before_it: Serving, changes: dict[str, Any]
) -> None:
    scripted.status = 503
    wait_for(lambda: not teacher_before_it.is_ready(), "the teacher to be not ready")
    for name, value in changes.items():
        setattr(scripted, name, value)
    scripted.headers.clear()
    scripted.status = 200
    wait_for(lambda: len(scripted.headers) >= 2, "the teacher to look twice")
    assert not teacher_before_it.is_ready()
    assert state(client) == model_pb2.MODEL_STATE_RECOVERING


def proof_of(logprob: float) -> Script:
    return lambda _: [event(10, finish="length", wanted=0, logprob=logprob), DONE]


REFUSED_AT_THE_START: dict[str, tuple[dict[str, Any], dict[str, str], str]] = {
    "another model": ({}, {"ENGINE_MODEL": "huge"}, "no model 'huge': name one of tiny"),
    "several models": (
        {"models": [{"id": name, "max_model_len": 256, "parent": None} for name in "ab"]}, {}, "name one of a, b",
    ),
    "log-probabilities after the filters": ({"proof": proof_of(0.0)}, {}, "--logprobs-mode raw_logprobs"),
    "logits": ({"proof": proof_of(12.5)}, {}, "--logprobs-mode raw_logprobs"),
    "no vLLM": ({"models": [{"id": "tiny"}]}, {}, "max_model_len"),
    "a key in the address": ({}, {"ENGINE_URL": "http://me:s3cr3t@127.0.0.1:1"}, "a key beside it"),
    "no address": ({}, {"ENGINE_URL": "10.0.0.5:8000"}, "give an address such as"),
    "ranks": ({}, {"TP": "2"}, "for our own engine"),
    "a drafter": ({}, {"DRAFT_FOLDER": "models/small"}, "for our own engine"),
    "a depth for nobody": ({}, {"ENGINE_URL": "", "DRAFT_DEPTH": "2"}, "set draft_folder too"),
    "a key for nobody": ({}, {"ENGINE_URL": "", "ENGINE_API_KEY": "s3cr3t"}, "set engine_url too"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "settings", "words"), REFUSED_AT_THE_START.values(), ids=REFUSED_AT_THE_START.keys()
)
def test_a_start_that_cannot_work_ends_with_the_cause(
    checkpoints: Path, changes: dict[str, Any], settings: dict[str, str], words: str
) -> None:
    scripted = ScriptedVllm()
    for name, value in changes.items():
        setattr(scripted, name, value)
    given = {"FOLDER": str(checkpoints / "qwen3"), "PORT": "0", "ENGINE_URL": scripted.url, "THREADS": "1"} | settings
    env = os.environ | {f"SEODANG_TEACHER_{name}": value for name, value in given.items()}
    with scripted.up():
        done = subprocess.run(
            [sys.executable, "-m", "seodang.teacher"], env=env, capture_output=True, text=True, check=False, timeout=100
        )
    assert done.returncode == 2
    assert words in done.stderr
    assert "s3cr3t" not in done.stderr
    assert "Traceback" not in done.stderr
