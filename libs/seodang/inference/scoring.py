"""Score: one request as one engine command a sequence, and their chunks as one stream in order."""

import asyncio
import hashlib
import time
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import partial
from typing import Final

import numpy as np

from seodang.api.inference.v1 import score_pb2
from seodang.api.types.v1 import usage_pb2
from seodang.base.errors import Conflict, Exhausted, InternalFault
from seodang.inference.ahead import one_after_another
from seodang.inference.chunks import to_chunk
from seodang.inference.describe import tokenizer_sha256
from seodang.inference.directory import ModelDirectory, ServedModel
from seodang.inference.generation import PRIORITIES
from seodang.inference.positions import Span, after_offset, to_spans
from seodang.inference.signals import Signals, to_signals
from seodang.worker import EngineHost
from seodang.worker.messages import ChatPrompt, Score, ScoreChunk, TokenPrompt

CHUNK_BYTES: Final = 2**20
MAX_CHUNK_POSITIONS: Final = 512
# Sequences that the engine may work on at once for one caller: enough to fill its batch, few enough to be fair.
SEQUENCES_UNDER_WAY: Final = 4


class Scoring:
    """Scores sequences; reads no further ahead than the engine's own window for each sequence under way."""

    def __init__(self, host: EngineHost, directory: ModelDirectory) -> None:
        self._host = host
        self._directory = directory

    async def stream(
        self, request: score_pb2.ScoreRequest, request_id: str
    ) -> AsyncGenerator[score_pb2.ScoreResponse, None]:
        """Accepted, chunks, finished. Everything that can be refused is refused before the first of them."""
        async with self._directory.lease(request.model) as model:
            with model.activity.request() as begin:
                async with aclosing(self._answer(model, request, request_id)) as responses:
                    async for response in responses:
                        if response.HasField("chunk"):
                            begin()
                        yield response

    async def _answer(
        self, model: ServedModel, request: score_pb2.ScoreRequest, request_id: str
    ) -> AsyncGenerator[score_pb2.ScoreResponse, None]:
        started = time.monotonic()
        _check_fingerprints(model, request)
        PRIORITIES.check(request.priority, "priority")
        signals = to_signals(request.signals, model.info)
        spans = await to_spans(request.sequences, model.info, partial(self._render, model.info.model_id))
        left = after_offset(spans, request.start_offset)
        positions = signal_bytes = 0
        async with aclosing(self._chunks(model, signals, left, request.priority)) as chunks:
            # The engine says that it admits a sequence by scoring it, so a refusal comes before the acceptance.
            chunk = await anext(chunks, None)
            yield score_pb2.ScoreResponse(accepted=_accepted(model, request_id, spans))
            while chunk is not None:
                positions += chunk.logsumexp.shape[0]
                signal_bytes += chunk.ByteSize()
                yield score_pb2.ScoreResponse(chunk=chunk)
                chunk = await anext(chunks, None)
        usage = usage_pb2.Usage(
            prompt_tokens=sum(len(span.token_ids) for span in spans),
            completion_tokens=positions,
            total_ms=(time.monotonic() - started) * 1e3,
        )
        finished = score_pb2.ScoreFinished(
            usage=usage, signal_bytes=signal_bytes, bytes_per_position=signal_bytes / positions if positions else 0.0
        )
        yield score_pb2.ScoreResponse(finished=finished)

    async def _render(self, model_id: str, prompt: ChatPrompt) -> tuple[int, ...]:
        return (await self._host.render(model_id, prompt)).token_ids

    def _chunks(
        self, model: ServedModel, signals: Signals, left: Sequence[tuple[Span, int]], priority: int
    ) -> AsyncGenerator[score_pb2.ScoreChunk, None]:
        streams = (
            self._span_chunks(
                span, signals, _command(model, signals, span, begin, priority), patient=span is not left[0][0]
            )
            for span, begin in left
        )
        return one_after_another(streams, SEQUENCES_UNDER_WAY)

    async def _span_chunks(
        self, span: Span, signals: Signals, command: Score, *, patient: bool
    ) -> AsyncGenerator[score_pb2.ScoreChunk, None]:
        expected = command.start
        async with aclosing(self._admitted(command, patient=patient)) as chunks:
            async for chunk in chunks:
                if chunk.start != expected:
                    raise InternalFault(f"the engine scored position {chunk.start} where {expected} was due: report it")
                yield to_chunk(chunk, span, signals, first_of_sequence=chunk.start == command.start)
                expected += chunk.positions
        if expected != span.end:
            raise InternalFault(f"the engine stopped scoring at position {expected} of {span.end}: report it")

    async def _admitted(self, command: Score, *, patient: bool) -> AsyncGenerator[ScoreChunk, None]:
        """The engine's chunks; who is patient asks again while the engine is full, until the caller's deadline."""
        while True:
            try:
                async with aclosing(self._host.score(command)) as chunks:
                    async for chunk in chunks:
                        yield chunk
                    return
            except Exhausted as error:
                if not patient:
                    raise
                await asyncio.sleep(error.retry_after_s)


def _command(model: ServedModel, signals: Signals, span: Span, begin: int, priority: int) -> Score:
    candidates = span.candidates
    per_position = signals.bytes_per_position(model.info, candidates.longest if candidates else 0)
    sample = signals.sample
    return Score(
        # A caller may resume with the same request_id while the broken stream is still being noticed.
        request_id=uuid.uuid4().hex,
        model_id=model.info.model_id,
        # One token beyond the last position tells its next token; what follows is not needed.
        prompt=TokenPrompt(token_ids=span.token_ids[: span.end + 1]),
        start=begin,
        stop=span.end,
        chunk_positions=max(1, min(MAX_CHUNK_POSITIONS, CHUNK_BYTES // per_position)),
        temperature=signals.temperature,
        named_ids=candidates.wire(begin - span.first, span.positions) if candidates else None,
        top_k=signals.engine_top_k,
        tail_samples=sample.draws if sample else 0,
        seed=_own_seed(sample.seed, span.token_ids) if sample else 0,
        entropy=signals.entropy,
        hidden_states=signals.hidden_dtype is not None,
        priority=priority,
    )


def _own_seed(seed: int, token_ids: Sequence[int]) -> int:
    """The engine's draws depend on seed and position alone; with one seed, all sequences of a data set would draw from
    the same offsets, and what they miss would not average out over them.
    """
    digest = hashlib.blake2b(
        np.array(token_ids, "<i4").tobytes(), digest_size=8, key=seed.to_bytes(8, "little", signed=True)
    )
    return int.from_bytes(digest.digest(), "little") >> 1


def _accepted(model: ServedModel, request_id: str, spans: Sequence[Span]) -> score_pb2.ScoreAccepted:
    return score_pb2.ScoreAccepted(
        request_id=request_id,
        model=model.name,
        total_positions=spans[-1].offset + spans[-1].positions,
        weights_sha256=model.info.weights_fingerprint,
        tokenizer_sha256=tokenizer_sha256(model.info),
        vocabulary_size=model.info.vocab_size,
    )


def _check_fingerprints(model: ServedModel, request: score_pb2.ScoreRequest) -> None:
    pairs = (
        ("weights_sha256", request.expected_weights_sha256, model.info.weights_fingerprint),
        ("tokenizer_sha256", request.expected_tokenizer_sha256, tokenizer_sha256(model.info)),
    )
    differing = {name: actual for name, expected, actual in pairs if expected and expected != actual}
    if differing:
        what = " and ".join(f"{name} is {actual}" for name, actual in differing.items())
        raise Conflict(
            f"{model.name} is not the model you expect: its {what}; "
            "what you collected belongs to another model, so begin anew or name the right one",
            reason="FINGERPRINT_MISMATCH",
            metadata=differing,
        )
