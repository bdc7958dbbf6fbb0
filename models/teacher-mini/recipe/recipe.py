"""``recipe.toml`` as frozen objects; an unknown key is an error."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RECIPE_FILE = Path(__file__).with_name("recipe.toml")


@dataclass(frozen=True)
class SourceShare:
    """How much of the tokens of short and of long rows a source gets, and how its tokens weigh in the loss."""

    short: float = 0.0
    long: float = 0.0
    prompt_weight: float = 0.0
    answer_weight: float = 1.0
    regularised: bool = False
    pool: int | None = None


@dataclass(frozen=True)
class Training:
    """Length, batch and optimisation; each field is explained in ``recipe.toml``."""

    steps: int
    processes: int
    tokens_per_step: int
    short_row: int
    long_row: int
    long_every: int
    muon_lr: float
    adam_lr: float
    rate_points: tuple[tuple[int, float], ...]
    weight_decay: float
    dropout: float
    tutor_weight: float
    balance_weight: float
    checkpoint_every_s: float


@dataclass(frozen=True)
class Recipe:
    """The whole recipe."""

    seed: int
    vocabulary: int
    model: Mapping[str, Any]
    training: Training
    sources: Mapping[str, SourceShare]
    texts: Mapping[str, SourceShare]
    drill: SourceShare


def load(path: Path = RECIPE_FILE) -> Recipe:
    """Read a recipe; a misspelt key raises ``TypeError`` naming it."""
    body = tomllib.loads(path.read_text(encoding="utf-8"))
    return Recipe(
        seed=body["seed"],
        vocabulary=body["tokenizer"]["vocabulary"],
        model=body["model"],
        training=Training(**body["training"]),
        sources={name: SourceShare(**share) for name, share in body["sources"].items()},
        texts={name: SourceShare(**share) for name, share in body["texts"].items()},
        drill=SourceShare(**body["drill"]),
    )
