"""A conversation: utterances are cut out of a stream of sound, each gets a turn, and speech interrupts a turn.

Events of a turn wait in an outbox until the caller takes them. When somebody begins to speak, the turn is cancelled and
what it left in the outbox is thrown away before anything else is sent, so no word of an old reply follows.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass

from seodang.adapters.voice.endpointing import Endpointer, EndpointingConfig, SpeechStarted, Utterance
from seodang.adapters.voice.pacing import Pacer
from seodang.adapters.voice.service import Asking, Decided, Heard, Timing, VoiceService
from seodang.adapters.voice.sound import BYTES_PER_SAMPLE, Sound
from seodang.base.errors import InvalidInput, SeodangError

_PIECE_MS = 100


@dataclass(frozen=True, slots=True)
class ConversationConfig:
    """What holds for one conversation; rates in hertz."""

    input_rate: int
    output_rate: int
    asking: Asking
    silence_ms: int


@dataclass(frozen=True, slots=True)
class EndUtterance:
    """The speaker's own sign that the utterance is over."""


@dataclass(frozen=True, slots=True)
class Played:
    """How much of the reply was played, in milliseconds."""

    ms: int


@dataclass(frozen=True, slots=True)
class ReplySound:
    """A piece of the reply: 16-bit samples at the output rate."""

    pcm: bytes


@dataclass(frozen=True, slots=True)
class ReplyFinished:
    """The reply was sent to its end, or cut short."""

    interrupted: bool
    timing: Timing


Incoming = bytes | EndUtterance | Played
TurnEvent = Heard | Decided | ReplySound | ReplyFinished | SeodangError
Outgoing = SpeechStarted | TurnEvent


class Conversation:
    """One speaker and the service. ``run`` it once."""

    def __init__(self, service: VoiceService, config: ConversationConfig) -> None:
        self._service = service
        self._config = config
        self._endpointer = Endpointer(config.input_rate, EndpointingConfig(silence_ms=config.silence_ms))
        self._outbox: deque[Outgoing] = deque()
        self._filled = asyncio.Event()
        self._turn: asyncio.Task[None] | None = None
        self._timing = Timing()
        self._pacer = Pacer(service.settings.reply_lead_ms)

    async def run(self, incoming: AsyncIterator[Incoming]) -> AsyncGenerator[Outgoing, None]:
        """Events as they happen, until the speaker's stream has ended and the last turn is over.

        Raises:
            SeodangError: what the speaker sends is not as it must be.
        """
        listening = asyncio.create_task(self._listen(incoming))
        listening.add_done_callback(lambda _: self._filled.set())
        try:
            while self._outbox or not listening.done():
                self._filled.clear()
                while self._outbox:
                    yield self._outbox.popleft()
                self._raise_what_broke()
                if not listening.done():
                    await self._filled.wait()
            listening.result()
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            await self._cancel_turn()

    async def _listen(self, incoming: AsyncIterator[Incoming]) -> None:
        async for event in incoming:
            if isinstance(event, Played):
                self._pacer.played(event.ms)
            elif isinstance(event, EndUtterance):
                await self._end_utterance()
            else:
                for happening in self._endpointer.feed(event):
                    if isinstance(happening, SpeechStarted):
                        await self._interrupt(happening)
                    else:
                        await self._begin_turn(happening)
        if self._endpointer.is_speaking:
            await self._end_utterance()
        if self._turn is not None:
            await asyncio.wait({self._turn})

    async def _end_utterance(self) -> None:
        utterance = self._endpointer.flush()
        if utterance is None:
            self._put(InvalidInput("the utterance ended, and there was no audio since the last one", field="audio"))
        else:
            await self._begin_turn(utterance)

    async def _interrupt(self, started: SpeechStarted) -> None:
        was_replying = await self._cancel_turn()
        self._put(started)
        if was_replying:
            self._put(ReplyFinished(True, self._timing))

    async def _begin_turn(self, utterance: Utterance) -> None:
        if await self._cancel_turn():
            self._put(ReplyFinished(True, self._timing))
        self._timing = Timing()
        self._turn = asyncio.create_task(self._answer(utterance.sound, self._timing))
        self._turn.add_done_callback(lambda _: self._filled.set())

    def _raise_what_broke(self) -> None:
        """A turn reports the failures that it expects; any other must not leave the speaker waiting."""
        if self._turn is not None and self._turn.done() and not self._turn.cancelled():
            self._turn.result()

    async def _cancel_turn(self) -> bool:
        """Ends the turn under way and takes back what it has not sent yet; False if nothing was left to say."""
        turn, self._turn = self._turn, None
        if turn is None:
            return False
        turn.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await turn
        unsent = [event for event in self._outbox if not isinstance(event, SpeechStarted)]
        kept = [event for event in self._outbox if isinstance(event, SpeechStarted)]
        self._outbox.clear()
        self._outbox.extend(kept)
        return turn.cancelled() or bool(unsent)

    async def _answer(self, sound: Sound, timing: Timing) -> None:
        config, service = self._config, self._service
        try:
            heard = await service.hear(sound, config.asking.language, timing)
            self._put(heard)
            decided = await service.decide(heard, config.asking, timing)
            self._put(decided)
            reply = (await service.speak(decided.reply, config.asking.language, timing)).resampled(config.output_rate)
        except SeodangError as error:
            self._put(error)
            return
        self._pacer.begin()
        piece_bytes = config.output_rate * _PIECE_MS // 1000 * BYTES_PER_SAMPLE
        pcm = reply.pcm
        for number, start in enumerate(range(0, len(pcm), piece_bytes)):
            await self._pacer.wait(number * _PIECE_MS)
            self._put(ReplySound(pcm[start : start + piece_bytes]))
        self._put(ReplyFinished(False, timing))

    def _put(self, event: Outgoing) -> None:
        self._outbox.append(event)
        self._filled.set()
