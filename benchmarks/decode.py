"""How fast a small A.X K1 decodes: our engine beside transformers' ``generate``, the same checkpoint, the same tokens.

Run ``python -m benchmarks.decode`` on a quiet machine.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from benchmarks.result import Cell, Chart, Result, Row, interleaved, machine, number, versions
from seodang.runtime.engine import Engine
from seodang.runtime.loading import load_engine
from seodang.runtime.sharding import Ranks
from seodang.worker.messages import Generate, LoadOptions, SamplingParams, TokenDelta, TokenPrompt

MODEL = Path(__file__).parents[1] / "models" / "teacher-mini"
TRANSFORMERS, OURS, PLAIN = "transformers generate", "seodang", "seodang without a compiler"
SUMMARY = """The bundled teacher, an A.X K1 of 11 million parameters, answers random prompts greedily: our engine
beside transformers' `generate`, in one process, in float32, with the same threads. All prompts of a batch come at once.
`tokens_per_s` counts their new tokens over the time from the prompts to the last token, so it includes the prompts'
own computation; `tokens_per_cpu_s` counts them over the processor time of all threads, which other work on the machine
disturbs least; the columns that end in `_to_transformers` are ratios. `equal_answers` is the share of answers that have
exactly transformers' tokens. Both cache compressed latents, as `cache_bytes_per_token` shows. *Without a compiler* is
our engine on plain torch, as it runs where it cannot compile its kernels."""

Prompts = list[list[int]]


@dataclass(frozen=True)
class Answers:
    """New tokens of every prompt, and the seconds to the first of all of them and to the last."""

    tokens: list[list[int]]
    first_s: float
    total_s: float
    cpu_s: float
    """Of all threads, to the last."""


@dataclass(frozen=True)
class Contender:
    answer: Callable[[Prompts, int], Answers]
    cache_bytes_per_token: int


def ours(folder: Path) -> Contender:
    options = LoadOptions(cache_bytes=2**27, prefill_tokens=4096)
    engine, info = load_engine("model", str(folder), options, Ranks.alone(), lambda *_: None)
    return Contender(lambda prompts, new: run_engine(engine, prompts, new), info.cache_bytes_per_token)


def run_engine(engine: Engine, prompts: Prompts, new_tokens: int) -> Answers:
    tokens: dict[str, list[int]] = {str(index): [] for index in range(len(prompts))}
    begin, cpu = time.perf_counter(), time.process_time()
    for name, prompt in zip(tokens, prompts, strict=True):
        engine.generate(
            Generate(
                request_id=name,
                model_id="model",
                prompt=TokenPrompt(token_ids=tuple(prompt)),
                sampling=SamplingParams(temperature=0.0),
                max_new_tokens=new_tokens,
                ignore_eos=True,
            )
        )
    first_s = 0.0
    while engine.busy:
        for event in engine.step():
            if isinstance(event, TokenDelta):
                tokens[event.request_id] += event.token_ids
        if not first_s and all(tokens.values()):
            first_s = time.perf_counter() - begin
    return Answers(list(tokens.values()), first_s, time.perf_counter() - begin, time.process_time() - cpu)


def by_transformers(folder: Path) -> Contender:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    model.generation_config.eos_token_id = None  # exactly so many tokens

    @torch.inference_mode()
    def answer(prompts: Prompts, new_tokens: int) -> Answers:
        ids = torch.tensor(prompts)
        options = {"attention_mask": torch.ones_like(ids), "do_sample": False, "pad_token_id": 0}
        begin = time.perf_counter()
        model.generate(ids, max_new_tokens=1, **options)
        first, cpu = time.perf_counter(), time.process_time()
        output = model.generate(ids, max_new_tokens=new_tokens, **options)
        end = time.perf_counter()
        return Answers(output[:, ids.shape[1] :].tolist(), first - begin, end - first, time.process_time() - cpu)

    with torch.inference_mode():
        cache = model(torch.tensor([[8, 9]]), use_cache=True).past_key_values
    return Contender(answer, sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers) // 2)


@contextmanager
def no_compiler() -> Iterator[None]:
    before = os.environ.get("CC")
    os.environ["CC"] = "none"
    yield
    if before is None:
        del os.environ["CC"]
    else:
        os.environ["CC"] = before


class Work:
    """One size of batch; every round has prompts of its own, so that none profits from a prefix met before."""

    def __init__(self, batch: int, prompt_tokens: int, new_tokens: int, vocabulary: int) -> None:
        self._size = (batch, prompt_tokens)
        self._new_tokens = new_tokens
        self._vocabulary = vocabulary
        self._rounds: dict[str, int] = {}
        self._expected: list[list[list[int]]] = []

    def measure(self, name: str, contender: Contender) -> Row:
        number = self._rounds.get(name, 0)
        self._rounds[name] = number + 1
        generator = torch.Generator().manual_seed(number)
        prompts = torch.randint(8, self._vocabulary, self._size, generator=generator).tolist()
        answers = contender.answer(prompts, self._new_tokens)
        if name == TRANSFORMERS:
            self._expected.append(answers.tokens)
        equal = [a == b for a, b in zip(answers.tokens, self._expected[number], strict=True)]
        new_tokens = len(prompts) * self._new_tokens
        return {
            "tokens_per_s": new_tokens / answers.total_s,
            "tokens_per_cpu_s": new_tokens / answers.cpu_s,
            "first_token_ms": 1e3 * answers.first_s,
            "equal_answers": sum(equal) / len(equal),
        }


def rows_of(contenders: dict[str, Contender], batch: int, work: Work, rounds: int) -> list[Row]:
    for contender in contenders.values():
        contender.answer([[8, 9, 10]], 2)
    measured = interleaved(
        {name: lambda n=name, c=contender: work.measure(n, c) for name, contender in contenders.items()}, rounds
    )
    rows: list[Row] = []
    for name, figures in measured.items():
        row: dict[str, Cell] = {"batch": batch, "engine": name, **figures}
        for column in ("tokens_per_s", "tokens_per_cpu_s"):
            row[f"{column}_to_transformers"] = number(figures, column) / number(measured[TRANSFORMERS], column)
        row["cache_bytes_per_token"] = contenders[name].cache_bytes_per_token
        rows.append(row)
        print(row, flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--prompt-tokens", type=int, default=128)
    parser.add_argument("--new-tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    facts = {**machine(), "threads": arguments.threads, "rounds": arguments.rounds}
    contenders = {TRANSFORMERS: by_transformers(arguments.model), OURS: ours(arguments.model)}
    with no_compiler():
        contenders[PLAIN] = ours(arguments.model)
    vocabulary = json.loads((arguments.model / "config.json").read_text())["vocab_size"]
    rows: list[Row] = []
    for batch in arguments.batches:
        work = Work(batch, arguments.prompt_tokens, arguments.new_tokens, vocabulary)
        rows += rows_of(contenders, batch, work, arguments.rounds)
    Result(
        name="decode",
        title="Decoding a small A.X K1",
        summary=f"{SUMMARY}\n\n{arguments.prompt_tokens} prompt tokens and {arguments.new_tokens} new ones.",
        command="python -m benchmarks.decode",
        rows=rows,
        machine=facts,
        versions=versions("torch", "transformers"),
        charts=[Chart("New tokens a second of processor time, by batch", "tokens_per_cpu_s", "batch", "engine")],
    ).write()


if __name__ == "__main__":
    main()
