"""One engine process behind its async API: real processes, real sockets."""

import asyncio
import errno
import json
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio

from seodang.base.errors import AlreadyExists, InvalidInput, NotFound, SeodangError, Unavailable
from seodang.worker import EngineHost, HostSettings, HostState, ranks
from seodang.worker.messages import (
    Accepted,
    ChatMessage,
    ChatPrompt,
    Finished,
    FinishReason,
    Generate,
    LoadOptions,
    LoadProgress,
    SamplingParams,
    Score,
    TextPrompt,
    TokenDelta,
    TokenPrompt,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")
OPTIONS = LoadOptions(cache_bytes=2**22)
PROMPT = TokenPrompt(token_ids=tuple(range(10, 30)))
GREEDY = SamplingParams(temperature=0.0)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def host(folders: dict[str, Path]) -> AsyncIterator[EngineHost]:
    settings = HostSettings(threads=1, restart_backoff_s=0.1, stream_window_chunks=2)
    async with EngineHost.start(settings) as host:
        await host.load("teacher", str(folders["axk1"]), options=OPTIONS)
        yield host


def completion(request_id: str, new_tokens: int, **fields: object) -> Generate:
    settings = {"model_id": "teacher", "prompt": PROMPT, "sampling": GREEDY, "ignore_eos": True, **fields}
    return Generate(request_id=request_id, max_new_tokens=new_tokens, **settings)  # type: ignore[arg-type]


async def events_of(host: EngineHost, command: Generate) -> list[Accepted | TokenDelta | Finished]:
    return [event async for event in host.generate(command)]


async def tokens_of(host: EngineHost, command: Generate) -> list[int]:
    events = await events_of(host, command)
    return [token for event in events if isinstance(event, TokenDelta) for token in event.token_ids]


async def until(condition: object, timeout_s: float = 60.0) -> None:
    """Wait for a condition with a deadline."""
    assert callable(condition)
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.02)


async def test_a_completion_streams_from_acceptance_to_its_end(host: EngineHost) -> None:
    events = await events_of(host, completion("a", 5))
    assert [type(event).__name__ for event in events] == ["Accepted", *["TokenDelta"] * 5, "Finished"]


async def test_many_callers_share_the_batch_and_get_what_they_get_alone(host: EngineHost) -> None:
    commands = [completion(f"m{i}", 20, prompt=TokenPrompt(token_ids=tuple(range(7, 9 + i)))) for i in range(12)]
    together = await asyncio.gather(*(tokens_of(host, command) for command in commands))
    assert await tokens_of(host, commands[7]) == together[7]
    assert len({tuple(tokens) for tokens in together}) > 6


async def test_leaving_a_stream_frees_its_slot(host: EngineHost) -> None:
    async with aclosing(host.generate(completion("left", 200))) as events:
        async for event in events:
            if isinstance(event, TokenDelta):
                break
    assert host.health().requests == 0
    await until(lambda: host.health().ranks[0].running == 0)
    await tokens_of(host, completion("left", 1))  # the id is free again


async def test_errors_cross_the_socket_with_their_type_and_field(host: EngineHost) -> None:
    with pytest.raises(InvalidInput, match=r"temperature=-1\.0: must be 0 to 100") as caught:
        await events_of(host, completion("hot", 5, sampling=SamplingParams(temperature=-1.0)))
    assert caught.value.field == "sampling.temperature"
    with pytest.raises(InvalidInput, match="context holds 255 at most"):
        await events_of(host, completion("long", 5, prompt=TokenPrompt(token_ids=(9,) * 400)))
    with pytest.raises(NotFound, match="'other' is not loaded; loaded: teacher"):
        await events_of(host, completion("who", 5, model_id="other"))


async def test_an_id_under_way_is_refused(host: EngineHost) -> None:
    async with aclosing(host.generate(completion("twin", 100))) as first:
        await anext(first)
        with pytest.raises(AlreadyExists):
            await events_of(host, completion("twin", 1))


async def test_prompts_render_and_tokens_decode(host: EngineHost) -> None:
    chat = ChatPrompt(messages=(ChatMessage(role="user", content="안녕"),))
    rendered = await host.render("teacher", chat)
    assert rendered.text == "<|user|>안녕<eos><|assistant|>"
    assert await host.count_tokens("teacher", chat) == len(rendered.token_ids)
    assert await host.decode("teacher", rendered.token_ids, skip_special_tokens=False) == rendered.text


async def test_scores_stream_no_further_ahead_than_the_window(host: EngineHost) -> None:
    command = Score(request_id="s", model_id="teacher", prompt=PROMPT, top_k=3, chunk_positions=3)
    starts = []
    async for chunk in host.score(command):
        starts.append(chunk.start)
        await asyncio.sleep(0)
    assert starts == [0, 3, 6, 9, 12, 15, 18]


async def test_the_head_arrives_in_rows(host: EngineHost) -> None:
    chunks = [chunk async for chunk in host.fetch_head("teacher", chunk_rows=150)]
    assert [chunk.start for chunk in chunks] == [0, 150, 300]
    assert np.concatenate([chunk.weight.to_numpy() for chunk in chunks]).shape == (320, 64)


async def test_texts_embed(host: EngineHost) -> None:
    reply = await host.embed("teacher", [TextPrompt(text="서당"), TextPrompt(text="student")])
    assert reply.vectors.shape == (2, 64)


async def test_a_probe_is_a_real_completion(host: EngineHost) -> None:
    result = await host.probe("teacher")
    assert 0 <= result.token_id < 320
    assert result.first_token_s > 0
    with pytest.raises(NotFound):
        await host.probe("nobody")


async def test_models_come_and_go_while_others_serve(host: EngineHost, folders: dict[str, Path]) -> None:
    stream = asyncio.create_task(tokens_of(host, completion("steady", 150)))
    progress: list[LoadProgress] = []
    info = await host.load("student", str(folders["qwen3"]), options=OPTIONS, on_progress=progress.append)
    assert progress[-1].bytes_read == progress[-1].bytes_total == info.bytes_read
    assert {model.model_id for model in host.models()} == {"teacher", "student"}
    assert await host.load("student", str(folders["qwen3"]), options=OPTIONS) == info
    with pytest.raises(AlreadyExists):
        await host.load("student", str(folders["llama"]), options=OPTIONS)
    student = asyncio.create_task(tokens_of(host, completion("pupil", 5, model_id="student")))
    assert len(await student) == 5
    async with aclosing(host.generate(completion("victim", 230, model_id="student"))) as victim:
        await anext(victim)
        await host.unload("student")
        with pytest.raises(Unavailable, match="was unloaded"):
            async for _ in victim:
                pass
    with pytest.raises(NotFound):
        host.model("student")
    assert len(await stream) == 150


async def test_a_broken_checkpoint_is_refused_and_nothing_is_left(host: EngineHost, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "axk1"}))
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80")
    with pytest.raises(InvalidInput, match="pickle file") as caught:
        await host.load("bad", str(tmp_path))
    assert caught.value.reason == "BAD_CHECKPOINT"
    assert [model.model_id for model in host.models()] == ["teacher"]


async def test_a_killed_process_fails_its_requests_once_and_comes_back_with_its_models(host: EngineHost) -> None:
    expected = await tokens_of(host, completion("before", 10))
    pid = host.health().ranks[0].pid
    failures: list[SeodangError] = []
    try:
        async for event in host.generate(completion("lost", 200)):
            if isinstance(event, TokenDelta):
                os.kill(pid, signal.SIGKILL)
    except SeodangError as error:
        failures.append(error)
    (failure,) = failures
    assert isinstance(failure, Unavailable)
    assert failure.reason == "RANKS_LOST"
    with pytest.raises(Unavailable, match="restarting"):
        await tokens_of(host, completion("early", 1))
    await until(lambda: host.health().state is HostState.READY)
    assert host.health().restarts == 1
    assert host.health().ranks[0].pid != pid
    assert await tokens_of(host, completion("after", 10)) == expected


async def kill_and_wait(host: EngineHost) -> None:
    restarts = host.health().restarts
    os.kill(host.health().ranks[0].pid, signal.SIGKILL)
    await until(lambda: host.health().restarts > restarts and host.health().state is HostState.READY)


async def test_a_process_that_is_gone_before_it_can_be_killed_is_replaced(
    host: EngineHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread of asyncio collects the dead process; its event loop hears of that later."""

    def gone(pid: int, number: int) -> None:
        raise ProcessLookupError(pid, number)

    monkeypatch.setattr(ranks.os, "killpg", gone)
    await kill_and_wait(host)


async def test_an_error_that_nobody_foresaw_does_not_end_the_restarts(
    host: EngineHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, failures = tempfile.TemporaryDirectory, iter([OSError(errno.ENOSPC, "No space left on device")])

    def full_at_first(prefix: str) -> tempfile.TemporaryDirectory[str]:
        for error in failures:
            raise error
        return make(prefix=prefix)

    monkeypatch.setattr(ranks.tempfile, "TemporaryDirectory", full_at_first)
    await kill_and_wait(host)
    assert "No space left" in host.health().last_fault


async def test_the_finish_reason_is_typed(host: EngineHost) -> None:
    *_, last = await events_of(host, completion("end", 2))
    assert isinstance(last, Finished)
    assert last.reason is FinishReason.LENGTH


async def test_an_engine_that_cannot_start_says_so() -> None:
    with pytest.raises(Unavailable, match="did not start"):
        async with EngineHost.start(HostSettings(device="cuda", threads=1, ranks=2, start_timeout_s=60)):
            pass
