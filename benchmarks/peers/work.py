"""The work that every engine gets, and how it reports. Standard library only."""

import importlib.metadata
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

RESERVED_IDS = 8
"""The first ids are special tokens; prompts have none of them."""


@dataclass(frozen=True)
class Work:
    """One session of one engine."""

    checkpoint: str
    """Folder in the layout of transformers, or a GGUF file, as the engine reads it."""
    weights: str
    """What the matrices become in memory, by the name that the table has for it; a GGUF file says it itself."""
    vocabulary: int
    cache_bytes_per_token: int
    threads: int
    levels: tuple[int, ...]
    """Concurrencies, one after the other."""
    prompt_tokens: int
    new_tokens: int

    @classmethod
    def read(cls, path: Path) -> "Work":
        fields = json.loads(path.read_text())
        return cls(**{**fields, "levels": tuple(fields["levels"])})

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))

    @property
    def context_tokens(self) -> int:
        return self.prompt_tokens + self.new_tokens

    @property
    def cache_bytes(self) -> int:
        """What the requests of the highest level need together, and a tenth more for blocks that are not full."""
        return int(max(self.levels) * self.context_tokens * self.cache_bytes_per_token * 1.1)

    def prompts(self, count: int, seed: int) -> list[list[int]]:
        """Random and all different, so that no engine saves work by a common prefix."""
        draw = random.Random(seed)
        return [
            [draw.randrange(RESERVED_IDS, self.vocabulary) for _ in range(self.prompt_tokens)] for _ in range(count)
        ]


@dataclass(frozen=True)
class Batch:
    """What became of prompts that were handed over at once."""

    first_token_s: Sequence[float]
    """Of each prompt, from the moment of handing over."""
    total_s: float
    first_tokens: Sequence[int]


class Engine(Protocol):
    weight_bytes: int
    """Of all weights in memory: a decoding step reads each once. A head tied to the embedding counts once."""
    versions: dict[str, str]
    """Of what it is made of."""

    def run(self, prompts: list[list[int]], new_tokens: int) -> Batch:
        """Exactly so many greedy tokens after each prompt, all prompts at once."""
        ...


def installed(*packages: str) -> dict[str, str]:
    """Their versions."""
    return {package: importlib.metadata.version(package) for package in packages}


def serve(make: Callable[[Work], Engine]) -> None:
    """The whole session: ``make`` loads, then each level is run twice, for one token and for all of them.

    The first run is prefill alone; the second minus the first is decoding alone, whatever an engine's scheduler mixes.
    """
    work = Work.read(Path(sys.argv[1]))
    with os.fdopen(int(sys.argv[2]), "w") as reply:

        def say(**fields: object) -> None:
            reply.write(json.dumps(fields) + "\n")
            reply.flush()

        engine = make(work)
        engine.run(work.prompts(1, seed=0), 1)
        # One clock for all processes of a machine: the parent subtracts its own reading from before the start.
        ready_s = time.monotonic()
        say(event="ready", monotonic_s=ready_s, weight_bytes=engine.weight_bytes, versions=engine.versions)
        for level in work.levels:
            prefill = engine.run(work.prompts(level, seed=2 * level), 1)
            whole = engine.run(work.prompts(level, seed=2 * level + 1), work.new_tokens)
            say(
                event="level",
                level=level,
                prefill_s=prefill.total_s,
                decode_s=whole.total_s - prefill.total_s,
                first_token_s=statistics.median(whole.first_token_s),
                first_tokens=[*prefill.first_tokens, *whole.first_tokens],
            )
        say(event="done")
        sys.stdin.read()  # until the parent has looked
