"""The training loop. Gradients are sums over positions divided once, so ranks share a step without changing it.

B sequences, T tokens, H width, N trained positions.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol, TypeAlias

import msgspec
import torch
from torch import Tensor
from torch.nn import Parameter

from seodang.base.errors import InternalFault
from seodang.distillation.data import Encoded
from seodang.distillation.events import CurvePoint
from seodang.distillation.group import ALONE, Group
from seodang.distillation.loss import HiddenSignal, Objective, Signal, SpanSignal, distillation_loss, span_loss
from seodang.distillation.spec import Budget
from seodang.distillation.training.batches import Batch, collate
from seodang.distillation.training.checkpoint import TrainingState
from seodang.distillation.training.matching import StateMatching
from seodang.distillation.training.place import Narrow
from seodang.distillation.training.schedule import MAX_GRADIENT_NORM, learning_rate, make_optimizers
from seodang.distillation.training.sharded_checkpoint import AnyCheckpoints
from seodang.distillation.training.sharding import Sharded
from seodang.distillation.training.student import Student

AnySignal: TypeAlias = Signal | SpanSignal
CURVE_POINTS = 100
_DEV_BATCH = 32
_LABELS: Final = Objective(cross_entropy_weight=1.0)


class Lessons(Protocol):
    """What a recipe gives to each step."""

    @property
    def objective(self) -> Objective:
        """What is minimised."""
        ...

    def step(self, step: int, student: Student) -> Sequence[tuple[Batch, AnySignal | None]]:
        """The batches of a step, the same whenever it is asked for the same step and student.

        The ranks of a group get the same batches, and ask together. A rank gets the signals of those that it owns; of
        others there may be none.
        """
        ...


@dataclass(frozen=True)
class Training:
    """One student's training, and whom it tells."""

    subject: str
    fingerprint: str
    budget: Budget
    lessons: Lessons
    dev: Encoded
    """Development examples, for the curve and for patience."""
    checkpoints: AnyCheckpoints
    on_point: Callable[[CurvePoint], None]
    on_step: Callable[[TrainingState], None]
    before_checkpoint: Callable[[], None]
    """Makes what was told so far durable: a checkpoint must never be ahead of its curve."""
    matching: StateMatching | None = None
    """Trained beside the student and added to the objective, for lessons whose signals are hidden states."""
    group: Group = ALONE
    """Who trains it together; each rank has all of this, and only rank 0 is to tell of it."""


def train(student: Student, training: Training) -> TrainingState:
    """Trains to the end, from the newest checkpoint if there is one. The student then has its final weights, or, in
    a group, this rank's part of them.

    Raises:
        InternalFault: the loss is no longer finite.
    """
    loop = _Loop(student, training)
    student.model.train()
    while not loop.state.stopped:
        loop.step()
        training.on_step(loop.state)
    if training.budget.patience:
        training.checkpoints.restore_best(loop.named)
    student.model.eval()
    return loop.state


class _Loop:
    def __init__(self, student: Student, training: Training) -> None:
        dtype = getattr(torch, training.budget.dtype)
        if training.group.size > 1:
            student.place = Sharded(student, training.matching, training.group, dtype)
        elif dtype != torch.float32:
            student.place = Narrow(student.model, training.matching, dtype)
        self.named: list[tuple[str, Parameter]] = [
            (name, parameter) for name, parameter in student.model.named_parameters() if parameter.requires_grad
        ]
        if training.matching is not None:
            self.named += training.matching.named_parameters("matching")
        self._student = student
        self._training = training
        self._group = training.group
        self._optimizers = make_optimizers(student, [parameter for _, parameter in self.named], training.budget)
        self.state = training.checkpoints.restore(training.fingerprint, self.named, self._optimizers)
        # A checkpoint always comes with a curve point, so these start from nothing there.
        self._losses: list[float] = []
        self._since = self.state

    def step(self) -> None:
        """One optimiser step, with its curve point and checkpoint where they are due."""
        budget, state = self._training.budget, self.state
        began_s = time.monotonic()
        rate = learning_rate(budget, state.step)
        batches = self._training.lessons.step(state.step, self._student)
        self._losses.append(self._accumulate(batches))
        torch.nn.utils.clip_grad_norm_([parameter for _, parameter in self.named], MAX_GRADIENT_NORM)
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.state = msgspec.structs.replace(
            state,
            step=state.step + 1,
            tokens=state.tokens + sum(batch.tokens for batch, _ in batches),
            positions=state.positions + sum(len(batch.labels_N) for batch, _ in batches),
            seconds=state.seconds + time.monotonic() - began_s,
            stopped=state.step + 1 == budget.steps,
        )
        if self.state.stopped or self.state.step % budget.checkpoint_steps == 0:
            self._measure_and_save(rate)
        elif self.state.step % max(1, budget.steps // CURVE_POINTS) == 0:
            self._point(rate, None)

    def _accumulate(self, batches: Sequence[tuple[Batch, AnySignal | None]]) -> float:
        """Gradients of the mean loss over all positions of the step; returns that loss."""
        positions = sum(len(batch.labels_N) for batch, _ in batches)
        total = 0.0
        parts = self._group.share(batches)
        for number, ((made, signal), weight) in enumerate(parts):
            assert signal is not None or not weight or self._training.lessons.objective.cross_entropy_weight == 1
            loss = self._student.place.compute(partial(self._loss_of, made, signal, positions)) * weight
            self._student.place.accumulate(last=number == len(parts) - 1)
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        total = self._group.sum(total)
        if not math.isfinite(total):
            raise InternalFault(
                f"{self._training.subject}: the loss of step {self.state.step + 1} is {total}: lower learning_rate"
            )
        return total

    def _loss_of(self, made: Batch, signal: AnySignal | None, positions: int) -> Tensor:
        batch = made.to(self._student.device)
        hidden_NH = trained_hidden(self._student, batch)
        here = None if signal is None else signal.to(self._student.device)
        loss = self._loss(hidden_NH, batch, here, positions)
        if self._training.matching is not None:
            assert isinstance(here, HiddenSignal)
            loss = loss + self._training.matching(hidden_NH, here.hidden_NH).sum() / positions
        return loss

    def _loss(self, hidden_NH: Tensor, batch: Batch, signal: AnySignal | None, positions: int) -> Tensor:
        head_VH = self._student.head_VH
        objective = _LABELS if signal is None else self._training.lessons.objective
        if isinstance(signal, SpanSignal):
            return span_loss(hidden_NH, head_VH, batch.labels_N, signal, objective, normalizer=positions).loss
        return distillation_loss(hidden_NH, head_VH, batch.labels_N, signal, objective, normalizer=positions).loss

    def _measure_and_save(self, rate: float) -> None:
        loss = dev_loss(self._student, self._training.dev, self._group)
        best = self.state.best_dev_loss is None or loss < self.state.best_dev_loss
        worse = 0 if best else self.state.worse_in_a_row + 1
        patience = self._training.budget.patience
        self.state = msgspec.structs.replace(
            self.state,
            best_dev_loss=loss if best else self.state.best_dev_loss,
            worse_in_a_row=worse,
            stopped=self.state.stopped or (0 < patience <= worse),
        )
        self._point(rate, loss)
        self._training.before_checkpoint()
        keep_best = best and patience > 0
        self._training.checkpoints.save(self.state, self.named, self._optimizers, best=keep_best)

    def _point(self, rate: float, eval_loss: float | None) -> None:
        tokens, seconds = self.state.tokens - self._since.tokens, self.state.seconds - self._since.seconds
        point = CurvePoint(
            subject=self._training.subject,
            step=self.state.step,
            loss=sum(self._losses) / len(self._losses),
            eval_loss=eval_loss,
            learning_rate=rate,
            tokens_per_s=tokens / max(seconds, 1e-9),
        )
        self._training.on_point(point)
        self._losses.clear()
        self._since = self.state


def dev_loss(student: Student, dev: Encoded, group: Group = ALONE) -> float:
    """Cross-entropy of the development answers, in nats a position."""
    total = 0.0
    student.model.eval()
    with torch.no_grad():
        for start, weight in group.share(range(0, len(dev), _DEV_BATCH)):
            batch = collate(dev, range(start, min(start + _DEV_BATCH, len(dev)))).to(student.device)
            loss = student.place.compute(partial(_cross_entropy, student, batch))
            total += float(loss) * len(batch.labels_N) * weight
    student.model.train()
    return group.sum(total) / int(dev.positions.sum())


def _cross_entropy(student: Student, batch: Batch) -> Tensor:
    hidden_NH = trained_hidden(student, batch)
    return distillation_loss(hidden_NH, student.head_VH, batch.labels_N, None, _LABELS).cross_entropy


def trained_hidden(student: Student, batch: Batch) -> Tensor:
    """[N, H] hidden states at the trained positions."""
    return student.hidden(batch.ids_BT).flatten(0, 1).index_select(0, batch.at_N)
