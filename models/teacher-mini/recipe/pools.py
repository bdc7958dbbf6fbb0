"""The generated examples, drawn once and kept as files: making them takes minutes, and training may be restarted."""

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from followups import grounded_cases, robot_cases
from recipe import Recipe

from seodang.corpora import open_source
from seodang.corpora.probes import Turn
from seodang.tasks import Example, Message, Role

_CASES: Mapping[str, Callable[[str, int], Iterator[tuple[Example, list[Turn]]]]] = {
    "babyai": robot_cases,
    "grounded": grounded_cases,
}


@dataclass(frozen=True)
class Case:
    """An example, and the turns that follow it in training."""

    example: Example
    turns: Sequence[Turn] = ()


def prepare(recipe: Recipe, folder: Path, processes: int) -> None:
    """Draw every pool of the recipe that has no file yet."""
    folder.mkdir(exist_ok=True)
    missing = [
        (name, recipe.seed, share.pool, _path(recipe, folder, name))
        for name, share in recipe.sources.items()
        if share.pool is not None and not _path(recipe, folder, name).exists()
    ]
    with get_context("spawn").Pool(processes) as workers:
        for name in workers.imap_unordered(_draw, missing):
            print(f"pools: {name} drawn", flush=True)


def load(recipe: Recipe, folder: Path, name: str) -> list[Case]:
    """The pool of one generated source."""
    with _path(recipe, folder, name).open(encoding="utf-8") as lines:
        return [_case(json.loads(line)) for line in lines]


def _path(recipe: Recipe, folder: Path, name: str) -> Path:
    return folder / f"{name}-{recipe.seed}-{recipe.sources[name].pool}.jsonl"


def _draw(order: tuple[str, int, int, Path]) -> str:
    name, seed, limit, path = order
    job, _, language = name.partition("-")
    if job in _CASES:
        cases = _CASES[job](language, seed)
    else:
        cases = ((example, []) for example in open_source(name, "train", seed))
    with path.with_suffix(".writing").open("w", encoding="utf-8") as file:
        for example, turns in itertools.islice(cases, limit):
            file.write(json.dumps({"example": asdict(example), "turns": turns}, ensure_ascii=False) + "\n")
    path.with_suffix(".writing").replace(path)
    return name


def _case(body: dict[str, Any]) -> Case:
    example = body["example"]
    messages = tuple(Message(Role(message["role"]), message["content"]) for message in example.pop("messages"))
    return Case(Example(messages=messages, **example), [tuple(turn) for turn in body["turns"]])
