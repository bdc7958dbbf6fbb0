"""Who reads the examples: the teacher and its students, with one tokenizer or each with its own."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from seodang.base.errors import InvalidInput
from seodang.distillation.crossing import Ends, TokenBytes, align_answers
from seodang.distillation.data.encoding import ChatTokenizer
from seodang.tasks import Example


@dataclass(frozen=True)
class Reader:
    """How somebody reads the examples."""

    tokenizer: ChatTokenizer
    sha256: str
    """Of tokenizer and chat template."""
    context_tokens: int


class Crossing:
    """The same examples for a student with another tokenizer than its teacher."""

    def __init__(self, teacher: Reader, student: Reader) -> None:
        self._teacher, self._student = teacher.tokenizer, student.tokenizer
        self._teacher_bytes = TokenBytes(teacher.tokenizer.core, "the teacher's")
        self._student_bytes = TokenBytes(student.tokenizer.core, "the student's")
        self._context_tokens = student.context_tokens

    def columns(self, example: Example) -> dict[str, Any] | None:
        """What the example has besides; None if it is too long.

        Raises:
            InvalidInput: a tokenizer or template changes the text of an answer.
        """
        ids, flags = self._student.sequence(example)
        if len(ids) > self._context_tokens:
            return None
        spans, student_spans = align_answers(list(self._ends(example)))
        return {"student_ids": ids, "student_answered": flags, "spans": spans, "student_spans": student_spans}

    def _ends(self, example: Example) -> Iterator[tuple[Ends, Ends]]:
        pairs = zip(self._teacher.spoken(example), self._student.spoken(example), strict=True)
        for (teacher_ids, teacher_text), (student_ids, student_text) in pairs:
            if teacher_text != student_text:
                raise InvalidInput(
                    f"the teacher's chat template writes an answer as {teacher_text[:80]!r}, the student's as "
                    f"{student_text[:80]!r}: no piece of them is comparable. Give the student a template that writes "
                    "answers as the teacher's does",
                    field="spec.shape.tokenizer",
                    reason="TEXT_CHANGED_BY_TEMPLATE",
                )
            yield (
                self._teacher_bytes.ends(teacher_ids, teacher_text),
                self._student_bytes.ends(student_ids, student_text),
            )
