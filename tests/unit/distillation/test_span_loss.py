"""The loss across tokenizers against a float64 oracle that folds whole logits, and what it tends to."""

import math

import pytest
import torch
from torch import Tensor

from seodang.distillation.loss import Objective, SpanSignal, span_loss

N, V, H = 23, 17, 6
OBJECTIVES = [
    Objective(temperature=100.0),
    Objective(),
    Objective("reverse_kl", temperature=7.0),
    Objective("generalized_jsd", 0.3, temperature=20.0),
    Objective(cross_entropy_weight=0.3, temperature=100.0),
    Objective("reverse_kl", cross_entropy_weight=0.7),
]


class Case:
    """A student of random weights, and teachers' probabilities of spans of one to four of its tokens."""

    def __init__(self, seed: int = 0, teachers: int = 1) -> None:
        draw = torch.Generator().manual_seed(seed)
        self.hidden = torch.randn(N, H, dtype=torch.float64, generator=draw, requires_grad=True)
        self.head = torch.randn(V, H, dtype=torch.float64, generator=draw, requires_grad=True)
        self.labels = torch.randint(V, (N,), generator=draw)
        lengths = torch.randint(1, 5, (N,), generator=draw)
        self.span = torch.repeat_interleave(torch.arange(N), lengths)[:N]
        spans = int(self.span.max()) + 1
        log_probs = -6 * torch.rand(teachers, spans, dtype=torch.float64, generator=draw)
        self.signal = SpanSignal(self.span, log_probs, tuple(1 / teachers for _ in range(teachers)))

    def log_q(self) -> Tensor:
        return (self.hidden @ self.head.T).log_softmax(-1).gather(1, self.labels[:, None])[:, 0]


def oracle(case: Case, objective: Objective) -> Tensor:
    """By autograd, from the definition: two outcomes a span, each to the power 1/T."""
    log_q_N = case.log_q()
    spans = case.signal.log_probs_GS.shape[1]
    log_q = torch.stack([log_q_N[case.span == number].sum() for number in range(spans)])
    total = torch.zeros((), dtype=torch.float64)
    for log_p, share in zip(case.signal.log_probs_GS, case.signal.shares, strict=True):
        p, q = (log_p / objective.temperature).exp(), (log_q / objective.temperature).exp()
        for one, two in ((p, q), (1 - p, 1 - q)):
            if objective.is_forward:
                terms = one * (one / two).log()
            elif objective.is_reverse:
                terms = two * (two / one).log()
            else:
                beta = objective.beta or 0.0
                middle = beta * one + (1 - beta) * two
                terms = beta * one * (one / middle).log() + (1 - beta) * two * (two / middle).log()
            total = total + share * terms.sum()
    weight = objective.cross_entropy_weight
    return ((1 - weight) * objective.temperature * total - weight * log_q_N.sum()) / N


@pytest.mark.parametrize("teachers", [1, 2])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_value_and_gradient_are_those_of_the_definition(objective: Objective, teachers: int) -> None:
    case = Case(teachers=teachers)
    expected = oracle(case, objective)
    loss = span_loss(case.hidden, case.head, case.labels, case.signal, objective, chunk=5).loss
    torch.testing.assert_close(loss, expected)
    ours, theirs = (torch.autograd.grad(each, (case.hidden, case.head)) for each in (loss, expected))
    for one, two in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, two)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_gradient_is_that_of_finite_differences(objective: Objective) -> None:
    case = Case(seed=1)

    def loss(hidden: Tensor, head: Tensor) -> Tensor:
        return span_loss(hidden, head, case.labels, case.signal, objective, chunk=7).loss

    assert torch.autograd.gradcheck(loss, (case.hidden, case.head), atol=1e-6)


def test_a_student_that_agrees_on_every_span_has_no_divergence_and_no_gradient() -> None:
    case = Case()
    spans = case.signal.log_probs_GS.shape[1]
    same = torch.zeros(1, spans, dtype=torch.float64).index_add_(1, case.span, case.log_q().detach()[None])
    for objective in OBJECTIVES[:4]:
        signal = SpanSignal(case.span, same, (1.0,))
        parts = span_loss(case.hidden, case.head, case.labels, signal, objective)
        assert abs(float(parts.divergence)) < 1e-12
        assert all(float(each.abs().max()) < 1e-9 for each in torch.autograd.grad(parts.loss, (case.hidden, case.head)))


def test_spans_of_one_token_and_two_outcomes_bound_the_whole_divergence_from_below() -> None:
    case = Case()
    teacher = torch.randn(N, V, dtype=torch.float64, generator=torch.Generator().manual_seed(5)).log_softmax(-1)
    said = teacher.gather(1, case.labels[:, None]).T
    signal = SpanSignal(torch.arange(N), said, (1.0,))
    folded = span_loss(case.hidden, case.head, case.labels, signal, Objective()).divergence
    whole = (teacher.exp() * (teacher - (case.hidden @ case.head.T).log_softmax(-1))).sum() / N
    assert 0 < float(folded.detach()) < float(whole.detach())


def test_a_high_temperature_compares_surprisals() -> None:
    """T x KL of the two outcomes tends to a log(a / b) - a + b of the surprisals a and b."""
    case = Case()
    parts = span_loss(case.hidden, case.head, case.labels, case.signal, Objective(temperature=1e5))
    spans = case.signal.log_probs_GS.shape[1]
    b = -torch.zeros(spans, dtype=torch.float64).index_add_(0, case.span, case.log_q().detach())
    a = -case.signal.log_probs_GS[0]
    limit = (a * (a / b).log() - a + b).sum() / N
    assert float(parts.loss.detach()) == pytest.approx(float(limit), rel=1e-3)


@pytest.mark.parametrize("sure", [1e-9, 0.0])
def test_a_student_or_teacher_that_is_certain_has_a_finite_loss(sure: float) -> None:
    for head_scale in (1.0, 1e4):
        case = Case()
        hidden = case.hidden.detach().float().requires_grad_()
        signal = SpanSignal(case.span, torch.full_like(case.signal.log_probs_GS, -sure), (1.0,))
        for objective in OBJECTIVES[:4]:
            head = case.head.detach().float() * head_scale
            loss = span_loss(hidden, head, case.labels, signal, objective).loss
            (gradient,) = torch.autograd.grad(loss, hidden)
            assert math.isfinite(float(loss.detach()))
            assert bool(gradient.isfinite().all())


def test_halves_of_a_step_add_up() -> None:
    case = Case()
    objective = OBJECTIVES[4]
    whole = span_loss(case.hidden, case.head, case.labels, case.signal, objective).loss
    cut = int((case.span == case.span[N // 2]).nonzero()[0])
    total = torch.zeros((), dtype=torch.float64)
    for rows in (slice(0, cut), slice(cut, N)):
        numbers, local = case.span[rows].unique(return_inverse=True)
        part = SpanSignal(local, case.signal.log_probs_GS[:, numbers], (1.0,))
        total = total + span_loss(case.hidden[rows], case.head, case.labels[rows], part, objective, normalizer=N).loss
    torch.testing.assert_close(total, whole)
