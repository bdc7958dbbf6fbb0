"""How far the gradient that a small target gives is from the gradient of the teacher's whole distribution.

N positions, V vocabulary, F features that a shared matrix maps to the student's hidden states, H their width.

    python -m benchmarks.gradients [--vocabulary 163840] [--positions 8192] [--seeds 1]
"""

import argparse
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import torch
from torch import Tensor

from benchmarks.result import Chart, Result, Row, machine, medians, versions
from seodang.distillation.loss import (
    CandidateSignal,
    HiddenSignal,
    Objective,
    SampledSignal,
    Signal,
    TruncatedSignal,
    distillation_loss,
)
from seodang.distillation.recipes.candidates import choose
from seodang.runtime.kernels.choice import choose_kernels
from seodang.runtime.scorer import Scores, ScoreSpec, score
from seodang.runtime.sharding import Ranks

HEAD: Final = 4
DRAWS: Final = 8
WIDTH: Final = 64
FEATURES: Final = 96
_CHUNK: Final = 64
KERNELS: Final = choose_kernels(Ranks.alone(), torch.float32)
OBJECTIVES: Final = {
    "forward KL": Objective(),
    "JSD at beta 0.5": Objective("generalized_jsd", beta=0.5),
    "reverse KL": Objective("reverse_kl"),
}
SUMMARY: Final = f"""The angle between the gradient of a whole batch as a target gives it and as the teacher's whole
distribution gives it, from the same student: `matrix angle` of a matrix below the hidden states that all positions
share, as every weight of a network is shared, `head angle` of the output head, most of whose rows a batch touches
once or never. 90 degrees is no information. Teacher and student are random maps with a Zipf-like prior over the
vocabulary (`teacher entropy`, in nats, says how sharp it is); the student is the teacher disturbed. *{HEAD} + {DRAWS}
sampled* are the teacher's {HEAD} likeliest tokens and {DRAWS} systematic draws from the rest; *live* are as many,
chosen by the student in proportion to its own probabilities and scored by the teacher, which reverse KL and JSD need.
*Random draws* are those of Random Sampling KD (ACL 2025); *top k* keeps one bucket for all other tokens,
*renormalised* keeps none. Medians over seeds."""


@dataclass(frozen=True)
class World:
    """A teacher and a student at N positions."""

    features_NF: Tensor
    matrix_FH: Tensor
    head_VH: Tensor
    teacher_hidden_NH: Tensor
    teacher_head_VH: Tensor
    seed: int

    @classmethod
    def make(cls, vocabulary: int, positions: int, seed: int) -> "World":
        draw = torch.Generator().manual_seed(seed)

        def noise(*shape: int) -> Tensor:
            return torch.randn(shape, generator=draw)

        features_NF = noise(positions, FEATURES)
        features_NF[:, 0] = 1.0
        matrix_FH = noise(FEATURES, WIDTH) / math.sqrt(FEATURES)
        matrix_FH[:, 0] = 0.0
        matrix_FH[0, 0] = 1.0  # the first hidden number is 1 everywhere: it carries the prior
        head_VH = noise(vocabulary, WIDTH) * (3.0 / math.sqrt(WIDTH))
        head_VH[:, 0] = -torch.arange(1, vocabulary + 1).log()
        return cls(
            features_NF=features_NF,
            matrix_FH=(matrix_FH + 0.3 * noise(FEATURES, WIDTH) / math.sqrt(FEATURES)).requires_grad_(),
            head_VH=(head_VH + 0.3 * noise(vocabulary, WIDTH) * (3.0 / math.sqrt(WIDTH))).requires_grad_(),
            teacher_hidden_NH=features_NF @ matrix_FH,
            teacher_head_VH=head_VH,
            seed=seed,
        )

    def gradients(self, signal: Signal, objective: Objective) -> tuple[Tensor, Tensor]:
        """Of the mean loss, with respect to matrix and head."""
        labels_N = torch.zeros(len(self.features_NF), dtype=torch.int64)
        loss = distillation_loss(self.features_NF @ self.matrix_FH, self.head_VH, labels_N, signal, objective).loss
        matrix, head = torch.autograd.grad(loss, (self.matrix_FH, self.head_VH))
        return matrix, head

    def whole(self) -> HiddenSignal:
        """The teacher's whole distribution."""
        return HiddenSignal(self.teacher_hidden_NH, self.teacher_head_VH)

    def teacher(self, top_k: int, draws: int) -> Scores:
        """The teacher's own scores, as its engine makes them."""
        return _scored(self.teacher_hidden_NH, self.teacher_head_VH, top_k, draws, self.seed)

    def sampled(self) -> SampledSignal:
        scores = self.teacher(HEAD, DRAWS)
        ids, draws = _entries(scores)
        probs = torch.cat([scores.top_logprobs_Pk.exp(), (scores.tail_mass_P[:, None] / DRAWS).expand_as(draws)], 1)
        return SampledSignal(ids, probs, scores.entropy_P)

    @torch.no_grad()
    def live(self) -> CandidateSignal:
        starts = torch.rand(len(self.features_NF), generator=torch.Generator().manual_seed(self.seed)).double()
        hidden_NH = self.features_NF @ self.matrix_FH
        chosen = [
            choose(KERNELS, hidden_CH @ self.head_VH.T, HEAD + DRAWS, start_C)
            for hidden_CH, start_C in zip(torch.split(hidden_NH, _CHUNK), torch.split(starts, _CHUNK), strict=True)
        ]
        ids, weights = (torch.cat(parts) for parts in zip(*chosen, strict=True))
        log_probs = _log_probs(self.teacher_hidden_NH, self.teacher_head_VH, ids)
        return CandidateSignal(ids, log_probs, weights.float())

    def random_draws(self, count: int) -> SampledSignal:
        draw = torch.Generator().manual_seed(self.seed)
        ids = torch.cat(
            [
                (hidden_CH @ self.teacher_head_VH.T).softmax(-1).multinomial(count, replacement=True, generator=draw)
                for hidden_CH in torch.split(self.teacher_hidden_NH, _CHUNK)
            ]
        )
        return SampledSignal(ids, torch.full(ids.shape, 1 / count), torch.zeros(len(ids)))

    def top(self, count: int) -> TruncatedSignal:
        scores = self.teacher(count, 0)
        return TruncatedSignal(scores.top_ids_Pk, scores.top_logprobs_Pk, scores.tail_mass_P.clamp(min=1e-12).log())

    def top_renormalised(self, count: int) -> SampledSignal:
        scores = self.teacher(count, 0)
        return SampledSignal(scores.top_ids_Pk, scores.top_logprobs_Pk.softmax(-1), torch.zeros(len(scores.top_ids_Pk)))


Make = Callable[[World], Signal]
STORED: Final[dict[str, Make]] = {
    f"{HEAD} + {DRAWS} sampled": World.sampled,
    "12 random draws": partial(World.random_draws, count=12),
    "top 12, renormalised": partial(World.top_renormalised, count=12),
    "top 50, renormalised": partial(World.top_renormalised, count=50),
}
ANY: Final[dict[str, Make]] = {
    f"{HEAD + DRAWS} live": World.live,
    "top 12": partial(World.top, count=12),
    "top 50": partial(World.top, count=50),
}


def measure(vocabulary: int, positions: int, seeds: int) -> list[Row]:
    """A row an objective and target."""
    found: dict[tuple[str, str], list[Row]] = {}
    for seed in range(seeds):
        world = World.make(vocabulary, positions, seed)
        entropy = float(world.teacher(HEAD, 0).entropy_P.mean())
        for name, objective in OBJECTIVES.items():
            matrix, head = world.gradients(world.whole(), objective)
            for target, make in (STORED | ANY if objective.is_forward else ANY).items():
                near_matrix, near_head = world.gradients(make(world), objective)
                angles = {"matrix_angle": angle(matrix, near_matrix), "head_angle": angle(head, near_head)}
                found.setdefault((name, target), []).append({**angles, "teacher_entropy": entropy})
                print(f"seed {seed}, {name}, {target}: {angles}", flush=True)
    sizes = {"vocabulary": vocabulary, "positions": positions}
    return [{"objective": name, "target": target, **medians(rows), **sizes} for (name, target), rows in found.items()]


def angle(one: Tensor, other: Tensor) -> float:
    """In degrees."""
    first, second = one.flatten().double(), other.flatten().double()
    cosine = float(first @ second / (first.norm() * second.norm()))
    return math.degrees(math.acos(max(-1.0, min(1.0, cosine))))


def _scored(hidden_NH: Tensor, head_VH: Tensor, top_k: int, draws: int, seed: int) -> Scores:
    count = len(hidden_NH)
    spec = ScoreSpec(temperature=1.0, top_k=top_k, tail_samples=draws, seed=seed, entropy=True)
    none = torch.full((count,), -1)
    return score(KERNELS, lambda part: hidden_NH @ head_VH[part].T, len(head_VH), spec, none, None, np.arange(count))


def _entries(scores: Scores) -> tuple[Tensor, Tensor]:
    """Ids of head and draws, [N, K], and log-probabilities of the draws."""
    assert scores.sample_ids_Pn is not None
    assert scores.sample_logprobs_Pn is not None
    return torch.cat([scores.top_ids_Pk, scores.sample_ids_Pn], 1), scores.sample_logprobs_Pn


def _log_probs(hidden_NH: Tensor, head_VH: Tensor, ids_NK: Tensor) -> Tensor:
    return torch.cat(
        [
            (hidden_CH @ head_VH.T).log_softmax(-1).gather(1, ids_CK)
            for hidden_CH, ids_CK in zip(torch.split(hidden_NH, _CHUNK), torch.split(ids_NK, _CHUNK), strict=True)
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocabulary", type=int, default=163_840)
    parser.add_argument("--positions", type=int, default=16_384)
    parser.add_argument("--seeds", type=int, default=1)
    given = parser.parse_args()
    before = machine()
    rows = measure(given.vocabulary, given.positions, given.seeds)
    Result(
        name="gradients",
        title="The gradient of a small target",
        summary=SUMMARY,
        command=" ".join(["python -m benchmarks.gradients", *sys.argv[1:]]),
        rows=rows,
        machine=before,
        versions=versions("torch"),
        charts=[
            Chart("Angle to the whole distribution's gradient", "matrix_angle", label="objective", series="target")
        ],
    ).write()


if __name__ == "__main__":
    main()
