"""Trains the teacher: one pass of the recipe's steps, resumable at any moment, with its progress on one line a step."""

import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from architecture import TrainingHooks, build
from mixture import Batch, Mixture
from muon import Muon
from ranks import average_gradients, run
from recipe import Recipe, Training
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoTokenizer, AXK1ForCausalLM
from tutor import EMBEDDING_SIZE

_LOG_EVERY = 10


@dataclass
class Trainer:
    """The network with what training needs beside it."""

    network: AXK1ForCausalLM
    hooks: TrainingHooks
    tutor_head: nn.Linear
    optimizers: tuple[torch.optim.Optimizer, ...]
    training: Training

    def step(self, batch: Batch, number: int) -> dict[str, float]:
        """One update; returns the losses that it went by."""
        rate = _schedule(number, self.training)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["base_lr"] * rate
        losses = self._losses(batch)
        sum(losses.values(), torch.zeros(())).backward()
        average_gradients([*self.network.parameters(), *self.tutor_head.parameters()])
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return {name: float(loss.detach()) for name, loss in losses.items()}

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        self.hooks.rate_BT1 = batch.dropout_RT1 if batch.dropout_RT1.any() else None
        states = self.network.model(
            batch.tokens_RT, attention_mask=batch.mask_R1TT, position_ids=batch.positions_RT, use_cache=False
        ).last_hidden_state.flatten(0, 1)
        chosen = batch.weights_P.nonzero().squeeze(1)
        weights = batch.weights_P[chosen]
        targets = batch.tokens_RT.reshape(-1)[chosen + 1]
        token_losses = functional.cross_entropy(self.network.lm_head(states[chosen]), targets, reduction="none")
        losses = {
            "tokens": (token_losses * weights).sum() / weights.sum(),
            "balance": self.training.balance_weight * self.hooks.balance_loss(),
        }
        if len(batch.tutored_S):
            guesses = self.tutor_head(states[batch.tutored_S])
            likeness = functional.cosine_similarity(guesses, batch.embeddings_S)
            losses["tutor"] = self.training.tutor_weight * (1 - likeness).mean()
        return losses


def train(recipe: Recipe, folder: Path) -> None:
    """Train to the recipe's last step in ``folder``, from its last checkpoint if there is one."""
    run(recipe.training.processes, (folder / "meeting-point").absolute(), train_as, recipe, folder)


def train_as(rank: int, recipe: Recipe, folder: Path) -> None:
    """The part of process ``rank``; the first one writes the checkpoints and the log."""
    trainer = _trainer(recipe, folder)
    checkpoint = folder / "checkpoint.pt"
    first, seconds = _restore(trainer, checkpoint)
    mixture = Mixture(recipe, Tokenizer.from_file(str(folder / "tokenizer" / "tokenizer.json")), folder)
    trainer.network.train()
    started = saved = logged = time.monotonic()
    tokens = 0
    for number in range(first, recipe.training.steps):
        torch.manual_seed(recipe.seed * 1_000_003 + number)
        batch = mixture.batch(number, rank)
        losses = trainer.step(batch, number)
        tokens += batch.tokens_RT.numel() * recipe.training.processes
        now = time.monotonic()
        if rank > 0:
            continue
        if number % _LOG_EVERY == 0 or number == recipe.training.steps - 1:
            speed = tokens / (now - logged)
            left_s = (recipe.training.steps - number - 1) * (now - started) / (number - first + 1)
            text = " ".join(f"{name} {loss:.4f}" for name, loss in losses.items())
            progress = f"{speed:.0f} tokens/s, {left_s / 60:.0f} min left"
            print(f"step {number}/{recipe.training.steps} {text} {progress}", flush=True)
            logged, tokens = now, 0
        if now - saved > recipe.training.checkpoint_every_s:
            _save(trainer, checkpoint, number + 1, seconds + now - started)
            saved = time.monotonic()
    if rank == 0:
        _save(trainer, checkpoint, recipe.training.steps, seconds + time.monotonic() - started)


def _trainer(recipe: Recipe, folder: Path) -> Trainer:
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    network = build(recipe.model, tokenizer, recipe.seed)
    tutor_head = nn.Linear(network.config.hidden_size, EMBEDDING_SIZE)
    hidden = [
        (name, parameter)
        for name, parameter in network.model.layers.named_parameters()
        if parameter.ndim >= 2 and "gate.weight" not in name
    ]
    packed = frozenset(id(parameter) for name, parameter in hidden if "gate_up_proj" in name)
    known = {id(parameter) for _, parameter in hidden}
    others = [parameter for parameter in network.parameters() if id(parameter) not in known]
    training = recipe.training
    muon = Muon([parameter for _, parameter in hidden], training.muon_lr, training.weight_decay, packed)
    rest = [*others, *tutor_head.parameters()]
    adam = torch.optim.AdamW(rest, training.adam_lr, (0.9, 0.97), weight_decay=0.0, fused=True)
    for optimizer in (muon, adam):
        for group in optimizer.param_groups:
            group["base_lr"] = group["lr"]
    print(f"train: {sum(map(torch.numel, network.parameters())):,} parameters", flush=True)
    return Trainer(network, TrainingHooks(network), tutor_head, (muon, adam), training)


def _schedule(number: int, training: Training) -> float:
    """The factor of the learning rates: straight lines between the recipe's (step, factor) points."""
    for (start, low), (end, high) in pairwise(training.rate_points):
        if start <= number <= end:
            return low + (high - low) * (number - start) / (end - start)
    raise ValueError(f"rate_points end before step {number}")


def _save(trainer: Trainer, path: Path, done: int, seconds: float) -> None:
    state = {
        "done": done,
        "seconds": seconds,
        "network": trainer.network.state_dict(),
        "tutor_head": trainer.tutor_head.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in trainer.optimizers],
    }
    torch.save(state, path.with_suffix(".writing"))
    path.with_suffix(".writing").replace(path)


def _restore(trainer: Trainer, path: Path) -> tuple[int, float]:
    """The steps done and the seconds spent on them; 0 and 0 without a checkpoint."""
    if not path.exists():
        return 0, 0.0
    state = torch.load(path, weights_only=True)
    trainer.network.load_state_dict(state["network"])
    trainer.tutor_head.load_state_dict(state["tutor_head"])
    for optimizer, kept in zip(trainer.optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(kept)
    print(f"train: going on after step {state['done']}", file=sys.stderr, flush=True)
    return int(state["done"]), float(state["seconds"])
