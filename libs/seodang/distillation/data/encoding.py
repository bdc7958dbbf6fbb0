"""Examples as the token ids that teacher and student both read.

A sequence is a conversation, rendered by the teacher's own chat template: the prompt up to where the assistant speaks,
its answer, the token that ends it, and perhaps further questions and answers. Position t is the distribution over token
t + 1; those that predict an answer or its end are trained on.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from seodang.base.errors import InvalidInput
from seodang.tasks import Example, Message, Role

Ints = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Encoded:
    """Many sequences as flat arrays."""

    tokens: Ints
    """Ids of all sequences, one after another."""
    starts: npt.NDArray[np.int64]
    """[sequences + 1] where each begins in ``tokens``."""
    answered: Flags
    """[tokens] whether the token belongs to an answer, its end included."""

    @classmethod
    def of(cls, sequences: Sequence[tuple[Sequence[int] | Ints, int | Flags]]) -> Self:
        """From pairs of ids and which of them belong to answers; a number stands for all from there on."""
        lengths = [len(ids) for ids, _ in sequences]
        tokens = np.concatenate([np.asarray(ids, np.int32) for ids, _ in sequences])
        starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)
        flags = [np.arange(len(ids)) >= which if isinstance(which, int) else which for ids, which in sequences]
        return cls(tokens, starts, np.concatenate(flags))

    def select(self, indices: Sequence[int] | npt.NDArray[np.int64]) -> Self:
        """Some of the sequences, in the order given."""
        return type(self).of([(self.ids(index), self.answered_of(index)) for index in indices])

    @property
    def sha256(self) -> str:
        """Over all ids and which of them are answers."""
        digest = hashlib.sha256()
        for array in (self.tokens, self.starts, self.answered):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    @property
    def labels(self) -> Ints:
        """The right next token of every trained position, sequence after sequence."""
        return self.tokens[self.answered]

    def __len__(self) -> int:
        return len(self.starts) - 1

    @cached_property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each sequence."""
        return np.diff(self.starts)

    @cached_property
    def positions(self) -> npt.NDArray[np.int64]:
        """Trained positions of each sequence."""
        before = np.concatenate([[0], np.cumsum(self.answered, dtype=np.int64)])
        counts: npt.NDArray[np.int64] = np.diff(before[self.starts])
        return counts

    @cached_property
    def first_rows(self) -> npt.NDArray[np.int64]:
        """Number of each sequence's first trained position among those of all sequences."""
        first: npt.NDArray[np.int64] = np.cumsum(self.positions) - self.positions
        return first

    def ids(self, index: int) -> Ints:
        """The ids of one sequence."""
        return self.tokens[self.starts[index] : self.starts[index + 1]]

    def answers(self, index: int) -> list[tuple[int, int]]:
        """Where each answer of one sequence begins, and where it ends (exclusive), in order."""
        edges = np.flatnonzero(np.diff(self.answered_of(index).astype(np.int8), prepend=0, append=0))
        return [(int(begin), int(end)) for begin, end in edges.reshape(-1, 2)]

    def answered_of(self, index: int) -> Flags:
        """Which ids of one sequence belong to answers."""
        return self.answered[self.starts[index] : self.starts[index + 1]]


class ChatTokenizer:
    """A tokenizer and chat template, from their files.

    Args:
        whose: for messages, such as "the teacher's".

    Raises:
        InvalidInput: it cannot render conversations, or cannot end an answer.
    """

    def __init__(self, folder: Path, whose: str = "the teacher's") -> None:
        from transformers import AutoTokenizer

        self._whose = whose
        self.core: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        if not self.core.chat_template:
            raise InvalidInput(f"{whose} tokenizer has no chat template: distillation renders conversations with it")
        if self.core.eos_token_id is None:
            raise InvalidInput(f"{whose} tokenizer names no eos_token: distillation ends every answer with it")
        self.end_id = int(self.core.eos_token_id)

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Ids up to where the assistant is to speak."""
        return self._ids(self._render([message.as_dict() for message in messages], waits=True))

    def sequence(self, example: Example) -> tuple[list[int], Flags]:
        """Ids of a conversation, and which of them the assistant says.

        Raises:
            InvalidInput: the template changes a prompt when an answer follows, so that no id has a clear owner.
        """
        ids: list[int] = []
        flags: list[bool] = []
        for asked, answer, _ in self._turns(example):
            ids += [*asked, *answer]
            flags += [False] * len(asked) + [True] * len(answer)
        return ids, np.array(flags)

    def spoken(self, example: Example) -> list[tuple[list[int], str]]:
        """Of each answer of a conversation its ids, without the end, and the text that they were made from."""
        return [(answer[:-1], text) for _, answer, text in self._turns(example)]

    def answered(self, messages: Sequence[Message], answer: str) -> tuple[list[int], Flags]:
        """Ids of a prompt and an answer to it, and which of them are that answer; see ``sequence``."""
        ids, flags = self.sequence(Example(tuple(messages), answer, "", "", ""))
        return ids, np.arange(len(ids)) > np.flatnonzero(~flags)[-1]

    def text(self, ids: Sequence[int]) -> str:
        """What generated ids say, without control tokens."""
        return str(self.core.decode(ids, skip_special_tokens=True))

    def _turns(self, example: Example) -> Iterator[tuple[list[int], list[int], str]]:
        """Ids of what is asked, ids of the answer with its end, and the answer's text, turn after turn."""
        turns = [*example.messages, Message(Role.ASSISTANT, example.answer)]
        rendered, between = "", list[int]()
        for number, turn in enumerate(turns):
            if turn.role is not Role.ASSISTANT:
                continue
            prompt = self._render([each.as_dict() for each in turns[:number]], waits=True)
            whole = self._render([each.as_dict() for each in turns[: number + 1]], waits=False)
            if not (prompt.startswith(rendered) and whole.startswith(prompt)):
                raise InvalidInput(
                    f"{self._whose} chat template renders a prompt differently once an answer follows "
                    f"({prompt[-40:]!r} is not how {whole[:200]!r} begins): fix the template"
                )
            # Prompt and answer are tokenized apart, as they are when the model speaks.
            text = whole[len(prompt) :]
            asked, answer = between + self._ids(prompt[len(rendered) :]), self._ids(text)
            end = answer.index(self.end_id) if self.end_id in answer else len(answer)
            said = text.partition(self.core.convert_ids_to_tokens(self.end_id))[0]
            yield asked, [*answer[:end], self.end_id], said
            rendered, between = whole, answer[end + 1 :]

    def _render(self, turns: list[dict[str, str]], *, waits: bool) -> str:
        return str(self.core.apply_chat_template(turns, add_generation_prompt=waits, tokenize=False))

    def _ids(self, text: str) -> list[int]:
        return list(self.core.encode(text, add_special_tokens=False))
