"""What a student saves its teacher as a drafter: the same engine with and without it, the same requests, side by side.

Run ``python -m benchmarks.speculation`` on a quiet machine.
"""

import argparse
import os
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import torch

from benchmarks.result import Chart, Result, Row, machine, versions
from seodang.corpora import home
from seodang.runtime.engine import Engine
from seodang.runtime.loading import load_engine
from seodang.runtime.sharding import Ranks
from seodang.worker.messages import (
    ChatMessage,
    ChatPrompt,
    Draft,
    Finished,
    Generate,
    LoadOptions,
    SamplingParams,
    TokenDelta,
)

MODELS = Path(__file__).parents[1] / "models"
REQUESTS = 32
UNCOUNTED = 6
SUMMARY = f"""The bundled teacher answers home commands that neither model was trained on, in Korean and English, with
and without the bundled assistant as its drafter, in one process, in float32. A round is {REQUESTS} new requests, so
many at a time, given to both in turn; each answer ends where the model ends it. `speed_up` is the median over the
rounds of the quotient of a round's two times; `accepted` is the share of the drafted tokens that the teacher said
too; `drafted_per_token` falls where drafting does not pay and is left off. `equal_answers` compares token by token: a
sampled answer has a seed, which gives the same tokens with and without a drafter. The first {UNCOUNTED} rounds of
each line, in which the depth of the drafts is found, are not counted."""


@dataclass
class Contender:
    """An engine, and what came of the latest round."""

    engine: Engine
    seconds: float = 0.0
    answers: dict[str, list[int]] = field(default_factory=dict)
    drafted: int = 0
    accepted: int = 0

    def run(self, commands: list[Generate], concurrency: int) -> None:
        """Answer all of them, so many at a time."""
        self.answers = {command.request_id: [] for command in commands}
        self.drafted = self.accepted = 0
        waiting, running = iter(commands), 0
        begin = time.perf_counter()
        while True:
            for command in islice(waiting, concurrency - running):
                self.engine.generate(command)
                running += 1
            if not running:
                break
            for event in self.engine.step():
                if isinstance(event, TokenDelta):
                    self.answers[event.request_id] += event.token_ids
                elif isinstance(event, Finished):
                    running -= 1
                    self.drafted += event.usage.drafted_tokens
                    self.accepted += event.usage.accepted_tokens
        self.seconds = time.perf_counter() - begin


def contender(teacher: Path, draft: Draft | None) -> Contender:
    options = LoadOptions(cache_bytes=2**27, draft=draft)
    return Contender(load_engine("model", str(teacher), options, Ranks.alone(), lambda *_: None)[0])


def prompts(seed: int) -> Iterator[ChatPrompt]:
    """Commands in words that training never had, the languages in turn."""
    for pair in zip(*(home.examples(language, "dev", seed) for language in ("ko", "en")), strict=False):
        for example in pair:
            yield ChatPrompt(messages=tuple(ChatMessage(role=m.role, content=m.content) for m in example.messages))


def row_of(alone: Contender, drafted: Contender, concurrency: int, temperature: float, rounds: int) -> Row:
    asked = prompts(seed=concurrency)
    ratios, equal, tokens, guesses, right = [], [], 0, 0, 0
    for number in range(UNCOUNTED + rounds):
        commands = [
            Generate(
                request_id=str(index),
                model_id="model",
                prompt=prompt,
                sampling=SamplingParams(temperature=temperature, seed=number * REQUESTS + index),
                max_new_tokens=96,
            )
            for index, prompt in enumerate(islice(asked, REQUESTS))
        ]
        for each in (alone, drafted) if number % 2 else (drafted, alone):
            each.run(commands, concurrency)
        if number >= UNCOUNTED:
            ratios.append(alone.seconds / drafted.seconds)
            equal += [alone.answers[name] == answer for name, answer in drafted.answers.items()]
            tokens += sum(map(len, drafted.answers.values()))
            guesses, right = guesses + drafted.drafted, right + drafted.accepted
    quartiles = statistics.quantiles(ratios, n=4)
    return {
        "sampling": "greedy" if temperature == 0 else f"temperature {temperature:g}",
        "concurrency": concurrency,
        "speed_up": statistics.median(ratios),
        "speed_up_first_quartile": quartiles[0],
        "speed_up_third_quartile": quartiles[2],
        "accepted": right / guesses if guesses else None,
        "drafted_per_token": guesses / tokens,
        "equal_answers": sum(equal) / len(equal),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--teacher", type=Path, default=MODELS / "teacher-mini")
    parser.add_argument("--student", type=Path, default=MODELS / "students" / "assistant")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    facts = {**machine(), "threads": arguments.threads, "rounds": arguments.rounds, "depth": arguments.depth}
    rows: list[Row] = []
    for temperature in (0.0, 1.0):
        alone = contender(arguments.teacher, None)
        drafted = contender(arguments.teacher, Draft(folder=str(arguments.student), depth=arguments.depth))
        for concurrency in arguments.concurrency:
            rows.append(row_of(alone, drafted, concurrency, temperature, arguments.rounds))
            print(rows[-1], flush=True)
    Result(
        name="speculation",
        title="A student drafts for its teacher",
        summary=SUMMARY,
        command="python -m benchmarks.speculation",
        rows=rows,
        machine=facts,
        versions=versions("torch", "transformers"),
        charts=[Chart("How many times as fast, by requests at a time", "speed_up", "concurrency", "sampling")],
    ).write()


if __name__ == "__main__":
    main()
