"""Spans of a text that both tokenizers bound: the shortest pieces that are whole tokens of the one and of the other.

S sequences, P trained positions of the teacher, Q of the student. Within a sequence spans are numbered from 0 through
its answers, and the token that ends an answer is a span of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]


def align(teacher_ends: Numbers, student_ends: Numbers) -> tuple[Numbers, Numbers, int]:
    """The span that each token belongs to, the teacher's and the student's, and how many spans there are.

    Args:
        teacher_ends: where each of the teacher's tokens ends in the bytes of a text.
        student_ends: the same of the student's tokens in the same text.
    """
    shared = np.intersect1d(teacher_ends, student_ends)
    shared = shared[shared > 0]
    return np.searchsorted(shared, teacher_ends), np.searchsorted(shared, student_ends), len(shared)


def align_answers(answers: Sequence[tuple[Numbers, Numbers]]) -> tuple[Numbers, Numbers]:
    """The spans of a sequence's trained positions, the teacher's and the student's, ends of answers included.

    Args:
        answers: of each answer where its tokens end in its text, the teacher's and the student's.
    """
    teacher: list[Numbers] = []
    student: list[Numbers] = []
    first = 0
    for teacher_ends, student_ends in answers:
        ours, theirs, end = align(teacher_ends, student_ends)
        teacher.append(first + np.append(ours, end))
        student.append(first + np.append(theirs, end))
        first += end + 1
    return np.concatenate(teacher), np.concatenate(student)


@dataclass(frozen=True, eq=False)
class Spans:
    """The spans of many sequences as flat arrays."""

    teacher_P: Numbers
    """Number of each of the teacher's positions among the spans of its sequence."""
    teacher_starts: Numbers
    """[S + 1] where each sequence begins in ``teacher_P``."""
    student_Q: Numbers
    student_starts: Numbers

    @classmethod
    def of(cls, sequences: Sequence[tuple[Numbers, Numbers]]) -> Self:
        """From the spans of each sequence's positions, the teacher's and the student's."""
        teacher, student = zip(*sequences, strict=True)
        return cls(np.concatenate(teacher), _starts(teacher), np.concatenate(student), _starts(student))

    def select(self, indices: Numbers) -> Self:
        """The spans of some of the sequences, in the order given."""
        return type(self).of([(self._teacher_of(index), self._student_of(index)) for index in indices])

    @property
    def counts(self) -> Numbers:
        """[S] spans of each sequence."""
        last: Numbers = np.maximum.reduceat(self.teacher_P, self.teacher_starts[:-1])
        return last + 1

    @property
    def teacher_numbers(self) -> Numbers:
        """[P] number of each position's span among those of all sequences."""
        return self.teacher_P + np.repeat(self._firsts, np.diff(self.teacher_starts))

    @property
    def student_numbers(self) -> Numbers:
        """[Q] the same of the student's positions."""
        return self.student_Q + np.repeat(self._firsts, np.diff(self.student_starts))

    @property
    def _firsts(self) -> Numbers:
        first: Numbers = np.cumsum(self.counts) - self.counts
        return first

    def _teacher_of(self, index: int) -> Numbers:
        return self.teacher_P[self.teacher_starts[index] : self.teacher_starts[index + 1]]

    def _student_of(self, index: int) -> Numbers:
        return self.student_Q[self.student_starts[index] : self.student_starts[index + 1]]


def _starts(parts: Sequence[Numbers]) -> Numbers:
    return np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
