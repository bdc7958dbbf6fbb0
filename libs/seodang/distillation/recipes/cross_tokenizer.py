"""Across tokenizers: the student gives each span of a text the probability that the teacher gives it (loss/spans.py).

Of the teacher's signal only the probability of the text's own tokens is read; their product over a span is the span's,
whoever tokenizes it how. G teachers, P positions of theirs, S spans.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from seodang.distillation.crossing import Spans
from seodang.distillation.loss import SpanSignal
from seodang.distillation.recipes.room import Room, objective_of
from seodang.distillation.recipes.share import Share
from seodang.distillation.spec import Recipe
from seodang.distillation.targets import Shard, TargetStore, Unit, plan_units, score_units
from seodang.distillation.training.batches import Batch, Indices
from seodang.distillation.training.student import Student

# A span's probability is taken to the power of one over the recipe's temperature; its tokens have theirs as they are.
_TOKEN_TEMPERATURE = 1.0


class CrossTokenizer:
    """Lessons from the store; making them is the scoring."""

    def __init__(self, room: Room, recipe: Recipe) -> None:
        self.objective = objective_of(recipe)
        self._room = room
        self._plan = room.plan()
        shards = [self._score(number, recipe) for number in range(len(room.teachers))]
        self._signals = _SpanSignals(room, room.data.spans["train"], shards)

    def step(self, step: int, student: Student) -> Sequence[tuple[Batch, SpanSignal | None]]:
        """See ``Lessons``."""
        del student
        batches = self._plan.batches(step)
        taken = self._room.group.takes(len(batches))
        return [
            (batch, self._signals.at(batch.rows_N) if number in taken else None) for number, batch in enumerate(batches)
        ]

    def _score(self, number: int, recipe: Recipe) -> Shard:
        sequences = self._room.data.teacher_encoded["train"]
        store = _store(self._room, "train", number, recipe)
        progress = self._room.report.progress("", int(sequences.positions.sum()), "positions")
        return score_units(store, plan_units(sequences), self._room.teachers[number], progress.add)


class CrossTokenizerOnline:
    """Lessons that are scored when they are due, and kept a step, so that a step done again asks for nothing."""

    def __init__(self, room: Room, recipe: Recipe, subject: str) -> None:
        self.objective = objective_of(recipe)
        self._room = room
        self._plan = room.plan()
        purpose = room.own_part(f"live-{subject}")
        self._stores = [_store(room, purpose, number, recipe) for number in range(len(room.teachers))]

    def step(self, step: int, student: Student) -> Sequence[tuple[Batch, SpanSignal | None]]:
        """See ``Lessons``."""
        del student
        group, chosen = self._room.group, self._plan.indices(step)
        sequences = self._room.train.select(chosen)
        batches = self._plan.divided(sequences)
        share = Share.of(group, sequences, batches)
        if not len(share.places_S):
            return [(batch, None) for batch in batches]
        own = chosen[share.places_S]
        unit = Unit(f"{step:08d}", self._room.data.teacher_encoded["train"].select(own))
        shards = [
            score_units(store, [unit], teacher, lambda positions: None)
            for store, teacher in zip(self._stores, self._room.teachers, strict=True)
        ]
        signals = _SpanSignals(self._room, self._room.data.spans["train"].select(own), shards)
        return [
            (batch, signals.at(share.rows(batch)) if group.owns(number) else None)
            for number, batch in enumerate(batches)
        ]


class _SpanSignals:
    """Signals of any of the student's positions, numbered as the spans number them."""

    def __init__(self, room: Room, spans: Spans, shards: Sequence[Shard]) -> None:
        self._numbers_Q = spans.student_numbers
        self._log_probs_GS = np.stack([_of_spans(shard.next_log_probs, spans) for shard in shards])
        self._shares = tuple(teacher.weight or 1.0 for teacher in room.spec.teachers)

    def at(self, rows: Indices) -> SpanSignal:
        """The signal at whole sequences' positions."""
        numbers, span_N = np.unique(self._numbers_Q[rows], return_inverse=True)
        log_probs_GS = self._log_probs_GS[:, numbers].astype(np.float32)
        return SpanSignal(torch.from_numpy(span_N), torch.from_numpy(log_probs_GS), self._shares)


def _of_spans(log_probs_P: npt.NDArray[np.float32], spans: Spans) -> npt.NDArray[np.float64]:
    """[S] log-probability of each span: the sum over its tokens."""
    sums = np.zeros(int(spans.counts.sum()))
    np.add.at(sums, spans.teacher_numbers, log_probs_P)
    return sums


def _store(room: Room, purpose: str, number: int, recipe: Recipe) -> TargetStore:
    sha256 = room.data.teacher_encoded["train"].sha256
    return room.store(purpose, number, recipe.target, sha256, temperature=_TOKEN_TEMPERATURE)
