"""The chunked loss against float64 autograd over whole logits, written from the definitions."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from seodang.base.errors import InvalidInput, Unsupported
from seodang.distillation.loss import (
    CandidateSignal,
    DenseSignal,
    HiddenSignal,
    Objective,
    SampledSignal,
    Signal,
    TruncatedSignal,
    distillation_loss,
)

N, V, H, TEACHER_H, K = 37, 61, 12, 20, 7

OBJECTIVES = [
    Objective("forward_kl"),
    Objective("reverse_kl"),
    *(Objective("generalized_jsd", beta) for beta in (0.0, 0.1, 0.5, 0.9, 1.0)),
    Objective("forward_kl", temperature=2.5),
    Objective("reverse_kl", temperature=0.5, cross_entropy_weight=0.3),
    Objective("generalized_jsd", 0.3, cross_entropy_weight=0.7, temperature=1.5),
]


class Case:
    def __init__(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> None:
        g = torch.Generator().manual_seed(seed)
        self.hidden = torch.randn(N, H, generator=g, dtype=dtype).requires_grad_()
        self.head = torch.randn(V, H, generator=g, dtype=dtype).requires_grad_()
        self.labels = torch.randint(V, (N,), generator=g)
        self.weights = torch.rand(N, generator=g, dtype=dtype)
        self.weights[3] = 0
        self.teacher_hidden = torch.randn(N, TEACHER_H, generator=g, dtype=dtype)
        self.teacher_head = torch.randn(V, TEACHER_H, generator=g, dtype=dtype)
        self.generator = g

    def teacher_log_probs(self, temperature: float) -> Tensor:
        return (self.teacher_hidden @ self.teacher_head.T / temperature).log_softmax(-1)

    def student_log_probs(self, temperature: float) -> Tensor:
        return (self.hidden @ self.head.T / temperature).log_softmax(-1)

    def signal(self, form: str, temperature: float) -> Signal:
        log_p = self.teacher_log_probs(temperature)
        if form == "dense":
            return DenseSignal(log_p)
        if form == "hidden":
            return HiddenSignal(self.teacher_hidden, self.teacher_head)
        if form == "truncated":
            top = log_p.topk(K)
            rest = log_p.scatter(1, top.indices, -torch.inf).logsumexp(1)
            return TruncatedSignal(top.indices, top.values, rest)
        everything = torch.arange(V).expand(N, V)
        if form == "candidates":
            return CandidateSignal(everything, log_p, torch.ones_like(log_p))
        return SampledSignal(everything, log_p.exp(), -(log_p.exp() * log_p).sum(1))

    def gradients(self, loss: Tensor) -> list[Tensor]:
        return list(torch.autograd.grad(loss, [self.hidden, self.head]))


def kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def oracle_divergence(objective: Objective, log_p: Tensor, log_q: Tensor) -> Tensor:
    if objective.is_forward:
        return kl(log_p, log_q)
    if objective.is_reverse:
        return kl(log_q, log_p)
    beta = objective.beta or 0.0
    log_m = (beta * log_p.exp() + (1 - beta) * log_q.exp()).log()
    return beta * kl(log_p, log_m) + (1 - beta) * kl(log_q, log_m)


def merged(log_probs: Tensor, ids: Tensor) -> Tensor:
    """The K + 1 categories of a truncated signal."""
    tail = log_probs.exp().scatter(1, ids, 0.0).sum(1, keepdim=True)
    return torch.cat([log_probs.gather(1, ids), tail.log()], 1)


def oracle(case: Case, form: str, objective: Objective) -> Tensor:
    log_p, log_q = case.teacher_log_probs(objective.temperature), case.student_log_probs(objective.temperature)
    if form == "truncated":
        ids = log_p.topk(K).indices
        log_p, log_q = merged(log_p, ids), merged(log_q, ids)
    divergence = oracle_divergence(objective, log_p, log_q) * objective.temperature**2
    hard = -case.student_log_probs(1.0).gather(1, case.labels[:, None])[:, 0]
    share = objective.cross_entropy_weight
    return (((1 - share) * divergence + share * hard) * case.weights).sum() / case.weights.sum()


def forms_of(objective: Objective) -> list[str]:
    return ["dense", "hidden", "truncated", "candidates", *(["sampled"] if objective.is_forward else [])]


CASES = [(objective, form) for objective in OBJECTIVES for form in forms_of(objective)]


@pytest.mark.parametrize(("objective", "form"), CASES)
@pytest.mark.parametrize("chunk", [1, 10, 1000])
def test_value_and_gradient_equal_the_oracle_whatever_the_chunk(objective: Objective, form: str, chunk: int) -> None:
    case = Case()
    loss = distillation_loss(
        case.hidden,
        case.head,
        case.labels,
        case.signal(form, objective.temperature),
        objective,
        weights_N=case.weights,
        chunk=chunk,
    ).loss
    expected = oracle(case, form, objective)
    torch.testing.assert_close(loss, expected, rtol=1e-11, atol=1e-12)
    for ours, theirs in zip(case.gradients(loss), case.gradients(expected), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize(("objective", "form"), CASES)
def test_float32_stays_close_to_the_float64_oracle(objective: Objective, form: str) -> None:
    exact, single = Case(), Case(torch.float32)
    with torch.no_grad():
        for name in ("hidden", "head", "weights", "teacher_hidden", "teacher_head", "labels"):
            getattr(single, name).data = getattr(exact, name).detach().to(getattr(single, name).dtype)
    signal = single.signal(form, objective.temperature)
    loss = distillation_loss(
        single.hidden, single.head, single.labels, signal, objective, weights_N=single.weights
    ).loss
    expected = oracle(exact, form, objective)
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(single.gradients(loss), exact.gradients(expected), strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("objective", "form"), CASES)
def test_gradcheck(objective: Objective, form: str) -> None:
    case = Case(seed=1)
    signal = case.signal(form, objective.temperature)

    def loss(hidden: Tensor, head: Tensor) -> Tensor:
        return distillation_loss(hidden, head, case.labels, signal, objective, weights_N=case.weights, chunk=16).loss

    assert torch.autograd.gradcheck(loss, (case.hidden, case.head), eps=1e-6, atol=1e-7, fast_mode=True)


def test_labels_alone_give_the_cross_entropy_of_torch() -> None:
    case = Case()
    parts = distillation_loss(case.hidden, case.head, case.labels, None, Objective(cross_entropy_weight=1.0), chunk=5)
    expected = torch.nn.functional.cross_entropy(case.hidden @ case.head.T, case.labels)
    torch.testing.assert_close(parts.loss, expected)
    torch.testing.assert_close(parts.cross_entropy, expected)
    for ours, theirs in zip(case.gradients(parts.loss), case.gradients(expected), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_an_equal_student_has_no_loss_and_no_gradient() -> None:
    case = Case()
    for objective in OBJECTIVES[:7]:
        same = DenseSignal(case.student_log_probs(1.0).detach())
        loss = distillation_loss(case.hidden, case.head, case.labels, same, objective).loss
        assert abs(float(loss.detach())) < 1e-12
        assert all(float(gradient.abs().max()) < 1e-12 for gradient in case.gradients(loss))


def systematic(log_mass: Tensor, head: int, draws: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, how often each stands for a draw, and the weight of one over its inclusion probability."""
    mass = log_mass.exp()
    top = mass.topk(head).indices
    tail = mass.scatter(1, top, 0.0)
    steps = tail.cumsum(1) / tail.sum(1, keepdim=True) * draws
    start = torch.rand(len(mass), 1, generator=generator, dtype=mass.dtype)
    hits = torch.searchsorted(steps, start + torch.arange(draws, dtype=mass.dtype)).clamp(max=mass.shape[1] - 1)
    ids = torch.cat([top, hits], 1)
    share = tail.sum(1, keepdim=True) / draws
    weights = torch.cat([torch.ones_like(top, dtype=mass.dtype), share / mass.gather(1, hits)], 1)
    return ids, mass.gather(1, ids) * weights, weights


def mean_gradient(case: Case, make: Callable[[], Signal], objective: Objective, rounds: int) -> Tensor:
    total = torch.zeros_like(case.hidden)
    for _ in range(rounds):
        loss = distillation_loss(case.hidden, case.head, case.labels, make(), objective).loss
        total += case.gradients(loss)[0]
    return total / rounds


@pytest.mark.parametrize("objective", OBJECTIVES[:6])
def test_sampled_and_live_signals_are_unbiased(objective: Objective) -> None:
    case = Case(seed=2)
    log_p, log_q = case.teacher_log_probs(1.0), case.student_log_probs(1.0).detach()
    entropy = -(log_p.exp() * log_p).sum(1)

    def sampled() -> Signal:
        ids, probs, _ = systematic(log_p, 3, 6, case.generator)
        return SampledSignal(ids, probs, entropy)

    def candidates() -> Signal:
        ids, _, weights = systematic(log_q, 3, 6, case.generator)
        return CandidateSignal(ids, log_p.gather(1, ids), weights)

    exact_loss = distillation_loss(case.hidden, case.head, case.labels, DenseSignal(log_p), objective).loss
    exact = case.gradients(exact_loss)[0]
    makers = [sampled] if objective.is_forward else [candidates]
    for make in makers:
        once = mean_gradient(case, make, objective, 1)
        often = mean_gradient(case, make, objective, 400)
        # 1 / sqrt(400) is 0.05; a bias would not average out.
        assert (often - exact).norm() < 0.15 * (once - exact).norm()


@pytest.mark.parametrize("objective", [Objective("reverse_kl"), Objective("generalized_jsd", 0.5)])
def test_a_biased_combination_is_refused_with_its_alternatives(objective: Objective) -> None:
    case = Case()
    with pytest.raises(Unsupported, match=r"biased.*hidden states.*live candidates"):
        distillation_loss(case.hidden, case.head, case.labels, case.signal("sampled", 1.0), objective)


def test_a_divergence_without_a_signal_is_refused() -> None:
    case = Case()
    with pytest.raises(InvalidInput, match="needs a teacher's signal"):
        distillation_loss(case.hidden, case.head, case.labels, None, Objective())


def test_a_teacher_certain_of_one_token_gives_finite_loss_and_gradient() -> None:
    case = Case()
    log_p = torch.full((N, V), -torch.inf, dtype=torch.float64).scatter(1, case.labels[:, None], 0.0)
    for objective in (Objective(), Objective("generalized_jsd", 0.5)):
        loss = distillation_loss(case.hidden, case.head, case.labels, DenseSignal(log_p), objective).loss
        assert bool(loss.isfinite())
        assert all(bool(gradient.isfinite().all()) for gradient in case.gradients(loss))


class LargestTensor(TorchDispatchMode):
    """Remembers the most elements that any operation's output had."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        for each in result if isinstance(result, tuple | list) else (result,):
            if isinstance(each, Tensor):
                self.elements = max(self.elements, each.numel())
        return result


@pytest.mark.parametrize("form", ["hidden", "truncated", "sampled", "candidates"])
def test_tokens_times_vocabulary_is_never_held(form: str) -> None:
    case = Case()
    signal = case.signal("truncated" if form == "truncated" else form, 1.0)
    with LargestTensor() as largest:
        distillation_loss(case.hidden, case.head, case.labels, signal, Objective(), chunk=4).loss.backward()
    assert largest.elements <= max(4 * V, V * H, N * max(H, TEACHER_H), V * TEACHER_H)
    assert largest.elements < N * V
