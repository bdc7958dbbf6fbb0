"""What scoring costs above reading: positions scored a second beside the same engine's plain prefill.

    python -m benchmarks.scoring [--layers 28] [--rounds 5]

Needs a machine that does nothing else.
"""

import argparse
import itertools
import os
import sys
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Final

import torch

from benchmarks.peers.checkpoint import VOCABULARY, build
from benchmarks.result import RESULTS, Chart, Result, Row, interleaved, machine, number, versions
from seodang.runtime.engine import Engine
from seodang.runtime.loading import load_engine
from seodang.runtime.sharding import Ranks
from seodang.worker.messages import Failed, Generate, LoadOptions, SamplingParams, Score, TokenPrompt

SEQUENCES: Final = 4
TOKENS: Final = 256
PREFILL: Final = "prefill of the same prompts"
FORMS: Final[dict[str, dict[str, object]]] = {
    "4 + 8 sampled, entropy": {"top_k": 4, "tail_samples": 8, "entropy": True},
    "top 64": {"top_k": 64},
    "hidden states": {"hidden_states": True},
}
SUMMARY = f"""{SEQUENCES} random prompts of {TOKENS} tokens, new ones in every measurement, through our engine on a
Qwen3 of 28 layers x 1024 with random weights in bfloat16 and {VOCABULARY:,} tokens: read only, with one new token each,
or scored at every position. `to_prefill` is the share of the prefill's tokens a second that is left. Reading needs the
output head at one position of a prompt and scoring at all of them, for every score tells the exact normaliser:
`head_share` is the head's part of the arithmetic of a scored token, and nothing can come closer to 1 than what is left
of it. Medians of interleaved rounds."""


class Subject:
    """The engine, asked for something new each time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._numbers = itertools.count()

    def read(self) -> Row:
        """Prefill."""

        def ask(name: str, prompt: TokenPrompt) -> None:
            greedy = SamplingParams(temperature=0.0)
            self._engine.generate(
                Generate(request_id=name, model_id="bench", prompt=prompt, sampling=greedy, max_new_tokens=1)
            )

        return self._run(ask)

    def score(self, form: dict[str, object]) -> Row:
        """Score, with a reader that is never slow."""

        def ask(name: str, prompt: TokenPrompt) -> None:
            self._engine.score(Score(request_id=name, model_id="bench", prompt=prompt, **form), credits_=1_000)  # type: ignore[arg-type]

        return self._run(ask)

    def _run(self, ask: Callable[[str, TokenPrompt], None]) -> Row:
        number = next(self._numbers)
        generator = torch.Generator().manual_seed(number)
        begin = perf_counter()
        for row in torch.randint(300, VOCABULARY, (SEQUENCES, TOKENS), generator=generator).tolist():
            ask(f"{number}-{row[0]}-{row[1]}", TokenPrompt(token_ids=tuple(row)))
        while self._engine.busy:
            for event in self._engine.step():
                if isinstance(event, Failed):
                    sys.exit(f"benchmarks.scoring: {event.message}")
        return {"tokens_per_s": SEQUENCES * TOKENS / (perf_counter() - begin)}


def measure(layers: int, rounds: int) -> list[Row]:
    """A row a way."""
    folder = build(RESULTS.parents[1] / "out" / "bench" / f"qwen3-{layers}", layers)
    options = LoadOptions(dtype="bfloat16", cache_bytes=2**29)
    engine, info = load_engine("bench", str(folder), options, Ranks.alone(), lambda *_: None)
    subject = Subject(engine)
    ways: dict[str, Callable[[], Row]] = {PREFILL: subject.read}
    ways |= {name: partial(subject.score, form) for name, form in FORMS.items()}
    for way in ways.values():
        way()
    found = interleaved(ways, rounds)
    head = VOCABULARY * info.hidden_size
    share = head / info.parameters  # the head is the embedding, which costs nothing to read
    rows: list[Row] = []
    for name, row in found.items():
        to_prefill = number(row, "tokens_per_s") / number(found[PREFILL], "tokens_per_s")
        rows.append({"way": name, **row, "to_prefill": to_prefill, "head_share": 0.0 if name == PREFILL else share})
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=28)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    before = machine()
    Result(
        name="scoring",
        title="Scoring beside reading",
        summary=SUMMARY,
        command=" ".join(["python -m benchmarks.scoring", *sys.argv[1:]]),
        rows=measure(given.layers, given.rounds),
        machine=before | {"threads": given.threads},
        versions=versions("torch"),
        charts=[Chart("Tokens a second", value="tokens_per_s", label="way")],
    ).write()


if __name__ == "__main__":
    main()
