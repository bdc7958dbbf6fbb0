"""Answers of a student in this process, many at a time."""

from collections.abc import Sequence

import numpy as np
import torch

from seodang.distillation.training.student import Student

BATCH_TOKENS = 8192


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
            made = _sample_batch(student, [prompts[number] for number in group], end_id, max_new_tokens, temperature)
            for number, answer in zip(group, made, strict=True):
                answers[number] = answer
    student.model.train(was_training)
    return answers


def _sample_batch(
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
