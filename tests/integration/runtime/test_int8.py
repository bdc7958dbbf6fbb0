"""Matrices of int8: near the float32 model, in a quarter of its memory, on every path."""

from pathlib import Path

import numpy as np
import pytest
from tests.tiny_engines import complete, completion_of, drain, engine_of, prompt_of

from seodang.base.errors import Unsupported
from seodang.runtime.kernels.native_kernels import FEW_TOKENS
from seodang.runtime.kernels.weight import Int8
from seodang.runtime.loading import load_engine
from seodang.runtime.sharding import Ranks
from seodang.worker.messages import LoadOptions, Score, ScoreChunk, TokenPrompt

VOCABULARY = 320
PROMPT = prompt_of(60, seed=5)


def logprobs_of(folder: Path, **options: object) -> np.ndarray:
    """[positions, vocabulary]"""
    engine = engine_of(folder, **options)
    score = Score(request_id="s", model_id="tiny", prompt=TokenPrompt(token_ids=PROMPT), top_k=VOCABULARY)
    engine.score(score, credits_=9)
    chunks = [event for event in drain(engine) if isinstance(event, ScoreChunk)]
    ids = np.concatenate([chunk.top_ids.to_numpy() for chunk in chunks if chunk.top_ids])
    logprobs = np.concatenate([chunk.top_logprobs.to_numpy() for chunk in chunks if chunk.top_logprobs])
    return np.take_along_axis(logprobs, ids.argsort(-1), -1)


def divergence(p: np.ndarray, q: np.ndarray) -> float:
    """Mean Kullback-Leibler divergence of the positions, in nats."""
    return float((np.exp(p) * (p - q)).sum(-1).mean())


@pytest.mark.parametrize("prefill_tokens", [FEW_TOKENS // 2, 64], ids=["few tokens a step", "many tokens a step"])
def test_int8_is_near_float32_and_not_the_same(folder: Path, prefill_tokens: int) -> None:
    exact = logprobs_of(folder)
    narrow = logprobs_of(folder, dtype="int8", prefill_tokens=prefill_tokens)
    assert 0 < divergence(exact, narrow) < 0.02


def test_int8_on_plain_torch_is_near_float32_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = logprobs_of(folder)
    monkeypatch.setenv("CC", "no-such-compiler")
    assert 0 < divergence(exact, logprobs_of(folder, dtype="int8")) < 0.02


def test_int8_completions_do_not_depend_on_the_batch(folder: Path) -> None:
    engine = engine_of(folder, dtype="int8")
    commands = [completion_of(str(length), prompt_of(length, length), 20) for length in (3, 17, 40)]
    together = complete(engine, *commands)
    assert {name: complete(engine, command)[name] for name, command in zip(together, commands, strict=True)} == together


def test_the_weights_held_are_those_announced(axk1_folder: Path) -> None:
    held = {}
    for dtype in ("float32", "bfloat16", "int8"):
        options = LoadOptions(cache_bytes=2**22, dtype=dtype)  # type: ignore[arg-type]
        engine, info = load_engine("tiny", str(axk1_folder), options, Ranks.alone(), lambda *_: None)
        layer = engine.executor._decoder._layers[1]  # type: ignore[attr-defined]
        assert isinstance(layer.attention._down, Int8) == (dtype == "int8")
        held[dtype] = info.weight_bytes
    assert held["int8"] < held["bfloat16"] < held["float32"]


def test_layers_of_transformers_refuse_int8(axk1_folder: Path) -> None:
    with pytest.raises(Unsupported, match="have no int8"):
        engine_of(axk1_folder, dtype="int8", implementation="transformers")
