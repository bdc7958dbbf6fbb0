"""The scorer against plain float64 softmax over the whole vocabulary."""

import shutil
from typing import Protocol

import numpy as np
import pytest
import torch

from seodang.runtime import scorer
from seodang.runtime.kernels.build import load_library
from seodang.runtime.kernels.interface import Kernels
from seodang.runtime.kernels.native_kernels import NativeKernels
from seodang.runtime.kernels.torch_kernels import TorchKernels
from seodang.runtime.scorer import Scores, ScoreSpec, score

POSITIONS, VOCABULARY = 7, 300


def make_logits(seed: int = 0) -> torch.Tensor:
    return torch.randn(POSITIONS, VOCABULARY, generator=torch.Generator().manual_seed(seed)) * 3


class Run(Protocol):
    """The scorer on logits."""

    def __call__(
        self, logits: torch.Tensor, seed: int = 0, named: torch.Tensor | None = None, **spec: object
    ) -> Scores:
        """Score all positions."""


@pytest.fixture(params=["torch", "native"])
def run(request: pytest.FixtureRequest) -> Run:
    """On plain torch, and on our kernels."""
    if request.param == "native" and shutil.which("gcc") is None:
        pytest.skip("no gcc here")
    plain = TorchKernels(torch.float32)
    kernels: Kernels = plain if request.param == "torch" else NativeKernels(load_library())

    def run(logits: torch.Tensor, seed: int = 0, named: torch.Tensor | None = None, **spec: object) -> Scores:
        settings = {"temperature": 1.0, "top_k": 0, "tail_samples": 0, "seed": seed, "entropy": True, **spec}
        next_ids = torch.tensor([5, 299, 0, 17, 150, 33, -1])
        return score(
            kernels,
            lambda part: logits[:, part],
            VOCABULARY,
            ScoreSpec(**settings),  # type: ignore[arg-type]
            next_ids,
            named,
            np.arange(POSITIONS),
        )

    return run


@pytest.fixture(params=[10**6, 7 * 64, 7])
def tile_floats(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """One tile, several, and one a token."""
    monkeypatch.setattr(scorer, "TILE_FLOATS", request.param)
    return int(request.param)


@pytest.mark.parametrize("temperature", [1.0, 0.5, 2.0])
def test_normaliser_entropy_and_log_probabilities_are_exact(run: Run, tile_floats: int, temperature: float) -> None:
    logits = make_logits()
    named = torch.tensor([[0, 1, 299, -1]]).expand(POSITIONS, -1)
    result = run(logits, named=named, temperature=temperature)
    scaled = logits.double() / temperature
    logprobs = scaled.log_softmax(-1)
    torch.testing.assert_close(result.logsumexp_P.double(), scaled.logsumexp(-1), atol=1e-5, rtol=1e-6)
    torch.testing.assert_close(result.entropy_P.double(), -(logprobs.exp() * logprobs).sum(-1), atol=1e-5, rtol=1e-5)
    assert result.named_logprobs_PK is not None
    torch.testing.assert_close(result.named_logprobs_PK[:, :3].double(), logprobs[:, [0, 1, 299]], atol=1e-5, rtol=1e-6)
    assert torch.isneginf(result.named_logprobs_PK[:, 3]).all()
    torch.testing.assert_close(result.next_logprobs_P[1].double(), logprobs[1, 299], atol=1e-5, rtol=1e-6)
    assert torch.isnan(result.next_logprobs_P[-1])


@pytest.mark.parametrize("top_k", [1, 12, 300, 1000])
def test_the_head_and_the_mass_beyond_it_are_exact(run: Run, tile_floats: int, top_k: int) -> None:
    logits = make_logits(1)
    result = run(logits, top_k=top_k)
    logprobs = logits.double().log_softmax(-1)
    expected = logprobs.topk(min(top_k, VOCABULARY), dim=-1)
    assert torch.equal(result.top_ids_Pk, expected.indices)
    torch.testing.assert_close(result.top_logprobs_Pk.double(), expected.values, atol=1e-5, rtol=1e-6)
    torch.testing.assert_close(
        result.tail_mass_P.double(), (1 - expected.values.exp().sum(-1)).clamp(min=0), atol=1e-6, rtol=1e-5
    )


def test_extreme_logits_do_not_overflow(run: Run, tile_floats: int) -> None:
    logits = make_logits() * 1000 + 5000
    result = run(logits, top_k=2, tail_samples=4)
    assert torch.isfinite(result.logsumexp_P).all()
    assert torch.isfinite(result.entropy_P).all()
    assert (result.entropy_P >= -1e-3).all()


def test_logits_that_are_no_numbers_make_no_score(run: Run, tile_floats: int) -> None:
    logits = make_logits()
    logits[1] = torch.nan
    logits[2, 7] = torch.nan
    logits[3, 299] = -torch.tensor(torch.nan)
    logits[4, 150] = torch.inf
    result = run(logits, top_k=3, tail_samples=4)
    assert not torch.isfinite(result.logsumexp_P[1:5]).any()
    assert torch.isfinite(result.logsumexp_P[[0, 5, 6]]).all()
    assert result.sample_ids_Pn is not None
    assert (result.sample_ids_Pn[1:4] == -1).all()
    assert (result.sample_ids_Pn[[0, 5, 6]] >= 0).all()


def test_draws_come_from_the_tail_with_their_log_probability(run: Run, tile_floats: int) -> None:
    logits = make_logits(2)
    result = run(logits, top_k=5, tail_samples=9)
    assert result.sample_ids_Pn is not None
    assert result.sample_logprobs_Pn is not None
    logprobs = logits.double().log_softmax(-1)
    for position in range(POSITIONS):
        head = set(result.top_ids_Pk[position].tolist())
        assert not head & set(result.sample_ids_Pn[position].tolist())
    torch.testing.assert_close(
        result.sample_logprobs_Pn.double(), logprobs.gather(1, result.sample_ids_Pn), atol=1e-5, rtol=1e-6
    )


def test_draws_do_not_depend_on_the_tiles(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    logits = make_logits(3)
    whole = run(logits, top_k=3, tail_samples=16)
    monkeypatch.setattr(scorer, "TILE_FLOATS", 7 * 50)
    tiled = run(logits, top_k=3, tail_samples=16)
    assert whole.sample_ids_Pn is not None
    assert tiled.sample_ids_Pn is not None
    assert torch.equal(whole.sample_ids_Pn, tiled.sample_ids_Pn)


@pytest.mark.parametrize("top_k", [0, 8])
def test_sums_over_head_and_weighted_draws_are_unbiased(run: Run, top_k: int) -> None:
    """The mean over seeds of an estimated sum meets the exact sum within four standard errors."""
    logits = make_logits(4)[:1].expand(POSITIONS, -1)
    logprobs = logits[0].double().log_softmax(-1)
    function = torch.randn(VOCABULARY, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    exact = float((logprobs.exp() * function).sum())
    estimates = []
    for seed in range(150):
        result = run(logits, seed=seed, top_k=top_k, tail_samples=6)
        assert result.sample_ids_Pn is not None
        head = (result.top_logprobs_Pk.double().exp() * function[result.top_ids_Pk]).sum(-1)
        tail = result.tail_mass_P.double() * function[result.sample_ids_Pn].mean(-1)
        estimates += (head + tail).tolist()
    values = np.array(estimates)
    assert abs(values.mean() - exact) < 4 * values.std() / len(values) ** 0.5


def test_a_draw_depends_on_seed_and_position_only(run: Run) -> None:
    logits = make_logits(5)
    first, again, other = run(logits, tail_samples=8), run(logits, tail_samples=8), run(logits, seed=1, tail_samples=8)
    assert first.sample_ids_Pn is not None
    assert again.sample_ids_Pn is not None
    assert other.sample_ids_Pn is not None
    assert torch.equal(first.sample_ids_Pn, again.sample_ids_Pn)
    assert not torch.equal(first.sample_ids_Pn, other.sample_ids_Pn)


def test_no_tail_gives_no_draws(run: Run) -> None:
    result = run(make_logits(), top_k=VOCABULARY, tail_samples=3)
    assert result.sample_ids_Pn is not None
    assert (result.sample_ids_Pn == -1).all()
    assert (result.tail_mass_P == 0).all()
