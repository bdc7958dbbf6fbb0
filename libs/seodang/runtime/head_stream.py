"""The output head on its way to a client, a few rows at a time."""

from seodang.base.errors import InvalidInput
from seodang.runtime.executor import Executor
from seodang.runtime.scorer import wire
from seodang.worker.messages import FetchHead, HeadChunk

MAX_CHUNK_BYTES = 32 * 2**20


class HeadStream:
    """Rows of one model's head, from the first to the last."""

    def __init__(self, command: FetchHead, executor: Executor) -> None:
        row_bytes = executor.config.hidden_size * executor.dtype.itemsize
        if not 1 <= command.chunk_rows <= MAX_CHUNK_BYTES // row_bytes:
            raise InvalidInput(
                f"chunk_rows={command.chunk_rows}: must be 1 to {MAX_CHUNK_BYTES // row_bytes}", field="chunk_rows"
            )
        self._command = command
        self._executor = executor
        self._next = 0

    def take(self, chunks: int) -> list[HeadChunk]:
        """The next chunks; fewer at the end."""
        taken: list[HeadChunk] = []
        while len(taken) < chunks and self._next < self._executor.vocab_size:
            begin = self._next
            self._next = min(begin + self._command.chunk_rows, self._executor.vocab_size)
            weight = self._executor.head(slice(begin, self._next)).to(self._executor.dtype)
            last = self._next == self._executor.vocab_size
            taken.append(HeadChunk(request_id=self._command.request_id, start=begin, weight=wire(weight), last=last))
        return taken
