"""With ``reproducible_scores`` a score has the same bits, whatever else is computed, cached or resumed."""

import random
from pathlib import Path

import numpy as np
from tests.tiny_engines import completion_of, drain, engine_of, prompt_of

from seodang.runtime.engine import Engine
from seodang.worker.messages import Event, Score, ScoreChunk, TokenPrompt
from seodang.worker.tensor import Tensor

SHARED = prompt_of(40, seed=9)
TEXTS = [SHARED + prompt_of(length, seed) for seed, length in enumerate((3, 17, 30, 55))] + [prompt_of(12), SHARED]
FIELDS = ("logsumexp", "next_logprobs", "top_logprobs", "tail_mass", "sample_logprobs", "entropy", "named_logprobs")


def score_of(which: int, start: int, request_id: str) -> Score:
    count = len(TEXTS[which]) - start
    named = np.arange(7, 7 + 3 * len(TEXTS[which]), dtype=np.int32).reshape(-1, 3)[start:]
    return Score(
        request_id=request_id,
        model_id="tiny",
        prompt=TokenPrompt(token_ids=TEXTS[which]),
        start=start,
        top_k=4,
        tail_samples=3,
        seed=5,
        entropy=True,
        hidden_states=True,
        named_ids=Tensor.from_numpy(named) if count else None,
        chunk_positions=16,
    )


def bits(events: list[Event], request_id: str) -> dict[str, bytes]:
    chunks = [event for event in events if isinstance(event, ScoreChunk) and event.request_id == request_id]
    assert chunks[-1].last
    names = (*FIELDS, "hidden_states")
    return {name: b"".join(getattr(chunk, name).data for chunk in chunks) for name in names}


def alone(engine: Engine, which: int, start: int = 0) -> dict[str, bytes]:
    engine.score(score_of(which, start, "s"), credits_=1000)
    return bits(drain(engine), "s")


def test_neither_company_nor_cache_nor_preemption_nor_a_resumption_changes_a_bit(folder: Path) -> None:
    expected = [alone(engine_of(folder, reproducible_scores=True), which) for which in range(len(TEXTS))]
    block_bytes = engine_of(folder).executor.cache.bytes_per_token * 16
    for seed in range(4):
        rng = random.Random(seed)
        engine = engine_of(
            folder,
            reproducible_scores=True,
            cache_bytes=block_bytes * rng.choice((16, 200)),
            prefill_tokens=rng.choice((16, 64)),
            max_batch=rng.choice((2, 8)),
        )
        events: list[Event] = []
        starts: dict[str, tuple[int, int]] = {}
        for number in range(20):
            which = rng.randrange(len(TEXTS))
            if rng.random() < 0.4:
                engine.generate(completion_of(f"g{number}", TEXTS[which], 9, priority=rng.randrange(2)))
            else:
                starts[f"s{number}"] = which, rng.randrange(len(TEXTS[which]))
                engine.score(score_of(*starts[f"s{number}"], f"s{number}"), credits_=1000)
            for _ in range(rng.randrange(4)):
                events += engine.step()
        events += drain(engine)
        for request_id, (which, start) in starts.items():
            got, length = bits(events, request_id), len(TEXTS[which])
            for name, whole in expected[which].items():
                assert got[name] == whole[len(whole) * start // length :], f"seed {seed}, {request_id}, {name}"
