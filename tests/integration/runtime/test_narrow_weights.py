"""Matrices of int8 and int4: near the float32 model, in a fraction of its memory, on every path."""

from pathlib import Path

import numpy as np
import pytest
from tests.tiny_engines import complete, completion_of, drain, engine_of, prompt_of

from seodang.base.errors import Unsupported
from seodang.runtime.engine import Engine
from seodang.runtime.kernels.native_kernels import FEW_TOKENS
from seodang.runtime.kernels.weight import NARROW
from seodang.runtime.loading import load_engine
from seodang.runtime.sharding import Ranks
from seodang.worker.messages import LoadOptions, Prompt, Score, ScoreChunk, TextPrompt, TokenPrompt

BUNDLED = Path(__file__).parents[3] / "models" / "teacher-mini"
TEXTS = (
    "거실 불을 켜 줘",
    "turn off the lights in the bedroom and set the thermostat to twenty degrees",
    "서당에서는 훈장이 아이들에게 글을 가르쳤다. 아이들은 소리 내어 글을 읽었다.",
)
VOCABULARY = 320
PROMPT = TokenPrompt(token_ids=prompt_of(60, seed=5))
BOUNDS = {"int8": 0.02, "int4": 1.5}
"""Of the divergence from float32 in nats; the tiny models are random and wide, which is as hard as it gets."""
both_forms = pytest.mark.parametrize("dtype", BOUNDS)


def logprobs_of(engine: Engine, prompt: Prompt = PROMPT, top_k: int = VOCABULARY) -> np.ndarray:
    """[positions, vocabulary]; entries beyond the top have none."""
    engine.score(Score(request_id="s", model_id="tiny", prompt=prompt, top_k=top_k), credits_=9)
    chunks = [event for event in drain(engine) if isinstance(event, ScoreChunk)]
    ids = np.concatenate([chunk.top_ids.to_numpy() for chunk in chunks if chunk.top_ids])
    logprobs = np.concatenate([chunk.top_logprobs.to_numpy() for chunk in chunks if chunk.top_logprobs])
    every = np.full((len(ids), engine.executor.config.vocab_size), np.nan)
    np.put_along_axis(every, ids.astype(np.int64), logprobs, -1)
    return every


def divergence(p: np.ndarray, q: np.ndarray) -> float:
    """Mean Kullback-Leibler divergence of the positions, in nats, over what both have."""
    return float(np.nansum(np.exp(p) * (p - q), axis=-1).mean())


@both_forms
@pytest.mark.parametrize("prefill_tokens", [FEW_TOKENS // 2, 64], ids=["few tokens a step", "many tokens a step"])
def test_narrow_weights_are_near_float32_and_not_the_same(folder: Path, dtype: str, prefill_tokens: int) -> None:
    exact = logprobs_of(engine_of(folder))
    narrow = logprobs_of(engine_of(folder, dtype=dtype, prefill_tokens=prefill_tokens))
    assert 0 < divergence(exact, narrow) < BOUNDS[dtype]


@both_forms
def test_on_plain_torch_they_are_near_our_loops(folder: Path, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    exact, ours = logprobs_of(engine_of(folder)), logprobs_of(engine_of(folder, dtype=dtype))
    monkeypatch.setenv("CC", "no-such-compiler")
    plain = logprobs_of(engine_of(folder, dtype=dtype))
    assert 0 < divergence(exact, plain) < BOUNDS[dtype]
    assert divergence(plain, ours) < 0.02, "only the activations are of another dtype"


@pytest.mark.parametrize(("dtype", "bound"), [("int8", 0.02), ("int4", 0.2)])
def test_the_bundled_teacher_stays_near_its_float32_self(dtype: str, bound: float) -> None:
    exact, narrow = engine_of(BUNDLED, cache_bytes=2**24), engine_of(BUNDLED, cache_bytes=2**24, dtype=dtype)
    losses = [
        divergence(logprobs_of(exact, prompt, 1024), logprobs_of(narrow, prompt, 1024))
        for prompt in (TextPrompt(text=text) for text in TEXTS)
    ]
    assert 0 < np.mean(losses) < bound


@both_forms
def test_completions_do_not_depend_on_the_batch(folder: Path, dtype: str) -> None:
    engine = engine_of(folder, dtype=dtype)
    commands = [completion_of(str(length), prompt_of(length, length), 20) for length in (3, 17, 40)]
    together = complete(engine, *commands)
    assert {name: complete(engine, command)[name] for name, command in zip(together, commands, strict=True)} == together


def test_the_weights_held_are_those_announced(axk1_folder: Path) -> None:
    held = {}
    for dtype in ("float32", "bfloat16", "int8", "int4"):
        options = LoadOptions(cache_bytes=2**22, dtype=dtype)  # type: ignore[arg-type]
        engine, info = load_engine("tiny", str(axk1_folder), options, Ranks.alone(), lambda *_: None)
        layer = engine.executor._decoder._layers[1]  # type: ignore[attr-defined]
        matrix = layer.attention._down
        assert type(matrix) is NARROW.get(dtype, type(matrix))
        assert isinstance(matrix, tuple(NARROW.values())) == (dtype in NARROW)
        held[dtype] = info.weight_bytes
    assert held["int4"] < held["int8"] < held["bfloat16"] < held["float32"]


@both_forms
def test_layers_of_transformers_refuse_them(axk1_folder: Path, dtype: str) -> None:
    with pytest.raises(Unsupported, match=f"have no {dtype}"):
        engine_of(axk1_folder, dtype=dtype, implementation="transformers")
