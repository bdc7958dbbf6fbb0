"""A draft model makes completions come sooner, and changes nothing else."""

import json
import random
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.tiny_checkpoints import VOCAB_SIZE, build
from tests.tiny_engines import complete, completion_of, drain, end_of, engine_of, prompt_of, reference, tokens_of

from seodang.base.errors import InvalidInput
from seodang.runtime.engine import Engine
from seodang.runtime.pace import Pace
from seodang.worker.messages import Draft, Event, FinishReason, Generate, Regex, SamplingParams, TokenDelta

DEPTH = 4
SAMPLES = 3_000
PROMPTS = [prompt_of(length, seed) for seed, length in enumerate((1, 5, 16, 17, 33, 60))]
# Seeds whose draws keep clear of borders: logits differ by 1e-5 between steps of other sizes, draft or no draft.
WAYS = [
    SamplingParams(temperature=0.0),
    SamplingParams(temperature=1.0, seed=3),
    SamplingParams(temperature=0.8, top_p=0.9, top_k=40, min_p=0.01, seed=14),
    SamplingParams(temperature=1.0, seed=5, repetition_penalty=1.3, presence_penalty=0.5, frequency_penalty=0.2),
    SamplingParams(temperature=0.0, logit_bias={9: 4.0, 30: -5.0}, repetition_penalty=1.1),
]


@pytest.fixture(scope="session")
def near(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model with a little noise on its weights: a draft that is often right."""
    copy = tmp_path_factory.mktemp("near") / "draft"
    shutil.copytree(folder, copy)
    generator = torch.Generator().manual_seed(1)
    for shard in copy.glob("*.safetensors"):
        tensors = load_file(shard)
        noisy = {name: t + 0.05 * t.std() * torch.randn(t.shape, generator=generator) for name, t in tensors.items()}
        save_file(noisy, shard, {"format": "pt"})
    return copy


def speculating(folder: Path, draft: Path, depths: tuple[int, ...] = (DEPTH,), **options: object) -> Engine:
    """An engine that drafts as deep as it may, so that no test depends on the machine."""
    engine = engine_of(folder, draft=Draft(folder=str(draft), depth=DEPTH, cache_bytes=2**22), **options)
    assert engine.speculation is not None
    engine.speculation.paces.default_factory = lambda: Pace(depths)
    return engine


def commands(tag: str, new_tokens: int = 16) -> list[Generate]:
    """Every prompt in every way of sampling."""
    pairs = [(prompt, way) for prompt in PROMPTS for way in WAYS]
    return [completion_of(f"{tag}{i}", prompt, new_tokens, sampling=way) for i, (prompt, way) in enumerate(pairs)]


def second_tokens(events: Iterable[Event]) -> Iterator[TokenDelta]:
    """The second delta of every request."""
    seen = Counter[str]()
    for event in events:
        if isinstance(event, TokenDelta):
            seen[event.request_id] += 1
            if seen[event.request_id] == 2:
                yield event


def assert_no_block_leaks(engine: Engine) -> None:
    assert engine.speculation is not None
    assert engine.scheduler.pool.available == engine.executor.cache.blocks - 1
    assert engine.speculation.drafter.held_blocks == 0


@pytest.mark.parametrize("depths", [(DEPTH,), (0, 2, DEPTH)])
def test_every_way_of_sampling_gives_the_same_tokens(folder: Path, near: Path, depths: tuple[int, ...]) -> None:
    expected = complete(engine_of(folder), *commands(""))
    engine = speculating(folder, near, depths)
    assert complete(engine, *commands("")) == expected
    assert_no_block_leaks(engine)


def test_right_guesses_are_kept_and_wrong_ones_are_not(folder: Path, near: Path) -> None:
    for draft, least, most in ((folder, 0.8, 1.0), (near, 0.05, 0.95)):
        engine = speculating(folder, draft)
        for command in commands(""):
            engine.generate(command)
        events = drain(engine)
        usages = [end_of(events, command.request_id).usage for command in commands("")]
        drafted, accepted = (sum(getattr(u, name) for u in usages) for name in ("drafted_tokens", "accepted_tokens"))
        assert least <= accepted / drafted <= most, (draft, accepted, drafted)


def test_a_perfect_draft_saves_steps(folder: Path) -> None:
    engine = speculating(folder, folder)
    engine.generate(completion_of("x", PROMPTS[2], 40))
    steps = 0
    while engine.busy:
        engine.step()
        steps += 1
    assert steps == 1 + -(-39 // (DEPTH + 1))


def test_stops_and_log_probabilities_are_the_same(folder: Path, near: Path) -> None:
    plain, engine = engine_of(folder), speculating(folder, near)
    tokens = complete(plain, completion_of("x", PROMPTS[3], 20))["x"]
    stop = tokens[9]
    deltas = []
    for each in (plain, engine):
        each.generate(completion_of("y", PROMPTS[3], 20, stop_token_ids=(stop,), top_logprobs=3))
        events = drain(each)
        assert end_of(events, "y").reason is FinishReason.STOP_TOKEN
        deltas.append([event for event in events if isinstance(event, TokenDelta)])
    assert [delta.token_ids for delta in deltas[0]] == [delta.token_ids for delta in deltas[1]]
    for one, other in zip(*deltas, strict=True):
        pairs = zip(one.logprobs[0].top, other.logprobs[0].top, strict=True)
        assert all(abs(a.logprob - b.logprob) < 1e-4 and a.token_id == b.token_id for a, b in pairs)


def test_a_constraint_holds_at_every_guess(folder: Path, near: Path) -> None:
    constraint = Regex(pattern="[a-z]{3}( [0-9]{2}){4}")
    command = completion_of("x", PROMPTS[1], 60, constraint=constraint, ignore_eos=False)
    expected = complete(engine_of(folder), command)["x"]
    assert complete(speculating(folder, near), command)["x"] == expected


def test_random_arrivals_cancellations_and_preemptions_change_no_token(folder: Path, near: Path) -> None:
    wanted = complete(engine_of(folder), *commands(""))
    block_bytes = engine_of(folder).executor.cache.bytes_per_token * 16
    for seed in range(2):
        rng = random.Random(seed)
        engine = speculating(
            folder, near, cache_bytes=block_bytes * 14, prefill_tokens=rng.choice((5, 64)), max_batch=4
        )
        events, running, cancelled = [], [], set()
        for command in rng.sample(commands(""), 14):
            engine.generate(command)
            running.append(command.request_id)
            for _ in range(rng.randrange(4)):
                events += engine.step()
            if rng.random() < 0.3 and engine.cancel(victim := rng.choice(running)):
                cancelled.add(victim)
        events += drain(engine)
        for name in running:
            got = tokens_of(events, name)
            assert got == (wanted[name][: len(got)] if name in cancelled else wanted[name]), f"seed {seed}, {name}"
        assert_no_block_leaks(engine)


def test_a_draft_cache_that_is_too_small_drafts_for_fewer(folder: Path, near: Path) -> None:
    expected = complete(engine_of(folder), *commands(""))
    engine = engine_of(folder, draft=Draft(folder=str(near), depth=DEPTH, cache_bytes=2**17))
    assert complete(engine, *commands("")) == expected
    assert_no_block_leaks(engine)


def test_a_draft_that_reads_less_drafts_for_the_shorter_ones(folder: Path, near: Path, tmp_path: Path) -> None:
    """It has places for 32 tokens; some prompts alone are longer."""
    short = tmp_path / "short"
    shutil.copytree(near, short)
    config = json.loads((short / "config.json").read_text())
    (short / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 32}))
    expected = complete(engine_of(folder), *commands(""))
    engine = speculating(folder, short)
    assert complete(engine, *commands("")) == expected
    assert_no_block_leaks(engine)


def test_layers_of_transformers_check_guesses_too(axk1_folder: Path) -> None:
    own = {"implementation": "transformers"}
    expected = complete(engine_of(axk1_folder, **own), *commands(""))
    assert complete(speculating(axk1_folder, axk1_folder, **own), *commands("")) == expected


def test_sampled_tokens_follow_the_served_model_and_not_the_draft(axk1_folder: Path, tmp_path: Path) -> None:
    """Chi-squared over the second token, drawn behind a stranger's guess, against its exact marginal distribution."""
    engine = speculating(axk1_folder, build(tmp_path / "draft", "llama"), max_batch=64, max_waiting=SAMPLES)
    prompt = torch.tensor(PROMPTS[1])
    model = reference(axk1_folder)
    with torch.inference_mode():
        first_V = model(prompt[None]).logits[0, -1].softmax(-1)
        prompts_VT = torch.cat([prompt.expand(VOCAB_SIZE, -1), torch.arange(VOCAB_SIZE)[:, None]], dim=1)
        second_VV = model(prompts_VT).logits[:, -1].softmax(-1)
    exact = (first_V @ second_VV).double().numpy()
    for seed in range(SAMPLES):
        way = SamplingParams(temperature=1.0, seed=seed)
        engine.generate(completion_of(str(seed), PROMPTS[1], 3, sampling=way))
    drawn = Counter(event.token_ids[0] for event in second_tokens(drain(engine)))
    likely = np.flatnonzero(exact * SAMPLES >= 5)  # the others share a cell
    observed = np.append([drawn[int(token)] for token in likely], 0)
    expected = np.append(exact[likely], 0.0) * SAMPLES
    observed[-1], expected[-1] = SAMPLES - observed.sum(), SAMPLES - expected.sum()
    statistic, freedom = float(((observed - expected) ** 2 / expected).sum()), len(likely)
    assert freedom > 100
    assert abs(statistic - freedom) < 4 * (2 * freedom) ** 0.5


def test_a_draft_with_another_tokenizer_is_refused(folder: Path, near: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(near, other)
    text = (other / "tokenizer.json").read_text()
    (other / "tokenizer.json").write_text(text.replace('"<|user|>"', '"<|guest|>"'))
    with pytest.raises(InvalidInput, match="another tokenizer"):
        engine_of(folder, draft=Draft(folder=str(other)))


def test_a_draft_of_no_tokens_is_refused(folder: Path, near: Path) -> None:
    with pytest.raises(InvalidInput, match="draft at least 1"):
        engine_of(folder, draft=Draft(folder=str(near), depth=0))
