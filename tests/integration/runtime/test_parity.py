"""The same tokens and log-probabilities as transformers, however the work is cut and mixed."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.tiny_engines import (
    complete,
    completion_of,
    drain,
    engine_of,
    generate_by_transformers,
    prompt_of,
    tokens_of,
)
from transformers import PreTrainedModel

from seodang.base.errors import Unsupported
from seodang.runtime.checkpoint import Checkpoint
from seodang.runtime.kernels.native_kernels import FEW_TOKENS
from seodang.worker.messages import Score, ScoreChunk, TokenPrompt

NEW_TOKENS = 24
PROMPTS = [prompt_of(length, seed) for seed, length in enumerate((1, 5, 16, 17, 33, 60))]


@pytest.fixture(scope="module")
def expected(oracle: PreTrainedModel) -> list[list[int]]:
    return [generate_by_transformers(oracle, prompt, NEW_TOKENS) for prompt in PROMPTS]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"prefill_tokens": 7},
        {"max_batch": 2},
        {"prefill_tokens": 16, "max_batch": 3},
    ],
    ids=["all together", "prompts in chunks of 7", "two at a time", "both"],
)
def test_greedy_tokens_equal_transformers(folder: Path, expected: list[list[int]], options: dict[str, Any]) -> None:
    commands = [completion_of(str(i), prompt, NEW_TOKENS) for i, prompt in enumerate(PROMPTS)]
    results = complete(engine_of(folder, **options), *commands)
    assert [results[str(i)] for i in range(len(PROMPTS))] == expected


def test_layers_of_transformers_give_the_same_tokens(folder: Path, expected: list[list[int]]) -> None:
    own = {"prefill_tokens": 24, "implementation": "transformers"}
    if "conv" in Checkpoint.open(folder).config.get("layer_types", ()):
        with pytest.raises(Unsupported, match="layers of kind conv keep a state"):
            engine_of(folder, **own)
        return
    commands = [completion_of(str(i), prompt, NEW_TOKENS) for i, prompt in enumerate(PROMPTS)]
    results = complete(engine_of(folder, **own), *commands)
    assert [results[str(i)] for i in range(len(PROMPTS))] == expected


def test_a_reused_prefix_gives_the_same_tokens(folder: Path, expected: list[list[int]]) -> None:
    engine = engine_of(folder)
    for round_ in ("a", "b"):
        commands = [completion_of(f"{round_}{i}", prompt, NEW_TOKENS) for i, prompt in enumerate(PROMPTS)]
        results = complete(engine, *commands)
        assert [results[f"{round_}{i}"] for i in range(len(PROMPTS))] == expected


def test_answers_of_less_than_a_block_beside_a_longer_prompt_keep_their_tokens(
    folder: Path, expected: list[list[int]]
) -> None:
    """All who decode hold one block, and the table of the step has more columns: those of the longer prompt."""
    engine = engine_of(folder)
    short = [completion_of(f"s{i}", PROMPTS[0], 8) for i in range(3)]
    results = complete(engine, *short, completion_of("long", PROMPTS[-1], 8))
    assert [results[f"s{i}"] for i in range(3)] == [expected[0][:8]] * 3
    assert results["long"] == expected[-1][:8]


def test_random_arrivals_cancellations_and_preemptions_change_no_token(folder: Path, expected: list[list[int]]) -> None:
    """A cache of 13 blocks holds two long sequences at most."""
    probe = engine_of(folder)
    block_bytes = probe.executor.cache.bytes_per_token * 16
    preemptions = 0
    for seed in range(3):
        rng = random.Random(seed)
        engine = engine_of(folder, cache_bytes=block_bytes * 14, prefill_tokens=rng.choice((5, 16, 64)), max_batch=4)
        events, wanted, cancelled = [], {}, set()
        for number in range(14):
            which = rng.randrange(len(PROMPTS))
            name = f"{number}"
            engine.generate(completion_of(name, PROMPTS[which], NEW_TOKENS, priority=rng.randrange(3)))
            wanted[name] = expected[which]
            for _ in range(rng.randrange(6)):
                events += engine.step()
            if rng.random() < 0.3:
                victim = rng.choice(sorted(wanted))
                if engine.cancel(victim):
                    cancelled.add(victim)
        events += drain(engine)
        preemptions += engine.scheduler.preemptions
        for name, tokens in wanted.items():
            got = tokens_of(events, name)
            assert got == (tokens[: len(got)] if name in cancelled else tokens), f"seed {seed}, request {name}"
        assert engine.scheduler.pool.available == 13
    assert preemptions >= 3, "the cache was meant to be too small"


def test_a_crowd_too_large_for_the_decode_kernels_changes_no_token(folder: Path, expected: list[list[int]]) -> None:
    """Steps of more tokens than the kernels take go by torch: arrivals and ends lead across that border and back."""
    engine = engine_of(folder, max_batch=FEW_TOKENS + 16)
    events, wanted = [], {}
    for number in range(FEW_TOKENS + 16):
        which = number % len(PROMPTS)
        engine.generate(completion_of(f"{number}", PROMPTS[which], NEW_TOKENS))
        wanted[f"{number}"] = expected[which]
        if number % 3 == 0:
            events += engine.step()
    most = 0
    while engine.busy:
        most = max(most, engine.scheduler.running)
        events += engine.step()
    assert most > FEW_TOKENS
    assert {name: tokens_of(events, name) for name in wanted} == wanted


def test_a_machine_without_a_compiler_says_the_same(
    folder: Path, expected: list[list[int]], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    engine = engine_of(folder, prefill_tokens=24)
    assert "run on plain torch" in caplog.text
    commands = [completion_of(str(i), prompt, NEW_TOKENS) for i, prompt in enumerate(PROMPTS)]
    results = complete(engine, *commands)
    assert [results[str(i)] for i in range(len(PROMPTS))] == expected


def test_log_probabilities_of_a_prompt_agree_to_1e_4(folder: Path, oracle: PreTrainedModel) -> None:
    prompt = prompt_of(60, seed=5)
    with torch.inference_mode():
        expected = oracle(torch.tensor([prompt])).logits[0].log_softmax(-1)
    for chunk in (7, 60):
        engine = engine_of(folder)
        engine.score(
            Score(
                request_id="s",
                model_id="tiny",
                prompt=TokenPrompt(token_ids=prompt),
                top_k=320,
                chunk_positions=chunk,
            ),
            credits_=100,
        )
        chunks = [event for event in drain(engine) if isinstance(event, ScoreChunk)]
        assert [c.start for c in chunks] == list(range(0, 60, chunk))
        assert [c.last for c in chunks] == [False] * (len(chunks) - 1) + [True]
        ids = np.concatenate([c.top_ids.to_numpy() for c in chunks if c.top_ids])
        values = np.concatenate([c.top_logprobs.to_numpy() for c in chunks if c.top_logprobs])
        np.testing.assert_allclose(values, expected.gather(1, torch.tensor(ids).long()).numpy(), atol=1e-4)


def test_the_cache_of_a_latent_model_is_the_latent(axk1_folder: Path) -> None:
    """kv_lora_rank 32 and one rotary key of 8, float32, 3 layers; expanded it would be 4 heads x (24 + 16)."""
    assert engine_of(axk1_folder).executor.cache.bytes_per_token == (32 + 8) * 4 * 3


def test_bfloat16_runs_and_stays_near_float32(axk1_folder: Path) -> None:
    def next_logprobs(dtype: str) -> np.ndarray:
        engine = engine_of(axk1_folder, dtype=dtype)
        engine.score(Score(request_id="s", model_id="tiny", prompt=TokenPrompt(token_ids=prompt_of(40))), credits_=9)
        (chunk,) = drain(engine)
        assert isinstance(chunk, ScoreChunk)
        return chunk.next_logprobs.to_numpy()[:-1]

    assert np.abs(next_logprobs("bfloat16") - next_logprobs("float32")).mean() < 0.1
