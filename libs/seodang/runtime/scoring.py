"""Sequences that are read, not continued: scored positions, and texts pooled into vectors."""

import numpy as np
import torch

from seodang.runtime.executor import Executor
from seodang.runtime.scorer import ScoreSpec, as_chunk, score
from seodang.runtime.sequence import Sequence
from seodang.worker.messages import Embed, Embedded, Pooling, Score, ScoreChunk
from seodang.worker.tensor import Tensor


class Scoring(Sequence):
    """A sequence whose positions ``start``..``stop`` are scored as the cache fills.

    Each chunk takes a credit; without credit the sequence pauses. If it is preempted, it goes on where it was.
    """

    def __init__(self, command: Score, tokens: list[int], credits_: int, *, alone: bool = False) -> None:
        stop = len(tokens) if command.stop is None else command.stop
        super().__init__(command.request_id, tokens[:stop], command.priority)
        self.credits = credits_
        self._alone = alone
        self._command = command
        self._next_position = command.start
        self._following = [*tokens[1 : stop + 1], -1][:stop]  # the token after each position; -1 after the last
        self._spec = ScoreSpec(
            temperature=command.temperature,
            top_k=command.top_k,
            tail_samples=command.tail_samples,
            seed=command.seed,
            entropy=command.entropy,
        )
        self._named = None if command.named_ids is None else command.named_ids.to_numpy()

    @property
    def background(self) -> bool:
        """Nobody waits for a score as they wait for a word."""
        return True

    @property
    def alone(self) -> bool:
        """Whether its scores may depend on nothing but itself, down to the last bit."""
        return self._alone

    @property
    def reusable(self) -> int:
        """Tokens before the first position that is still to be scored."""
        return 0 if self._alone else self._next_position

    @property
    def longest_run(self) -> int:
        """A chunk's worth."""
        return self._command.chunk_positions

    @property
    def paused(self) -> bool:
        """The reader has not caught up."""
        return self.credits <= 0

    @property
    def done(self) -> bool:
        """Whether the last position has been scored."""
        return self._next_position >= len(self.tokens)

    def outputs(self, count: int) -> slice:
        """Positions not yet scored; alone, the whole run, so that the head always multiplies as many rows."""
        if self._alone:
            return slice(0, count)
        return slice(min(count, max(0, self._next_position - self.computed)), count)

    def take(self, executor: Executor, outputs: slice) -> ScoreChunk | None:
        """Score the positions whose hidden states are rows ``outputs`` of the executor's last batch."""
        count = outputs.stop - outputs.start
        begin = self.computed - count
        known = self._next_position - begin
        if known >= count:
            return None
        positions = slice(begin, begin + count)
        device = executor.device
        scores = score(
            executor.kernels,
            lambda vocabulary: executor.logits(outputs, vocabulary),
            executor.vocab_size,
            self._spec,
            torch.tensor(self._following[positions], device=device),
            self._named_at(positions, count, device),
            np.arange(begin, begin + count),
        ).since(known)
        start, self._next_position = self._next_position, begin + count
        self.credits -= 1
        hidden = executor.hidden(outputs)[known:].to(executor.dtype) if self._command.hidden_states else None
        return as_chunk(self.request_id, start, self.done, scores, self._spec, hidden)

    def _named_at(self, positions: slice, count: int, device: torch.device) -> torch.Tensor | None:
        if self._named is None:
            return None
        if self._named.ndim == 1:
            ids = np.broadcast_to(self._named, (count, len(self._named)))
        else:
            first = self._command.start
            ids = self._named[max(positions.start - first, 0) : positions.stop - first]
            ids = np.pad(ids, ((count - len(ids), 0), (0, 0)), constant_values=-1)
        return torch.from_numpy(ids.astype(np.int64)).to(device)


class EmbedJob:
    """The prompts of one request for vectors, and the vectors so far."""

    def __init__(self, command: Embed, prompts: list[list[int]]) -> None:
        self.command = command
        self.sequences = [Pooled(self, index, tokens) for index, tokens in enumerate(prompts)]
        self._vectors: dict[int, torch.Tensor] = {}

    def add(self, index: int, vector_H: torch.Tensor) -> Embedded | None:
        """Note one finished vector; the reply, when it was the last."""
        self._vectors[index] = vector_H
        if len(self._vectors) < len(self.sequences):
            return None
        vectors = torch.stack([self._vectors[i] for i in range(len(self.sequences))])
        if self.command.normalize:
            vectors = torch.nn.functional.normalize(vectors, dim=-1)
        return Embedded(
            request_id=self.command.request_id,
            vectors=Tensor.from_numpy(vectors.cpu().numpy()),
            prompt_tokens=tuple(len(sequence.tokens) for sequence in self.sequences),
        )


class Pooled(Sequence):
    """One prompt of an ``EmbedJob``."""

    def __init__(self, job: EmbedJob, index: int, tokens: list[int]) -> None:
        super().__init__(job.command.request_id, tokens)
        self.job = job
        self._index = index
        self._mean = job.command.pooling is Pooling.MEAN
        self._sum: torch.Tensor | float = 0.0
        self._pooled = 0

    @property
    def reusable(self) -> int:
        """A mean needs every hidden state, the last one only itself."""
        return self._pooled if self._mean else len(self.tokens) - 1

    def outputs(self, count: int) -> slice:
        """All tokens not yet pooled, or the last."""
        if self._mean:
            return slice(min(count, max(0, self._pooled - self.computed)), count)
        return slice(count - 1, count) if count == self.remaining else slice(0, 0)

    def take(self, executor: Executor, outputs: slice) -> Embedded | None:
        """Pool the hidden states of rows ``outputs``; the job's reply, if this ends it."""
        count = outputs.stop - outputs.start
        if count:
            self._sum = self._sum + executor.hidden(outputs).float().sum(0)
            self._pooled += count
        if self.remaining or not isinstance(self._sum, torch.Tensor):
            return None
        return self.job.add(self._index, self._sum / self._pooled)
