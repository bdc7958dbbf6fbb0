"""An InferenceService that writes what it is told, token by token, at the pace that the test sets."""

import asyncio
import math
import struct
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from seodang.api.inference.v1 import generate_pb2, inference_pb2, inference_pb2_grpc, model_pb2
from seodang.api.types.v1 import tensor_pb2, usage_pb2
from seodang.base.errors import NotFound, SeodangError
from seodang.rpc import Mount, to_fault

SERVICE = "seodang.api.inference.v1.InferenceService"


class Pace:
    """Lets tokens through freely, or, once held, one for each ``step``."""

    def __init__(self) -> None:
        self._free = asyncio.Event()
        self._free.set()
        self._steps = asyncio.Semaphore(0)

    def hold(self) -> None:
        """From now on a token waits for its step."""
        self._free.clear()

    def step(self, tokens: int = 1) -> None:
        """Lets that many tokens through."""
        for _ in range(tokens):
            self._steps.release()

    def release(self) -> None:
        """Tokens go freely again."""
        self._free.set()
        self._steps.release()

    async def wait(self) -> None:
        """Waits for the next token's turn."""
        if not self._free.is_set():
            await self._steps.acquire()


@dataclass(frozen=True)
class Script:
    """One answer: its tokens, in bytes, and how it ends."""

    pieces: Sequence[bytes]
    reason: generate_pb2.FinishReason.ValueType = generate_pb2.FINISH_REASON_STOP_TOKEN
    fault_at: int | None = None
    """Break off with ``fault`` before this token."""
    fault: SeodangError | None = None
    seconds_per_token: float = 0.0


def words(text: str) -> Script:
    """A script with a token a word, spaces kept."""
    parts = [part if index == 0 else f" {part}" for index, part in enumerate(text.split(" "))]
    return Script([part.encode() for part in parts])


@dataclass
class ScriptedInference(inference_pb2_grpc.InferenceServiceServicer):
    """Holds ``names`` and answers each request with ``answer(request)``; counts what runs and what was cancelled."""

    names: Sequence[str]
    architecture: str = "LlamaForCausalLM"
    answer: Callable[[generate_pb2.GenerateRequest], Script] = lambda request: words("안녕 from the mesh")
    pace: Pace = field(default_factory=Pace)
    refusal: SeodangError | None = None
    aliases: dict[str, str] = field(default_factory=dict)
    requests: list[generate_pb2.GenerateRequest] = field(default_factory=list)
    remaining_s: list[float] = field(default_factory=list)
    """The deadline that each generation came with."""
    running: int = 0
    cancelled: int = 0

    def mount(self) -> Mount:
        """For ``MeshServer``."""
        return Mount(self, inference_pb2_grpc.add_InferenceServiceServicer_to_server, SERVICE)

    async def Generate(
        self, request: generate_pb2.GenerateRequest, context: Any
    ) -> AsyncIterator[generate_pb2.GenerateResponse]:
        if self.refusal:
            raise self.refusal
        name = self._resolve(request.model)
        self.requests.append(request)
        self.remaining_s.append(context.time_remaining())
        self.running += 1
        try:
            accepted = generate_pb2.Accepted(request_id=request.request_id, model=name, prompt_tokens=7)
            yield generate_pb2.GenerateResponse(accepted=accepted)
            async for event in self._events(request, self.answer(request)):
                yield event
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1

    async def _events(
        self, request: generate_pb2.GenerateRequest, script: Script
    ) -> AsyncIterator[generate_pb2.GenerateResponse]:
        began_s, first_s, held = time.perf_counter(), 0.0, b""
        limit = request.max_new_tokens if request.HasField("max_new_tokens") else len(script.pieces)
        for index, piece in enumerate(script.pieces[:limit]):
            await self.pace.wait()
            await asyncio.sleep(script.seconds_per_token)
            if script.fault is not None and index == script.fault_at:
                yield generate_pb2.GenerateResponse(fault=to_fault(script.fault))
                return
            first_s = first_s or time.perf_counter() - began_s
            held += piece
            text = _whole(held)
            held = b"" if text else held
            token = _token(index, piece, request)
            yield generate_pb2.GenerateResponse(delta=generate_pb2.Delta(text=text, tokens=[token]))
        count = min(limit, len(script.pieces))
        usage = usage_pb2.Usage(prompt_tokens=7, cached_prompt_tokens=2, completion_tokens=count)
        usage.first_token_ms, usage.total_ms = 1000 * first_s, 1000 * (time.perf_counter() - began_s)
        reason = generate_pb2.FINISH_REASON_LENGTH if limit < len(script.pieces) else script.reason
        yield generate_pb2.GenerateResponse(finished=generate_pb2.Finished(reason=reason, usage=usage))

    async def GetModel(self, request: inference_pb2.GetModelRequest, context: Any) -> inference_pb2.GetModelResponse:
        return inference_pb2.GetModelResponse(model=self._model(self._resolve(request.name)))

    async def ListModels(
        self, request: inference_pb2.ListModelsRequest, context: Any
    ) -> inference_pb2.ListModelsResponse:
        """A page of one model, so that callers must ask for the next."""
        start = int(request.page_token or 0)
        page = [self._model(name) for name in self.names[start : start + 1]]
        more = start + 1 < len(self.names)
        return inference_pb2.ListModelsResponse(models=page, next_page_token=str(start + 1) if more else "")

    async def Embed(self, request: inference_pb2.EmbedRequest, context: Any) -> inference_pb2.EmbedResponse:
        """Vectors [number of characters, row] scaled to length 1."""
        self._resolve(request.model)
        rows = [
            (len(text) / math.hypot(len(text), row), row / math.hypot(len(text), row))
            for row, text in enumerate(request.texts)
        ]
        data = b"".join(struct.pack("<2f", *row) for row in rows)
        tensor = tensor_pb2.Tensor(dtype=tensor_pb2.D_TYPE_FLOAT32, shape=[len(rows), 2], data=data)
        return inference_pb2.EmbedResponse(embeddings=tensor, usage=usage_pb2.Usage(prompt_tokens=3 * len(rows)))

    def _resolve(self, name: str) -> str:
        name = self.aliases.get(name, name)
        if name not in self.names:
            raise NotFound(f"no model {name}", metadata={"model": name})
        return name

    def _model(self, name: str) -> model_pb2.Model:
        return model_pb2.Model(
            name=name,
            architecture=self.architecture,
            total_parameters=11_000_000,
            active_parameters=4_000_000,
            vocabulary_size=4096,
            context_tokens=2048,
            dtype="float32",
            layout=model_pb2.Layout(tensor_parallel=1, expert_parallel=1, pipeline_parallel=1),
            weights_sha256="ab" * 32,
            tokenizer_sha256="cd" * 32,
            capabilities=[model_pb2.CAPABILITY_GENERATE, model_pb2.CAPABILITY_CHAT],
            state=model_pb2.MODEL_STATE_READY,
            cache_bytes_per_token=640,
            cache_utilisation=0.25,
            running_requests=self.running,
        )


def _token(index: int, piece: bytes, request: generate_pb2.GenerateRequest) -> generate_pb2.GeneratedToken:
    token = generate_pb2.GeneratedToken(id=index + 100)
    if request.logprobs or request.top_logprobs:
        token.logprob, token.piece = -0.5 * (index + 1), piece
        token.alternatives.extend(
            generate_pb2.Alternative(id=rank, text=f"alt{rank}", piece=f"alt{rank}".encode(), logprob=-1.0 - rank)
            for rank in range(request.top_logprobs)
        )
    return token


def _whole(held: bytes) -> str:
    try:
        return held.decode()
    except UnicodeDecodeError:
        return ""
