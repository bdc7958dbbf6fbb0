"""Answers of a student in this process, many at a time, by the runtime's decoder where it has one for the student."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import torch

from seodang.distillation.training.adapters import adapters_of
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
) -> list[list[int]]:
    """Token ids that continue each prompt, the end token included where it was reached.

    Args:
        temperature: 0 takes the likeliest token.
        seed: of the draws; the same seed, prompts and weights give the same answers.
    """
    if adapters_of(student.model) or not can_run(student.model.config):
        return _by_transformers(student, prompts, end_id, max_new_tokens, temperature, seed)
    answers = [
        _Answer(number, list(prompt), SamplingState.start(SamplingParams(temperature=temperature, seed=own), ()))
        for number, (prompt, own) in enumerate(zip(prompts, _seeds(seed, len(prompts)), strict=True))
    ]
    for answer in answers:
        answer.room = max(1, min(max_new_tokens, student.context_tokens - len(answer.prompt)))
    order = sorted(answers, key=lambda answer: len(answer.prompt) + answer.room)
    executor = executor_in_memory(
        student.model.config,
        student.model.state_dict(),
        positions=student.context_tokens,
        cache_tokens=max([BATCH_TOKENS, *(answer.blocks_needed * BLOCK_TOKENS for answer in answers)]),
    )
    while order:
        count = max(1, BATCH_TOKENS // (order[-1].blocks_needed * BLOCK_TOKENS))
        _run(executor, order[-count:], end_id)
        order = order[:-count]
    return [answer.tokens for answer in answers]


@dataclass(slots=True)
class _Answer:
    """One prompt being continued."""

    number: int
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


def _run(executor: Executor, answers: Sequence[_Answer], end_id: int) -> None:
    """Continue all of them, each until its end."""
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
        going += _step(executor, starting, [answer.row(answer.prompt, 0) for answer in starting], end_id)
    while going:
        rows = [answer.row(answer.tokens[-1:], len(answer.prompt) + len(answer.tokens) - 1) for answer in going]
        going = _step(executor, going, rows, end_id)


def _step(executor: Executor, answers: Sequence[_Answer], rows: Sequence[Row], end_id: int) -> list[_Answer]:
    """Compute the rows and draw a token for each answer; those that go on."""
    executor.forward(Batch.of(rows))
    logits_RV = executor.logits(slice(0, len(rows)), slice(0, executor.vocab_size))
    for answer, token in zip(answers, draw(logits_RV, [answer.sampling for answer in answers]), strict=True):
        answer.tokens.append(token)
        answer.sampling.note(token)
    return [answer for answer in answers if answer.tokens[-1] != end_id and len(answer.tokens) < answer.room]


def _seeds(seed: int, count: int) -> list[int]:
    """A seed for each prompt."""
    return [int(each) for each in np.random.SeedSequence(seed).generate_state(count, np.uint32)]


def _by_transformers(
    student: Student,
    prompts: Sequence[Sequence[int]],
    end_id: int,
    max_new_tokens: int,
    temperature: float,
    seed: int,
) -> list[list[int]]:
    order = sorted(range(len(prompts)), key=lambda number: len(prompts[number]))
    answers: list[list[int]] = [[] for _ in prompts]
    was_training = student.model.training
    student.model.eval()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        while order:
            longest = len(prompts[order[-1]]) + max_new_tokens
            count = max(1, BATCH_TOKENS // longest)
            group, order = order[-count:], order[:-count]
            made = _generate(student, [prompts[number] for number in group], end_id, max_new_tokens, temperature)
            for number, answer in zip(group, made, strict=True):
                answers[number] = answer
    student.model.train(was_training)
    return answers


def _generate(
    student: Student, prompts: Sequence[Sequence[int]], end_id: int, max_new_tokens: int, temperature: float
) -> list[list[int]]:
    width = max(map(len, prompts))
    ids = np.full((len(prompts), width), end_id, np.int64)
    mask = np.zeros((len(prompts), width), np.int64)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = prompt
        mask[row, width - len(prompt) :] = 1
    room = min(max_new_tokens, student.context_tokens - width)
    with torch.no_grad():
        whole = student.model.generate(
            input_ids=torch.from_numpy(ids).to(student.device),
            attention_mask=torch.from_numpy(mask).to(student.device),
            max_new_tokens=max(room, 1),
            do_sample=temperature > 0,
            **({"temperature": temperature, "top_k": 0, "top_p": 1.0} if temperature > 0 else {}),
            eos_token_id=end_id,
            pad_token_id=end_id,
        )
    return [_until_end(row, end_id) for row in whole[:, width:].tolist()]


def _until_end(ids: list[int], end_id: int) -> list[int]:
    return ids[: ids.index(end_id) + 1] if end_id in ids else ids
