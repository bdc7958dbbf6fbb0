import numpy as np
import pytest
import torch

from seodang.runtime.sampler import SamplingState, draw
from seodang.runtime.uniform import uniforms
from seodang.worker.messages import SamplingParams

VOCABULARY = 50


def logits(rows: int = 1, vocabulary: int = VOCABULARY, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, vocabulary, generator=torch.Generator().manual_seed(seed)) * 2


def state(prompt: tuple[int, ...] = (), **params: object) -> SamplingState:
    return SamplingState.start(SamplingParams(**params), prompt)  # type: ignore[arg-type]


def frequencies(row: torch.Tensor, draws: int, **params: object) -> np.ndarray:
    """How often each token is drawn over seeds."""
    states = [state(seed=seed, **params) for seed in range(draws)]
    tokens = draw(row.expand(draws, -1), states)
    return np.bincount(tokens, minlength=row.shape[-1]) / draws


def test_temperature_zero_takes_the_most_likely_and_the_lowest_among_equals() -> None:
    row = torch.zeros(1, 5)
    row[0, 2] = row[0, 4] = 1.0
    assert draw(row, [state(temperature=0.0)]) == [2]


def test_a_number_rounded_to_the_very_end_takes_the_last_token_with_mass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SamplingState, "uniform", lambda self: 1.0)
    rows = torch.tensor([[0.0, 2.0, 1.0, -torch.inf, -torch.inf], [3.0, 1.0, 0.0, -torch.inf, 2.0]])
    assert draw(rows, [state(), state(temperature=0.5)]) == [2, 4]
    assert draw(rows, [state(top_k=2), state(temperature=0.0)]) == [2, 0]


@pytest.mark.parametrize("params", [{}, {"temperature": 0.7}, {"temperature": 1.7}])
def test_draws_follow_the_distribution(params: dict[str, float]) -> None:
    row = logits(vocabulary=8)
    expected = (row[0].double() / params.get("temperature", 1.0)).softmax(-1).numpy()
    assert np.abs(frequencies(row, 4000, **params) - expected).max() < 0.03


def test_top_k_keeps_the_k_most_likely() -> None:
    row = logits()
    drawn = set(np.flatnonzero(frequencies(row, 800, top_k=4)))
    assert drawn == set(row[0].topk(4).indices.tolist())


def test_top_p_keeps_the_smallest_set_that_reaches_the_mass() -> None:
    row = torch.tensor([[0.5, 0.25, 0.15, 0.07, 0.03]]).log()
    assert set(np.flatnonzero(frequencies(row, 800, top_p=0.7))) == {0, 1}
    assert set(np.flatnonzero(frequencies(row, 800, top_p=0.76))) == {0, 1, 2}


def test_top_p_counts_within_top_k() -> None:
    row = torch.tensor([[0.4, 0.3, 0.2, 0.1]]).log()
    # within the top 2 the first has 4/7 = 0.571 of the mass
    assert set(np.flatnonzero(frequencies(row, 800, top_k=2, top_p=0.57))) == {0}
    assert set(np.flatnonzero(frequencies(row, 800, top_k=2, top_p=0.58))) == {0, 1}


def test_min_p_is_relative_to_the_most_likely() -> None:
    row = torch.tensor([[0.5, 0.26, 0.2, 0.04]]).log()
    assert set(np.flatnonzero(frequencies(row, 800, min_p=0.5))) == {0, 1}


def test_a_flat_distribution_over_a_large_vocabulary_is_truncated_exactly() -> None:
    """More candidates are kept than are looked at first."""
    row = logits(vocabulary=6000) * 0.05
    kept = row[0].double().softmax(-1).sort(descending=True)
    count = int((kept.values.cumsum(-1) < 0.9).sum()) + 1
    drawn = np.flatnonzero(frequencies(row, 400, top_p=0.9))
    assert count > 4000
    assert set(drawn) <= set(kept.indices[:count].tolist())
    assert len(drawn) > 300


@pytest.mark.parametrize("params", [{}, {"top_p": 0.8}, {"top_k": 7, "min_p": 0.01}, {"repetition_penalty": 1.3}])
def test_a_seed_draws_the_same_whatever_else_is_in_the_batch(params: dict[str, float]) -> None:
    rows = logits(6)
    alone = [draw(rows[i : i + 1], [state(seed=i, prompt=(1, 2), **params)])[0] for i in range(6)]
    mixed = [{"temperature": 0.0}, {"top_k": 3}, {"top_p": 0.5}, params, {"min_p": 0.2}, params]
    states = [state(seed=i, prompt=(1, 2), **other) for i, other in enumerate(mixed)]
    together = draw(rows, states)
    assert together[3] == alone[3]
    assert together[5] == alone[5]


def test_positions_of_one_seed_draw_independently() -> None:
    numbers = uniforms(7, np.arange(20_000))
    assert abs(numbers.mean() - 0.5) < 0.01
    assert abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 0.02
    assert np.histogram(numbers, 10, (0, 1))[0].min() > 1800


def test_neighbouring_seeds_draw_independently() -> None:
    first = np.array([uniforms(seed, np.array([0]))[0] for seed in range(5000)])
    assert np.histogram(first, 10, (0, 1))[0].min() > 400


def test_repetition_penalty_shrinks_positive_and_grows_negative_logits() -> None:
    row = torch.tensor([[2.0, 1.9, -1.0, -0.9]])
    assert draw(row, [state(prompt=(0,), temperature=0.0, repetition_penalty=1.5)]) == [1]
    negative = torch.tensor([[-1.0, -1.1]])
    assert draw(negative, [state(prompt=(0,), temperature=0.0, repetition_penalty=1.5)]) == [1]


def test_presence_and_frequency_count_the_completion_only() -> None:
    row = torch.tensor([[2.0, 1.5]])
    prompted = state(prompt=(0, 0, 0), temperature=0.0, presence_penalty=1.0, frequency_penalty=1.0)
    assert draw(row, [prompted]) == [0]
    prompted.note(0)
    assert draw(row, [prompted]) == [1]


def test_logit_bias_can_force_and_forbid() -> None:
    row = logits()
    best = int(row.argmax())
    assert draw(row, [state(temperature=0.0, logit_bias={best: -1000.0})]) != [best]
    assert draw(row, [state(logit_bias={17: 1000.0})]) == [17]


def test_reshaping_one_row_leaves_the_callers_logits_alone() -> None:
    row = logits()
    before = row.clone()
    draw(row, [state(logit_bias={3: 5.0})])
    assert torch.equal(row, before)
