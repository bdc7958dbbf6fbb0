"""The recogniser as a Wyoming server, so that Home Assistant and the voice service reach it the same way."""

import asyncio
import logging
from asyncio import StreamReader, StreamWriter
from collections.abc import Mapping

from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.error import Error
from wyoming.event import Event
from wyoming.info import AsrModel, AsrProgram, Attribution, Describe, Info
from wyoming.server import AsyncEventHandler

from seodang.adapters.voice.recogniser.decoder import CommandDecoder
from seodang.adapters.voice.sound import BYTES_PER_SAMPLE, Sound

log = logging.getLogger(__name__)

_MAX_SECONDS = 60


class RecogniserHandler(AsyncEventHandler):
    """One connection: transcribe, audio-start, audio-chunk..., audio-stop, and back comes a transcript or an error."""

    def __init__(self, decoders: Mapping[str, CommandDecoder], reader: StreamReader, writer: StreamWriter) -> None:
        super().__init__(reader, writer)
        self._decoders = decoders
        self._language = ""
        self._rate = 0
        self._pcm = bytearray()

    async def handle_event(self, event: Event) -> bool:
        """Answers one event; False ends the connection."""
        if Describe.is_type(event.type):
            await self.write_event(_info(list(self._decoders)).event())
        elif Transcribe.is_type(event.type):
            self._language = (Transcribe.from_event(event).language or "").replace("_", "-").partition("-")[0]
        elif AudioStart.is_type(event.type):
            self._pcm.clear()
        elif AudioChunk.is_type(event.type):
            return await self._take(AudioChunk.from_event(event))
        elif AudioStop.is_type(event.type):
            return await self._transcribe()
        return True

    async def _take(self, chunk: AudioChunk) -> bool:
        if (chunk.width, chunk.channels) != (BYTES_PER_SAMPLE, 1):
            return await self._refuse(f"audio of {chunk.width} bytes and {chunk.channels} channels: send 2 and 1")
        self._rate = chunk.rate
        self._pcm += chunk.audio
        if len(self._pcm) > _MAX_SECONDS * self._rate * BYTES_PER_SAMPLE:
            return await self._refuse(f"more than {_MAX_SECONDS} s of audio in one utterance")
        return True

    async def _transcribe(self) -> bool:
        decoder = self._decoders.get(self._language)
        if decoder is None:
            return await self._refuse(f"language {self._language!r}: {', '.join(self._decoders)} can be heard")
        if not self._pcm or len(self._pcm) % BYTES_PER_SAMPLE:
            return await self._refuse(f"{len(self._pcm)} bytes of audio are no whole samples")
        text = await asyncio.to_thread(decoder.transcribe, Sound.from_pcm(self._rate, bytes(self._pcm)))
        self._pcm.clear()
        await self.write_event(Transcript(text=text, language=self._language).event())
        return True

    async def _refuse(self, text: str) -> bool:
        log.warning("refused: %s", text)
        await self.write_event(Error(text=text, code="invalid-request").event())
        return False


def _info(languages: list[str]) -> Info:
    sphinx = Attribution(name="CMU Sphinx", url="https://github.com/cmusphinx/pocketsphinx")
    model = AsrModel(
        name="home-commands",
        attribution=sphinx,
        installed=True,
        description="Home commands of a grammar",
        version=None,
        languages=languages,
    )
    program = AsrProgram(
        name="pocketsphinx",
        attribution=sphinx,
        installed=True,
        description="Hears the commands of a home, offline",
        version=None,
        models=[model],
    )
    return Info(asr=[program])
