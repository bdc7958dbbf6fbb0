"""Two gloo ranks: every layout gives one rank's tokens, and the group lives and dies as one."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
import torch
from msgspec import structs
from tests.tiny_checkpoints import build
from tests.tiny_engines import complete, completion_of, drain, engine_of, prompt_of

from seodang.base.errors import InvalidInput, Unavailable
from seodang.runtime.checkpoint import Checkpoint
from seodang.worker import EngineHost, HostSettings, HostState
from seodang.worker.messages import (
    Generate,
    Layout,
    LoadOptions,
    SamplingParams,
    Score,
    TokenDelta,
    TokenPrompt,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")
LAYOUTS = {"tp": Layout(tp=2), "tp+ep": Layout(tp=2, ep=2), "pp": Layout(pp=2)}
PROMPTS = {f"{length}": prompt_of(length, length) for length in (3, 16, 40)}
NEW_TOKENS = 16
LONG = 200


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def host() -> AsyncIterator[EngineHost]:
    torch.set_num_threads(1)
    settings = HostSettings(ranks=2, threads=1, restart_backoff_s=0.1, heartbeat_timeout_s=6.0)
    async with EngineHost.start(settings) as host:
        yield host


def options(layout: Layout, implementation: Any = "auto") -> LoadOptions:
    return LoadOptions(layout=layout, cache_bytes=2**21, prefill_tokens=24, implementation=implementation)


async def tokens_of(host: EngineHost, command: Generate) -> list[int]:
    events = [event async for event in host.generate(command)]
    return [token for event in events if isinstance(event, TokenDelta) for token in event.token_ids]


def command_of(model_id: str, name: str, new_tokens: int = NEW_TOKENS) -> Generate:
    return Generate(
        request_id=f"{model_id}/{name}",
        model_id=model_id,
        prompt=TokenPrompt(token_ids=PROMPTS[name]),
        sampling=SamplingParams(temperature=0.0),
        max_new_tokens=new_tokens,
        ignore_eos=True,
    )


@pytest.mark.parametrize(
    ("family", "name", "implementation"),
    [
        ("axk1", "tp", "auto"),
        ("axk1", "tp+ep", "auto"),
        ("axk1", "pp", "auto"),
        ("lfm2", "tp", "auto"),
        ("lfm2", "pp", "auto"),
        ("llama", "tp", "auto"),
        ("qwen3", "tp", "auto"),
        ("qwen3", "pp", "auto"),
        ("axk1", "tp+ep", "transformers"),
        ("axk1", "pp", "transformers"),
        ("qwen3", "tp", "transformers"),
    ],
)
async def test_two_ranks_say_what_one_rank_says(
    host: EngineHost, folders: dict[str, Path], family: str, name: str, implementation: str
) -> None:
    alone = engine_of(folders[family])
    expected = complete(alone, *(completion_of(key, prompt, NEW_TOKENS) for key, prompt in PROMPTS.items()))
    model_id = f"{family}-{name}-{implementation}"
    info = await host.load(model_id, str(folders[family]), options=options(LAYOUTS[name], implementation))
    got = await asyncio.gather(*(tokens_of(host, command_of(model_id, key)) for key in PROMPTS))
    assert dict(zip(PROMPTS, got, strict=True)) == expected
    score = Score(
        request_id=f"s-{model_id}",
        model_id=model_id,
        prompt=TokenPrompt(token_ids=PROMPTS["40"]),
        top_k=3,
        entropy=True,
        hidden_states=True,
        chunk_positions=15,
    )
    alone.score(score, credits_=10)
    for chunk, reference in zip([chunk async for chunk in host.score(score)], drain(alone), strict=True):
        for field in ("logsumexp", "top_logprobs", "entropy", "tail_mass"):
            np.testing.assert_allclose(
                getattr(chunk, field).to_numpy(), getattr(reference, field).to_numpy(), atol=1e-4, err_msg=field
            )
    whole = sum(entry.end - entry.begin for entry in Checkpoint.open(folders[family]).tensors.values())
    assert info.weight_bytes < 0.7 * whole
    assert info.bytes_read == pytest.approx(info.weight_bytes, rel=0.02)
    await host.unload(model_id)


@pytest.mark.parametrize("name", ["tp", "tp+ep"])
async def test_int4_is_the_same_over_two_ranks_as_on_one(host: EngineHost, tmp_path: Path, name: str) -> None:
    folder = build(tmp_path, "axk1", intermediate_size=128, moe_intermediate_size=64)
    alone = engine_of(folder, dtype="int4")
    expected = complete(alone, *(completion_of(key, prompt, NEW_TOKENS) for key, prompt in PROMPTS.items()))
    info = await host.load(name, str(folder), options=structs.replace(options(LAYOUTS[name]), dtype="int4"))
    got = await asyncio.gather(*(tokens_of(host, command_of(name, key)) for key in PROMPTS))
    assert dict(zip(PROMPTS, got, strict=True)) == expected
    assert info.dtype == "int4"
    await host.unload(name)


async def test_ranks_that_would_part_a_group_of_int4_refuse(host: EngineHost, folders: dict[str, Path]) -> None:
    narrow = structs.replace(options(LAYOUTS["tp"]), dtype="int4")
    with pytest.raises(
        InvalidInput, match=r"tp=2 gives a rank 48 of the 96 inputs of .*; take tp of 1, 3, or dtype int8"
    ):
        await host.load("parted", str(folders["axk1"]), options=narrow)
    assert host.health().state is HostState.READY


async def test_the_head_comes_together_from_all_ranks(host: EngineHost, folders: dict[str, Path]) -> None:
    expected = engine_of(folders["axk1"]).executor.head(slice(0, 320)).numpy()
    for name in ("tp", "pp"):
        await host.load(name, str(folders["axk1"]), options=options(LAYOUTS[name]))
        rows = [chunk.weight.to_numpy() async for chunk in host.fetch_head(name, chunk_rows=100)]
        np.testing.assert_array_equal(np.concatenate(rows), expected)
        await host.unload(name)


async def test_a_layout_that_does_not_fill_the_group_is_refused(host: EngineHost, folders: dict[str, Path]) -> None:
    with pytest.raises(InvalidInput, match="needs 1 ranks, this group has 2"):
        await host.load("single", str(folders["axk1"]))


async def test_a_fault_that_all_ranks_meet_leaves_the_group_alive(host: EngineHost, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InvalidInput, match=r"neither model\.safetensors"):
        await host.load("empty", str(tmp_path), options=options(LAYOUTS["tp"]))
    assert host.health().state is HostState.READY


@pytest.mark.parametrize(("rank", "how"), [(1, signal.SIGKILL), (1, signal.SIGSTOP), (0, signal.SIGSTOP)])
async def test_a_rank_killed_or_hung_restarts_the_whole_group(
    host: EngineHost, folders: dict[str, Path], rank: int, how: signal.Signals
) -> None:
    await host.load("m", str(folders["axk1"]), options=options(LAYOUTS["tp"]))
    expected = await tokens_of(host, command_of("m", "16"))
    before = {health.pid for health in host.health().ranks}
    restarts = host.health().restarts
    async with aclosing(host.generate(command_of("m", "40", LONG))) as lost:
        await anext(lost)
        os.kill(host.health().ranks[rank].pid, how)
        with pytest.raises(Unavailable, match="lost") as caught:
            async for _ in lost:
                pass
    assert caught.value.retry_after_s > 0
    deadline = asyncio.get_running_loop().time() + 60
    while host.health().state is not HostState.READY or host.health().restarts == restarts:
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.05)
    assert not before & {health.pid for health in host.health().ranks}
    assert f"rank {rank}" in host.health().last_fault
    assert await tokens_of(host, command_of("m", "16")) == expected
    for pid in before:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_leaving_the_host_leaves_no_process(folders: dict[str, Path]) -> None:
    async with EngineHost.start(HostSettings(ranks=2, threads=1)) as host:
        pids = [health.pid for health in host.health().ranks]
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    with pytest.raises(Unavailable):
        await host.probe("m")
