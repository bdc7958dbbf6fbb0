"""Whoever is measured: something with a name that answers prompts."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from seodang.distillation.data import ChatTokenizer
from seodang.distillation.spec import TEACHER
from seodang.distillation.teacher import TeacherConnection
from seodang.distillation.training.sampler import sample
from seodang.distillation.training.student import Student
from seodang.tasks import Message


class Contestant(Protocol):
    """Teacher, student or baseline."""

    @property
    def subject(self) -> str:
        """ "teacher", "student" or the name of a baseline."""
        ...

    @property
    def parameters(self) -> int:
        """Of the whole model."""
        ...

    def answers(self, prompts: Sequence[Sequence[Message]], max_new_tokens: int) -> Iterable[str]:
        """Greedy answers, in order."""
        ...


class TeacherContestant:
    """The teacher, asked over gRPC."""

    subject = TEACHER

    def __init__(self, connection: TeacherConnection) -> None:
        self._connection = connection
        self.parameters = connection.identity.parameters

    def answers(self, prompts: Sequence[Sequence[Message]], max_new_tokens: int) -> Iterable[str]:
        """See ``Contestant``."""
        return self._connection.answers(prompts, max_new_tokens)


class StudentContestant:
    """A finished student, in this process."""

    def __init__(self, subject: str, student: Student, tokenizer: ChatTokenizer) -> None:
        self.subject = subject
        self.parameters = student.parameters
        self.student = student
        self._tokenizer = tokenizer

    def answers(self, prompts: Sequence[Sequence[Message]], max_new_tokens: int) -> Iterable[str]:
        """See ``Contestant``."""
        encoded = [self._tokenizer.prompt(prompt) for prompt in prompts]
        answers = sample(self.student, encoded, end_id=self._tokenizer.end_id, max_new_tokens=max_new_tokens)
        return map(self._tokenizer.text, answers)
