"""A student's answers, by the runtime's decoder or by transformers, are the student's."""

import numpy as np
import pytest
import torch
from tests.tiny_checkpoints import EOS, VOCAB_SIZE, config_of
from transformers import AutoModelForCausalLM

from seodang.distillation.training.sampler import sample
from seodang.distillation.training.student import Student
from seodang.runtime.in_memory import can_run


def student_of(family: str) -> Student:
    torch.manual_seed(0)
    return Student(AutoModelForCausalLM.from_config(config_of(family), dtype=torch.float32))


def prompt_of(length: int) -> list[int]:
    ids: list[int] = np.random.default_rng(length).integers(7, VOCAB_SIZE, length).tolist()
    return ids


def greedy(student: Student, prompt: list[int], new_tokens: int) -> list[int]:
    ids = list(prompt)
    while len(ids) < len(prompt) + new_tokens and ids[len(prompt) :][-1:] != [EOS]:
        with torch.no_grad():
            ids.append(int(student.model(torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[len(prompt) :]


@pytest.mark.parametrize("family", ["llama", "qwen3", "lfm2", "axk1"])
def test_answers_are_the_models_own(family: str) -> None:
    """By the runtime where it knows the family's weights by name, else by transformers itself."""
    student = student_of(family)
    assert can_run(student.model.config) == (family != "axk1")
    prompts = [prompt_of(length) for length in (3, 40, 1, 17)]
    answers = sample(student, prompts, end_id=EOS, max_new_tokens=20)
    assert answers == [greedy(student, prompt, 20) for prompt in prompts]


def test_answers_follow_weights_that_change() -> None:
    student, prompt = student_of("qwen3"), prompt_of(12)
    before = sample(student, [prompt], end_id=EOS, max_new_tokens=10)
    with torch.no_grad():
        for parameter in student.model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    after = sample(student, [prompt], end_id=EOS, max_new_tokens=10)
    assert after == [greedy(student, prompt, 10)] != before


def test_an_answer_ends_where_the_context_does() -> None:
    student = student_of("llama")
    (answer,) = sample(student, [prompt_of(student.context_tokens - 3)], end_id=-1, max_new_tokens=50)
    assert len(answer) == 3


@pytest.mark.parametrize("family", ["lfm2", "axk1"])
def test_sampled_answers_do_not_depend_on_those_beside_them(family: str) -> None:
    student, prompts = student_of(family), [prompt_of(length) for length in (5, 30, 8)]
    settings = {"end_id": EOS, "max_new_tokens": 12, "temperature": 1.0, "seed": 3}
    together = sample(student, prompts, **settings)
    assert together == [sample(student, [prompts[n]], numbers=[n], **settings)[0] for n in range(3)]
    assert together[0] != sample(student, prompts[:1], numbers=[1], **settings)[0]


def test_more_prompts_than_fit_at_once_are_all_answered() -> None:
    student, prompts = student_of("qwen3"), [prompt_of(100 + length % 7) for length in range(90)]
    answers = sample(student, prompts, end_id=EOS, max_new_tokens=6)
    assert answers[::30] == [greedy(student, prompt, 6) for prompt in prompts[::30]]
