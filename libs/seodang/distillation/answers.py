"""Answers that are made once: a JSON-lines file that survives any death of its writer.

The first line says what the answers are of; each further one is a list of consecutive answers, written whole by one
call. A torn last line is dropped and its answers are made again.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

GROUP: Final = 64


class AnswerFile:
    """Answers numbered from 0.

    Args:
        path: the file; it begins anew if it is of something else.
        claim: what the answers depend on.
        group: answers that are asked for, and made durable, together. Always the same groups, so that batches, and
            with them the last bit of every answer, do not depend on where a process died.
    """

    def __init__(self, path: Path, claim: str, group: int = GROUP) -> None:
        self._path = path
        self._claim = claim
        self._group = group

    def complete(
        self,
        count: int,
        answer: Callable[[Sequence[int]], Iterable[str]],
        on_answers: Callable[[int], None] = lambda answers: None,
    ) -> list[str]:
        """All ``count`` answers; those that are missing are asked for.

        Args:
            answer: gives the answers of some numbers, in order.
            on_answers: told how many more are there.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        answers = self._read()
        on_answers(len(answers))
        with self._path.open("ab", buffering=0) as file:
            while len(answers) < count:
                numbers = range(len(answers), min(len(answers) + self._group, count))
                made = list(answer(numbers))
                file.write(msgspec.json.encode(made) + b"\n")
                answers += made
                on_answers(len(made))
            os.fsync(file.fileno())
        return answers

    def _read(self) -> list[str]:
        """What is there, with the torn end cut off."""
        text = self._path.read_bytes() if self._path.exists() else b""
        lines = text[: text.rfind(b"\n") + 1].splitlines()
        claim = msgspec.json.encode(self._claim)
        if lines[:1] != [claim]:
            self._path.write_bytes(claim + b"\n")
            return []
        os.truncate(self._path, text.rfind(b"\n") + 1)
        return [answer for line in lines[1:] for answer in msgspec.json.decode(line, type=list[str])]
