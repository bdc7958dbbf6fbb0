"""Answers of a student in this process, many at a time, by the runtime's decoder where it has one for the student."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedConfig
from transformers.generation.logits_process import LogitsProcessor, LogitsProcessorList
from transformers.initialization import no_init_weights

from seodang.distillation.training.adapters import merged_weights
from seodang.distillation.training.student import Student
from seodang.runtime.attention import BLOCK_TOKENS
from seodang.runtime.batch import Batch, Row
from seodang.runtime.executor import Executor
from seodang.runtime.in_memory import can_run, executor_in_memory
from seodang.runtime.sampler import SamplingState, draw
from seodang.worker.messages import SamplingParams

BATCH_TOKENS: Final = 8192
_PROMPT_TOKENS: Final = 2048
"""Computed at a time."""


def sample(
    student: Student,
    prompts: Sequence[Sequence[int]],
    *,
    end_id: int,
    max_new_tokens: int,
    temperature: float = 0.0,
    seed: int = 0,
    numbers: Sequence[int] | None = None,
    on_answers: Callable[[int], None] = lambda answers: None,
) -> list[list[int]]:
    """Token ids that continue each prompt, the end token included where it was reached.

    Ranks that share the student call this together, each with prompts of its own, or with none.

    Args:
        temperature: 0 takes the likeliest token.
        seed: of the draws; the same seed, prompts and weights give the same answers.
        numbers: which of the seed's draws each prompt gets, whoever is asked beside it; None counts from 0.
        on_answers: told how many more answers have ended.
    """
    seeds = _seeds(seed, range(len(prompts)) if numbers is None else numbers)
    answers = [
        _Answer(list(prompt), SamplingState.start(SamplingParams(temperature=temperature, seed=own), ()))
        for prompt, own in zip(prompts, seeds, strict=True)
    ]
    for answer in answers:
        answer.room = max(1, min(max_new_tokens, student.context_tokens - len(answer.prompt)))
    with student.place.whole() as weights:
        if not answers:
            return []
        copied = _copied(student, merged_weights(student.model, weights), answers)
    if isinstance(copied, Executor):
        work = _by_runtime(copied, answers, end_id)
    else:
        work = _by_transformers(copied, answers, end_id)
    for ended in filter(None, work):
        on_answers(ended)
    return [answer.tokens for answer in answers]


@dataclass(slots=True)
class _Answer:
    """One prompt being continued."""

    prompt: list[int]
    sampling: SamplingState
    room: int = 0
    """Tokens to draw at most."""
    tokens: list[int] = field(default_factory=list)
    blocks: range = range(0)

    @property
    def blocks_needed(self) -> int:
        return -(-(len(self.prompt) + self.room) // BLOCK_TOKENS)

    def row(self, tokens: Sequence[int], start: int) -> Row:
        """Tokens from ``start`` on, with the output of the last."""
        return Row(tokens, start, self.blocks, slice(len(tokens) - 1, len(tokens)))


def _copied(student: Student, weights: Mapping[str, Tensor], answers: Sequence[_Answer]) -> Any:
    """The runtime's executor, or else a transformers model, with a copy of the weights. The student's own model may be
    spread, and would wait for the other ranks at every token.
    """
    config: PreTrainedConfig = student.model.config
    if can_run(config):
        return executor_in_memory(
            config,
            weights,
            positions=student.context_tokens,
            cache_tokens=max([BATCH_TOKENS, *(answer.blocks_needed * BLOCK_TOKENS for answer in answers)]),
        )
    example = next(iter(weights.values()))
    with no_init_weights():
        model = AutoModelForCausalLM.from_config(config, dtype=example.dtype)
    model.load_state_dict(weights)
    return model.eval().to(example.device)


def _by_runtime(executor: Executor, answers: Sequence[_Answer], end_id: int) -> Iterator[int]:
    """Continues all of them, each until its end; yields how many more have ended."""
    order = sorted(answers, key=lambda answer: len(answer.prompt) + answer.room)
    while order:
        count = max(1, BATCH_TOKENS // (order[-1].blocks_needed * BLOCK_TOKENS))
        yield from _run(executor, order[-count:], end_id)
        order = order[:-count]


def _run(executor: Executor, answers: Sequence[_Answer], end_id: int) -> Iterator[int]:
    first = 1  # block 0 is the cache's padding
    for answer in answers:
        answer.blocks = range(first, first + answer.blocks_needed)
        first = answer.blocks.stop
    going: list[_Answer] = []
    waiting = sorted(answers, key=lambda answer: len(answer.prompt))
    while waiting:  # the prompts, shortest first: rows of one token must come before longer ones
        ends = np.cumsum([len(answer.prompt) for answer in waiting])
        count = max(1, int(np.searchsorted(ends, _PROMPT_TOKENS, side="right")))
        starting, waiting = waiting[:count], waiting[count:]
        begun = _step(executor, starting, [answer.row(answer.prompt, 0) for answer in starting], end_id)
        going += begun
        yield len(starting) - len(begun)
    while going:
        rows = [answer.row(answer.tokens[-1:], len(answer.prompt) + len(answer.tokens) - 1) for answer in going]
        left = _step(executor, going, rows, end_id)
        yield len(going) - len(left)
        going = left


def _step(executor: Executor, answers: Sequence[_Answer], rows: Sequence[Row], end_id: int) -> list[_Answer]:
    """Compute the rows and draw a token for each answer; those that go on."""
    executor.forward(Batch.of(rows))
    logits_RV = executor.logits(slice(0, len(rows)), slice(0, executor.vocab_size))
    for answer, token in zip(answers, draw(logits_RV, [answer.sampling for answer in answers]), strict=True):
        answer.tokens.append(token)
        answer.sampling.note(token)
    return [answer for answer in answers if answer.tokens[-1] != end_id and len(answer.tokens) < answer.room]


def _seeds(seed: int, numbers: Sequence[int]) -> list[int]:
    """A seed for each number."""
    every = np.random.SeedSequence(seed).generate_state(max(numbers, default=0) + 1, np.uint32)
    return [int(every[number]) for number in numbers]


def _by_transformers(model: Any, answers: Sequence[_Answer], end_id: int) -> Iterator[int]:
    """The same, by transformers' ``generate``."""
    order = sorted(answers, key=lambda answer: len(answer.prompt))
    while order:
        count = max(1, BATCH_TOKENS // (len(order[-1].prompt) + order[-1].room))
        _generate(model, order[-count:], end_id)
        yield min(count, len(order))
        order = order[:-count]


def _generate(model: Any, answers: Sequence[_Answer], end_id: int) -> None:
    width = max(len(answer.prompt) for answer in answers)
    ids = np.full((len(answers), width), end_id, np.int64)
    mask = np.zeros((len(answers), width), np.int64)
    for row, answer in enumerate(answers):
        ids[row, width - len(answer.prompt) :] = answer.prompt
        mask[row, width - len(answer.prompt) :] = 1
    with torch.no_grad():
        whole = model.generate(
            input_ids=torch.from_numpy(ids).to(model.device),
            attention_mask=torch.from_numpy(mask).to(model.device),
            max_new_tokens=min(answer.room for answer in answers),
            do_sample=False,
            logits_processor=LogitsProcessorList([_Drawn([answer.sampling for answer in answers])]),
            eos_token_id=end_id,
            pad_token_id=end_id,
        )
    for answer, row in zip(answers, whole[:, width:].tolist(), strict=True):
        answer.tokens = _until_end(row, end_id)


class _Drawn(LogitsProcessor):  # type: ignore[misc]
    """Makes what the runtime draws the likeliest token: each prompt's draws are its own, whoever is asked beside it."""

    def __init__(self, samplings: Sequence[SamplingState]) -> None:
        self._samplings = samplings

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """-inf everywhere but at one token of each row of [R, V]."""
        del input_ids
        tokens = draw(scores, self._samplings)
        for sampling, token in zip(self._samplings, tokens, strict=True):
            sampling.note(token)
        chosen_R1 = torch.tensor(tokens, device=scores.device)[:, None]
        return torch.full_like(scores, -torch.inf).scatter_(1, chosen_R1, 0.0)


def _until_end(ids: list[int], end_id: int) -> list[int]:
    return ids[: ids.index(end_id) + 1] if end_id in ids else ids
