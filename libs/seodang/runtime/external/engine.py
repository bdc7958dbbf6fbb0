"""One model that an external server computes: the same admission, text and endings as our engine, none of its layers.

The HTTP runs on a thread of its own; what it brings is handed to the main loop, which alone keeps the books.
"""

import asyncio
import time
from contextlib import aclosing, suppress
from functools import partial
from typing import Final

from seodang.base.errors import Conflict, SeodangError, Unavailable, Unsupported
from seodang.runtime.admission import check_generate
from seodang.runtime.completion import Completion
from seodang.runtime.external.body import to_body
from seodang.runtime.external.loop_thread import LoopThread
from seodang.runtime.external.piece import Piece, lost
from seodang.runtime.external.vllm_server import ServedThere, VllmServer
from seodang.runtime.external.waiting_room import Job, WaitingRoom
from seodang.runtime.grammar import Grammars
from seodang.runtime.link import Link
from seodang.runtime.tokenizer import Tokenizer
from seodang.worker.faults import to_failed
from seodang.worker.messages import Accepted, Event, Failed, Finished, FinishReason, Generate, LoadOptions

WATCH_S: Final = 1.0
_ENDED_BY_ITSELF: Final = ("stop", "length")


class ExternalEngine:
    """Requests of one model at one server, which is watched from the beginning."""

    def __init__(
        self,
        server: VllmServer,
        served: ServedThere,
        tokenizer: Tokenizer,
        options: LoadOptions,
        link: Link,
        thread: LoopThread,
    ) -> None:
        self.tokenizer = tokenizer
        self.lost = ""
        """Why nothing is sent to the server; empty while it answers."""
        self._server = server
        self._served = served
        self._room = WaitingRoom(max_running=options.max_batch, max_waiting=options.max_waiting)
        self._grammars = Grammars(tokenizer)
        self._link = link
        self._thread = thread
        self._look_now = asyncio.Event()
        thread.start(self._watch())

    @property
    def running(self) -> int:
        """Requests at the server."""
        return self._room.running

    @property
    def waiting(self) -> int:
        """Requests that are not there yet."""
        return self._room.waiting

    def generate(self, command: Generate) -> Accepted:
        """Queue a completion; ``Unavailable`` while the server does not answer."""
        if self.lost:
            raise Unavailable(f"model {command.model_id!r} cannot answer now: {self.lost}", retry_after_s=WATCH_S)
        self._room.check_new(command.request_id)
        prompt = self.tokenizer.encode(command.prompt)
        context = self._served.context_tokens
        check_generate(command, len(prompt), self.tokenizer.vocab_size, context)
        grammar = None if command.constraint is None else self._grammars.start(command.constraint)
        completion = Completion(command, prompt, self.tokenizer, context, grammar)
        self._room.add(Job(completion, to_body(completion, self._served.id)))
        self._start_ready()
        return Accepted(
            request_id=command.request_id,
            prompt_tokens=len(prompt),
            prompt_token_ids=tuple(prompt) if command.echo_prompt else (),
            prompt_text=self.tokenizer.decode(prompt, skip_special_tokens=False) if command.echo_prompt else "",
        )

    def refusal(self, wanted: str) -> Unsupported:
        """The answer to who wants what takes the weights themselves."""
        return Unsupported(
            f"{wanted}: {self._server} computes this model and does not tell all that belongs to it; serve the folder "
            "with our own engine, that is without an external server, to have it",
            metadata={"external": str(self._server)},
        )

    def cancel(self, request_id: str) -> Finished | None:
        """End a request at once, at the server too; the terminal event, if it was under way."""
        job = self._leave(request_id)
        return None if job is None else job.completion.finish(FinishReason.CANCELLED)

    def fail_all(self, error: SeodangError) -> list[Event]:
        """End every request with ``error``."""
        return [to_failed(job.completion.request_id, error) for job in self._room.clear()]

    def close(self) -> None:
        """End every connection, and the thread."""
        self._thread.run(self._server.close())
        self._thread.close()

    # ── On the main loop ─────────────────────────────────────────────────────────────────────────────────────────────

    def _start_ready(self) -> None:
        for job in self._room.ready():
            job.completion.clock.started = time.monotonic()
            job.stream = self._thread.start(self._follow(job))

    def _leave(self, request_id: str) -> Job | None:
        job = self._room.leave(request_id)
        self._start_ready()
        return job

    def _take(self, job: Job, piece: Piece) -> None:
        """Give a completion its next tokens, and send what came of them."""
        completion = job.completion
        if not self._room.holds(job):  # cancelled while this was on its way
            return
        completion.cached_tokens = piece.cached_tokens
        events: list[Event] = []
        try:
            for token, logprob in piece.drawn(wanted=completion.command.top_logprobs is not None):
                events.append(completion.append(token, logprob))
                if completion.ended is not None:
                    self._check_shape(completion)
                    events.append(completion.ended)
                    break
            else:
                self._check_goes_on(completion, piece)
        except SeodangError as error:
            events.append(to_failed(completion.request_id, error))
        self._link.send(events)
        if piece.finish_reason:
            job.stream = None  # it comes to its end by itself; a cancellation there could leave its connection behind
        if events and isinstance(events[-1], Finished | Failed):
            self._leave(completion.request_id)

    def _fail(self, job: Job, error: Exception) -> None:
        if self._room.holds(job):
            self._link.send([to_failed(job.completion.request_id, error)])
            self._leave(job.completion.request_id)

    def _check_shape(self, completion: Completion) -> None:
        text, constraint = completion.constrained_text(), completion.command.constraint
        if text is not None and constraint is not None:
            self._grammars.check(constraint, text)

    def _check_goes_on(self, completion: Completion, piece: Piece) -> None:
        """A server that ends a completion before our own rules do has rules that the caller has not asked for."""
        if piece.finish_reason in _ENDED_BY_ITSELF:
            raise Unsupported(
                f"{self._server} ended the completion ({piece.finish_reason}) after {completion.completion_tokens} of "
                f"{completion.limit} tokens, which nobody asked for; start vLLM with --generation-config vllm"
            )
        if piece.finish_reason:
            raise lost(f"{self._server} ended the completion ({piece.finish_reason})")

    def _note(self, reason: str) -> None:
        """The server has gone, or has come back."""
        print(reason or f"{self._server} answers again", flush=True)
        self.lost = reason
        if reason:
            self._link.send(self.fail_all(lost(reason)))

    # ── On the thread ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _follow(self, job: Job) -> None:
        try:
            async with aclosing(self._server.stream(job.body, self.tokenizer)) as pieces:
                async for piece in pieces:
                    self._link.post(partial(self._take, job, piece))
        except Exception as error:  # noqa: BLE001 - whatever it was, the caller waits for an end
            self._look_now.set()
            self._link.post(partial(self._fail, job, error))

    async def _watch(self) -> None:
        known = ""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._look_now.wait(), WATCH_S)
            self._look_now.clear()
            reason = await self._look(known)
            if reason != known:
                known = reason
                self._link.post(partial(self._note, reason))

    async def _look(self, known: str) -> str:
        """Why the server cannot be used; one that was away must complete a token first."""
        try:
            if not known:
                await self._server.check()
            elif (served := await self._server.served()) != self._served:
                raise Conflict(f"{self._server} came back with {served}, it had {self._served}: restart this server")
            else:
                await self._server.prove(served, self.tokenizer)
        except Exception as error:  # noqa: BLE001 - a watch that ends watches nothing
            return error.message if isinstance(error, SeodangError) else repr(error)
        return ""
