"""From logits to tokens. R rows, V vocabulary, K candidates kept by truncation.

Each row's draw depends on its own logits, parameters, seed and position alone: one uniform number is pushed through the
row's inverse distribution function, so the batch around it cannot change it.
"""

from collections import Counter
from collections.abc import Sequence as Seq
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import torch

from seodang.runtime.uniform import fresh_seed, uniforms
from seodang.worker.messages import SamplingParams

CANDIDATES: Final = 1024
"""Truncation looks at this many tokens first, and sorts the whole vocabulary only where they do not suffice."""


@dataclass(slots=True)
class SamplingState:
    """The parameters of one completion and what it has drawn so far."""

    params: SamplingParams
    prompt: frozenset[int]
    seed: int = field(default_factory=fresh_seed)
    counts: Counter[int] = field(default_factory=Counter)
    drawn: int = 0

    @classmethod
    def start(cls, params: SamplingParams, prompt: Seq[int]) -> "SamplingState":
        """State before the first draw."""
        seen = frozenset(prompt) if params.repetition_penalty != 1.0 else frozenset()
        return cls(params, seen) if params.seed is None else cls(params, seen, params.seed)

    @property
    def reshapes(self) -> bool:
        """Whether penalties or biases change the logits."""
        p = self.params
        penalised = p.repetition_penalty != 1.0 or p.presence_penalty != 0.0 or p.frequency_penalty != 0.0
        return penalised or bool(p.logit_bias)

    @property
    def truncates(self) -> bool:
        """Whether top_k, top_p or min_p cut the distribution."""
        p = self.params
        return p.top_k is not None or (p.top_p or 1.0) < 1.0 or (p.min_p or 0.0) > 0.0

    def note(self, token: int) -> None:
        """Count a token that now belongs to the completion."""
        self.counts[token] += 1
        self.drawn += 1

    def ahead(self, tokens: Seq[int]) -> "SamplingState":
        """The state it will be in if these tokens are drawn next."""
        counts = self.counts + Counter(tokens) if self.reshapes else self.counts
        return SamplingState(self.params, self.prompt, self.seed, counts, self.drawn + len(tokens))

    def uniform(self) -> float:
        """The number that decides the next draw."""
        return float(uniforms(self.seed, np.array([self.drawn], np.int64))[0])


def draw(
    logits_RV: torch.Tensor, states: Seq[SamplingState], allowed: Seq[torch.Tensor | None] | None = None
) -> list[int]:
    """The next token of each row; ``allowed`` [V] bars all other tokens from a row."""
    logits_RV = _reshape(logits_RV, states)
    if allowed is not None and any(mask is not None for mask in allowed):
        logits_RV = logits_RV.clone()
        for row, mask in zip(logits_RV, allowed, strict=True):
            if mask is not None:
                row.masked_fill_(~mask.to(row.device), -torch.inf)
    greedy = [row for row, state in enumerate(states) if state.params.temperature <= 0.0]
    sampled = [row for row, state in enumerate(states) if state.params.temperature > 0.0]
    plain = [row for row in sampled if not states[row].truncates]
    truncated = [row for row in sampled if states[row].truncates]
    tokens: dict[int, int] = {}
    if greedy:
        tokens |= zip(greedy, _chosen(logits_RV, greedy).argmax(dim=-1).tolist(), strict=True)
    if plain:
        scaled = _scaled(logits_RV, states, plain)
        tokens |= zip(plain, _invert(scaled.softmax(-1), states, plain), strict=True)
    if truncated:
        tokens |= zip(truncated, _draw_truncated(logits_RV, states, truncated), strict=True)
    return [tokens[row] for row in range(len(states))]


def _reshape(logits_RV: torch.Tensor, states: Seq[SamplingState]) -> torch.Tensor:
    """Add biases and take penalties off, on a copy if there are any."""
    if not any(state.reshapes for state in states):
        return logits_RV
    logits_RV = logits_RV.clone()
    for row, state in zip(logits_RV, states, strict=True):
        params = state.params
        if params.repetition_penalty != 1.0 and (seen := list(state.prompt | state.counts.keys())):
            ids = torch.tensor(seen, device=row.device)
            old = row[ids]
            row[ids] = torch.where(old > 0, old / params.repetition_penalty, old * params.repetition_penalty)
        if state.counts and (params.presence_penalty or params.frequency_penalty):
            ids = torch.tensor(list(state.counts.keys()), device=row.device)
            times = torch.tensor(list(state.counts.values()), device=row.device)
            row[ids] -= params.presence_penalty + params.frequency_penalty * times
        if params.logit_bias:
            ids = torch.tensor(list(params.logit_bias.keys()), device=row.device)
            row[ids] += torch.tensor(list(params.logit_bias.values()), device=row.device)
    return logits_RV


def _chosen(logits_RV: torch.Tensor, rows: list[int]) -> torch.Tensor:
    """These rows, not copied where they are all."""
    return logits_RV if len(rows) == len(logits_RV) else logits_RV[rows]


def _scaled(logits_RV: torch.Tensor, states: Seq[SamplingState], rows: list[int]) -> torch.Tensor:
    scaled = _chosen(logits_RV, rows).double()
    temperatures = [states[row].params.temperature for row in rows]
    if all(temperature == 1.0 for temperature in temperatures):
        return scaled
    return scaled / torch.tensor(temperatures, device=logits_RV.device)[:, None]


def _invert(probabilities: torch.Tensor, states: Seq[SamplingState], rows: list[int]) -> list[int]:
    """Push each row's uniform number through its inverse distribution function; rows need not sum to 1."""
    cumulative = probabilities.cumsum(-1)
    uniform = torch.tensor([[states[row].uniform()] for row in rows], dtype=torch.float64, device=cumulative.device)
    index = torch.searchsorted(cumulative, uniform * cumulative[:, -1:], right=True)
    columns: list[int] = index.flatten().tolist()
    # Rounding can push the last number past the end; the last column with mass is then meant.
    for row, column in enumerate(columns):
        if column == cumulative.shape[-1]:
            columns[row] -= 1 + int((probabilities[row].flip(-1) > 0).int().argmax())
    return columns


def _draw_truncated(logits_RV: torch.Tensor, states: Seq[SamplingState], rows: list[int]) -> list[int]:
    scaled = _scaled(logits_RV, states, rows)
    params = [states[row].params for row in rows]
    largest = max(p.top_k or 0 for p in params)
    probabilities, ids, complete = _candidates(scaled, params, min(scaled.shape[-1], max(CANDIDATES, largest)))
    columns = _invert(probabilities, states, rows)
    tokens: list[int] = ids[range(len(rows)), columns].tolist()
    for place in (~complete).nonzero().flatten().tolist():
        alone = slice(place, place + 1)
        probabilities, ids, _ = _candidates(scaled[alone], params[alone], scaled.shape[-1])
        tokens[place] = int(ids[0, _invert(probabilities, states, rows[alone])[0]])
    return tokens


def _candidates(
    scaled_RV: torch.Tensor, params: Seq[SamplingParams], count: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The ``count`` most likely tokens of each row, falling: probabilities, 0 where truncation drops them, and ids.

    Third, whether a row is complete: no token beyond its candidates would have been kept.
    """
    device, vocabulary = scaled_RV.device, scaled_RV.shape[-1]
    values_RK, ids_RK = scaled_RV.topk(count, dim=-1)
    top_k = torch.tensor([[min(p.top_k or vocabulary, vocabulary)] for p in params], device=device)
    top_p = torch.tensor([[1.0 if p.top_p is None else p.top_p] for p in params], device=device, dtype=torch.float64)
    min_p = torch.tensor([[p.min_p or 0.0] for p in params], device=device, dtype=torch.float64)
    within = torch.arange(count, device=device) < top_k
    of_top_k = values_RK.masked_fill(~within, -torch.inf).logsumexp(-1, keepdim=True)
    normaliser = torch.where(top_k < vocabulary, of_top_k, scaled_RV.logsumexp(-1, keepdim=True))
    probabilities_RK = (values_RK - normaliser).exp() * within
    before = probabilities_RK.cumsum(-1) - probabilities_RK
    kept = within & ((before < top_p) | (top_p == 1.0)) & (probabilities_RK >= min_p * probabilities_RK[:, :1])
    complete = ~kept[:, -1] | (top_k.flatten() <= count)
    return probabilities_RK * kept, ids_RK, complete
