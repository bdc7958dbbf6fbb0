"""What narrower weights lose, and what they save: each dtype beside the same model in float32.

Run ``python -m benchmarks.precision`` on a quiet machine. P positions, V vocabulary.
"""

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, get_args

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.decode import Prompts, run_engine
from benchmarks.result import Chart, Result, Row, interleaved, machine, number, versions
from benchmarks.signal_forms import TEXTS
from seodang.runtime.engine import Engine
from seodang.runtime.kernels.choice import choose_kernels
from seodang.runtime.kernels.weight import NARROW
from seodang.runtime.loading import load_engine
from seodang.runtime.sharding import Ranks
from seodang.worker.messages import DType, LoadOptions, Score, ScoreChunk, TextPrompt, TokenPrompt

Floats = npt.NDArray[np.float64]

MODELS: Final = Path(__file__).parents[1] / "models"
NAMES: Final = ("teacher-mini", "students/assistant")
DTYPES: Final[tuple[DType, ...]] = get_args(DType)
EXACT: Final[DType] = "float32"
ANSWER_TOKENS: Final = 64
MATRIX: Final = (16384, 8192)
SUMMARY = """The bundled teacher and a bundled student with their layers' matrices in each dtype. `kl_mean_nats` and
`kl_worst_nats` are the divergence from the model in float32, over all positions of a few texts and of the answers that
the model in float32 gives to them; `same_first_choice` is the share of positions whose likeliest token is the same.
Embedding and head stay bfloat16 in int8 and int4, and are a large part of such small models' `weight_mib`.
`tokens_per_s_to_float32` is a ratio, of new tokens a second from random prompts. Layers as small as theirs lie in the
processor's caches, where narrow weights gain little: the last rows are one matrix that does not fit there, multiplied
with the vectors of so many tokens."""


def load(folder: Path, dtype: DType) -> tuple[Engine, int]:
    """An engine, and the bytes of its weights."""
    options = LoadOptions(dtype=dtype, cache_bytes=2**26)
    engine, info = load_engine("model", str(folder), options, Ranks.alone(), lambda *_: None)
    return engine, info.weight_bytes


def sequences(engine: Engine) -> Prompts:
    """The texts, each followed by what this model says to it."""
    prompts = [list(engine.tokenizer.encode(TextPrompt(text=text))) for text in TEXTS]
    answers = run_engine(engine, prompts, ANSWER_TOKENS).tokens
    return [prompt + answer for prompt, answer in zip(prompts, answers, strict=True)]


def logprobs(engine: Engine, tokens: Prompts) -> Floats:
    """[P, V]"""
    vocabulary = engine.executor.config.vocab_size
    parts = []
    for ids in tokens:
        prompt = TokenPrompt(token_ids=tuple(ids))
        engine.score(Score(request_id="s", model_id="model", prompt=prompt, top_k=vocabulary), credits_=len(ids))
        while engine.busy:
            for event in engine.step():
                if isinstance(event, ScoreChunk) and event.top_ids and event.top_logprobs:
                    every = np.empty(event.top_ids.shape)
                    np.put_along_axis(
                        every, event.top_ids.to_numpy().astype(np.int64), event.top_logprobs.to_numpy(), -1
                    )
                    parts.append(every)
    return np.concatenate(parts)


def losses(exact_PV: Floats, narrow_PV: Floats) -> Row:
    """Divergence from the exact distributions."""
    kl_P = (np.exp(exact_PV) * (exact_PV - narrow_PV)).sum(-1)
    same = (exact_PV.argmax(-1) == narrow_PV.argmax(-1)).mean()
    # Rounding leaves sums around zero, below it too; a divergence is not negative.
    return {
        "kl_mean_nats": max(float(kl_P.mean()), 0.0),
        "kl_worst_nats": max(float(kl_P.max()), 0.0),
        "same_first_choice": float(same),
    }


def quality(name: str, engines: dict[DType, tuple[Engine, int]]) -> list[Row]:
    tokens = sequences(engines[EXACT][0])
    exact_PV = logprobs(engines[EXACT][0], tokens)
    return [
        {
            "model": name,
            "dtype": dtype,
            "weight_mib": weight_bytes / 2**20,
            "weight_bytes_to_float32": weight_bytes / engines[EXACT][1],
            "positions": len(exact_PV),
            **losses(exact_PV, logprobs(engine, tokens)),
        }
        for dtype, (engine, weight_bytes) in engines.items()
    ]


def speed(name: str, measured: dict[DType, Callable[[], float]], batch: int, rounds: int) -> list[Row]:
    """``measured`` gives tokens a second."""
    rows = interleaved({dtype: lambda m=measure: {"tokens_per_s": m()} for dtype, measure in measured.items()}, rounds)
    best = number(rows[EXACT], "tokens_per_s")
    return [
        {
            "model": name,
            "dtype": dtype,
            "batch": batch,
            "tokens_per_s": row["tokens_per_s"],
            "tokens_per_s_to_float32": number(row, "tokens_per_s") / best,
        }
        for dtype, row in rows.items()
    ]


def decoding(engine: Engine, batch: int, new_tokens: int) -> Callable[[], float]:
    """New tokens a second from prompts that differ every time, so that none profits from a prefix met before."""
    generator = torch.Generator().manual_seed(0)

    def measure() -> float:
        prompts = torch.randint(8, engine.executor.config.vocab_size, (batch, 16), generator=generator).tolist()
        return batch * new_tokens / run_engine(engine, prompts, new_tokens).total_s

    return measure


def multiplying(dtype: DType, batch: int) -> Callable[[], float]:
    """Vectors a second through the large matrix."""
    torch.manual_seed(0)
    kernels = choose_kernels(Ranks.alone(), torch.float32)
    wide, x_TK = torch.randn(MATRIX), torch.randn(batch, MATRIX[1])
    weight = NARROW[dtype].of(wide) if dtype in NARROW else wide.to(getattr(torch, dtype))

    def measure() -> float:
        begin = time.perf_counter()
        kernels.linear(x_TK, weight)
        return batch / (time.perf_counter() - begin)

    return measure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--new-tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--result", type=Path, help="where to write it; by default where the page looks")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    facts = {**machine(), "threads": arguments.threads, "rounds": arguments.rounds}
    rows: list[Row] = []
    for name in NAMES:
        engines = {dtype: load(MODELS / name, dtype) for dtype in DTYPES}
        rows += quality(name, engines)
        for batch in arguments.batches:
            work = {dtype: decoding(engine, batch, arguments.new_tokens) for dtype, (engine, _) in engines.items()}
            rows += speed(name, work, batch, arguments.rounds)
    for batch in arguments.batches:
        products = {dtype: multiplying(dtype, batch) for dtype in DTYPES}
        rows += speed(f"{MATRIX[0]} x {MATRIX[1]}", products, batch, 5 * arguments.rounds)
    Result(
        name="precision",
        title="Narrower weights",
        summary=SUMMARY,
        command="python -m benchmarks.precision",
        rows=rows,
        machine=facts,
        versions=versions("torch"),
        charts=[Chart("Mean divergence from float32, nats", "kl_mean_nats", "model", "dtype")],
    ).write(arguments.result)
    print(*rows, sep="\n")


if __name__ == "__main__":
    main()
