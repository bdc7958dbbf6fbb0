"""What a student takes over from its teacher before the first step."""

import numpy as np

from seodang.distillation.spec import DenseShape
from seodang.distillation.training import Student, build_student
from seodang.distillation.training.inheritance import inherit_embeddings

V, H, W = 40, 32, 16


def student() -> Student:
    shape = DenseShape(hidden_size=W, layers=1, heads=2, kv_heads=1, intermediate_size=32)
    return build_student(shape, V, end_id=1, context_tokens=64, seed=0)


def head_VH() -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Tokens in pairs: 2i and 2i + 1 mean nearly the same."""
    rng = np.random.default_rng(3)
    meanings = np.repeat(rng.standard_normal((V // 2, H)), 2, axis=0)
    return (meanings + 0.05 * rng.standard_normal((V, H)) + 5.0).astype(np.float32)


def test_tokens_alike_to_the_teacher_are_alike_to_the_student() -> None:
    pupil = student()
    inherit_embeddings(pupil, head_VH(), seed=0)
    table_VW = pupil.model.get_input_embeddings().weight.detach().numpy()
    directions = table_VW / np.linalg.norm(table_VW, axis=1, keepdims=True)
    likeness = directions @ directions.T - 2 * np.eye(V)
    assert (likeness.argmax(axis=1) == np.arange(V) ^ 1).all()


def test_the_table_keeps_the_size_of_a_random_one() -> None:
    pupil, other = student(), student()
    inherit_embeddings(pupil, head_VH(), seed=0)
    ours = pupil.model.get_input_embeddings().weight.detach()
    theirs = other.model.get_input_embeddings().weight.detach()
    assert abs(float(ours.std() / theirs.std()) - 1) < 0.01


def test_a_teacher_narrower_than_the_student_fills_what_it_can() -> None:
    pupil = student()
    inherit_embeddings(pupil, head_VH()[:, : W // 2], seed=0)
    assert np.isfinite(pupil.model.get_input_embeddings().weight.detach().numpy()).all()
