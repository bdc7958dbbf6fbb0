"""Which positions of which sequences a Score request asks for, numbered as the contract numbers them."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from seodang.api.inference.v1 import chat_pb2, score_pb2
from seodang.base.errors import InvalidInput
from seodang.inference.prompts import check_vocabulary, to_chat, to_token_ids
from seodang.worker import Tensor
from seodang.worker.messages import ChatPrompt, ModelInfo

# Ragged candidates are padded to the longest list on their way to the engine.
MAX_PADDED_CANDIDATES: Final = 2**22
MAX_CANDIDATES: Final = 4096

Render = Callable[[ChatPrompt], Awaitable[tuple[int, ...]]]


@dataclass(frozen=True, eq=False)
class Candidates:
    """Ids named by the caller: one list for every position, or with ``offsets`` [P + 1] a list for each."""

    ids: npt.NDArray[np.uint32]
    offsets: npt.NDArray[np.int64] | None

    @property
    def longest(self) -> int:
        """Ids of the longest list."""
        return len(self.ids) if self.offsets is None else int(np.diff(self.offsets).max(initial=0))

    def table(self, begin: int, end: int) -> npt.NDArray[np.int32]:
        """int32 [end - begin, longest] for these positions of the range, filled up with -1."""
        if self.offsets is None:
            return np.broadcast_to(self.ids.astype(np.int32), (end - begin, len(self.ids)))
        lengths = np.diff(self.offsets[begin : end + 1])
        present = np.arange(self.longest) < lengths[:, None]
        table = np.full(present.shape, -1, np.int32)
        table[present] = self.ids[self.offsets[begin] : self.offsets[end]]
        return table

    def wire(self, begin: int, end: int) -> Tensor:
        """What the engine is given: [K] if the list is the same everywhere, else ``table``."""
        shared = self.offsets is None
        return Tensor.from_numpy(self.ids.astype(np.int32) if shared else self.table(begin, end))


@dataclass(frozen=True, eq=False)
class Span:
    """Positions ``first`` to ``end`` (exclusive) of one sequence; position ``first`` is ``offset`` in the request."""

    sequence: int
    token_ids: tuple[int, ...]
    rendered: bool
    """The server made the ids, so the caller is told them."""
    first: int
    end: int
    offset: int
    candidates: Candidates | None

    @property
    def positions(self) -> int:
        """How many."""
        return self.end - self.first


async def to_spans(sequences: Sequence[score_pb2.ScoreSequence], info: ModelInfo, render: Render) -> tuple[Span, ...]:
    """Every sequence's span. ``InvalidInput`` names the sequence and field that cannot work."""
    if not sequences:
        raise InvalidInput("sequences is empty: send at least one", field="sequences")
    spans: list[Span] = []
    offset = 0
    for number, sequence in enumerate(sequences):
        field = f"sequences[{number}]"
        ids = await _token_ids(sequence, info, render, field)
        first, end = _range(sequence, len(ids), field)
        candidates = _candidates(sequence, end - first, info, field)
        rendered = sequence.WhichOneof("content") == "chat"
        spans.append(Span(number, ids, rendered, first, end, offset, candidates))
        offset += end - first
    return tuple(spans)


def after_offset(spans: Sequence[Span], start_offset: int) -> list[tuple[Span, int]]:
    """What is left after the first ``start_offset`` positions: spans, each with its first position still to report."""
    total = spans[-1].offset + spans[-1].positions
    if not 0 <= start_offset <= total:
        raise InvalidInput(
            f"start_offset={start_offset}: the request has {total} positions; resume at 0 to {total}",
            field="start_offset",
        )
    return [
        (span, span.first + max(0, start_offset - span.offset))
        for span in spans
        if span.offset + span.positions > start_offset
    ]


async def _token_ids(sequence: score_pb2.ScoreSequence, info: ModelInfo, render: Render, field: str) -> tuple[int, ...]:
    kind = sequence.WhichOneof("content")
    if kind == "token_ids":
        ids = to_token_ids(sequence.token_ids.ids, info, f"{field}.token_ids.ids")
    elif kind == "chat":
        # A conversation that the assistant has ended is scored as it is; one that waits for the assistant, as a prompt.
        turns = sequence.chat.messages
        waits = not turns or turns[-1].role != chat_pb2.ROLE_ASSISTANT
        ids = await render(to_chat(sequence.chat, info, f"{field}.chat", add_generation_prompt=waits))
    else:
        raise InvalidInput(f"{field} is empty: set token_ids or chat", field=field)
    if len(ids) > info.context_tokens:
        raise InvalidInput(
            f"{field} has {len(ids)} tokens, the context holds {info.context_tokens}; shorten it",
            field=field,
            reason="PROMPT_TOO_LONG",
        )
    return ids


def _range(sequence: score_pb2.ScoreSequence, tokens: int, field: str) -> tuple[int, int]:
    first = sequence.first_position
    end = sequence.end_position if sequence.HasField("end_position") else tokens - 1
    if not 0 <= first < end <= tokens:
        raise InvalidInput(
            f"{field}: positions {first} to {end} of {tokens} tokens: need 0 <= first_position < end_position <= "
            f"{tokens}; end_position is {tokens - 1} if it is not set",
            field=f"{field}.end_position",
        )
    return first, end


def _candidates(sequence: score_pb2.ScoreSequence, positions: int, info: ModelInfo, field: str) -> Candidates | None:
    given = sequence.candidates
    field = f"{field}.candidates"
    if not given.ids:
        if given.offsets and any(given.offsets):
            raise InvalidInput(f"{field}.offsets point into ids, which is empty", field=f"{field}.offsets")
        return None
    check_vocabulary(given.ids, info, f"{field}.ids")
    ids = np.array(given.ids, np.uint32)
    candidates = Candidates(ids, _offsets(given, positions, field) if given.offsets else None)
    longest = candidates.longest
    padded = longest * positions
    if longest > MAX_CANDIDATES or (candidates.offsets is not None and padded > MAX_PADDED_CANDIDATES):
        raise InvalidInput(
            f"{field}: the longest list has {longest} ids for {positions} positions; at most {MAX_CANDIDATES} ids a "
            f"position, and {MAX_PADDED_CANDIDATES} in all if every list were as long; split the request",
            field=field,
        )
    return candidates


def _offsets(given: score_pb2.CandidateIds, positions: int, field: str) -> npt.NDArray[np.int64]:
    offsets = np.array(given.offsets, np.int64)
    fits = len(offsets) == positions + 1 and offsets[0] == 0 and offsets[-1] == len(given.ids)
    if not fits or (np.diff(offsets) < 0).any():
        raise InvalidInput(
            f"{field}.offsets has {len(offsets)} numbers from {offsets[0]} to {offsets[-1]}: send {positions + 1} "
            f"(positions + 1) that never fall, from 0 to {len(given.ids)} (the number of ids)",
            field=f"{field}.offsets",
        )
    return offsets
