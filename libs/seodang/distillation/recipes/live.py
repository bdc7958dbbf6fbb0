"""Teachers that are asked while the student trains. What they said is kept a step, so that a step that is done again
after a crash asks for nothing. Each rank of a group asks for the batches that it owns, and keeps a store of its own.
"""

from collections.abc import Sequence

from seodang.distillation.data import Encoded
from seodang.distillation.loss import Signal
from seodang.distillation.recipes.candidates import Candidates, candidate_signal, choose_candidates
from seodang.distillation.recipes.room import Room, objective_of
from seodang.distillation.recipes.share import Share
from seodang.distillation.spec import Recipe, SampledTarget
from seodang.distillation.targets import Shard, ShardSignals, Unit, score_units
from seodang.distillation.training.batches import Batch, Indices
from seodang.distillation.training.student import Student


class LiveTeachers:
    """All teachers of the job, asked a step at a time.

    With a sampled target and any divergence but forward KL, they are asked for live candidates: their log-probabilities
    at tokens that the student chooses.
    """

    def __init__(self, room: Room, recipe: Recipe, subject: str) -> None:
        self._room = room
        self._recipe = recipe
        sampled = recipe.target if isinstance(recipe.target, SampledTarget) else None
        self._candidates = None if objective_of(recipe).is_forward else sampled
        self._stores = [
            room.store(
                room.own_part(f"live-{subject}"),
                number,
                recipe.target,
                room.train.sha256,
                temperature=recipe.temperature,
                candidates=self._candidates is not None,
            )
            for number in range(len(room.teachers))
        ]

    def lessons(
        self, step: int, sequences: Encoded, batches: Sequence[Batch], student: Student
    ) -> list[tuple[Batch, Signal | None]]:
        """The batches of these sequences, each that this rank owns with its signal; their rows are numbered within the
        step.
        """
        group = self._room.group
        share = Share.of(group, sequences, batches)
        chosen: Candidates | None = None
        if self._candidates is not None:
            seed = (self._room.spec.seed, step)
            count = self._candidates.head + self._candidates.tail_draws
            every = choose_candidates(student, batches, count, self._recipe.temperature, seed, group)
            chosen = every.at(share.rows_P)
        if not len(share.places_S):
            return [(batch, None) for batch in batches]
        unit = Unit(f"{step:08d}", sequences.select(share.places_S), None if chosen is None else chosen.ids_PK)
        shards = [
            score_units(store, [unit], teacher, lambda positions: None)
            for store, teacher in zip(self._stores, self._room.teachers, strict=True)
        ]
        return [
            (batch, self._mixed(shards, chosen, share.rows(batch)) if group.owns(number) else None)
            for number, batch in enumerate(batches)
        ]

    def _mixed(self, shards: Sequence[Shard], chosen: Candidates | None, rows: Indices) -> Signal:
        return self._room.mixed([self._signal(number, shard, chosen, rows) for number, shard in enumerate(shards)])

    def _signal(self, number: int, shard: Shard, chosen: Candidates | None, rows: Indices) -> Signal:
        if chosen is None:
            return ShardSignals(shard, self._recipe.target, self._stores[number].head_to_multiply()).at(rows)
        return candidate_signal(shard, chosen, rows)
