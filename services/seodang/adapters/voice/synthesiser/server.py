"""The synthesiser as a Wyoming server."""

from asyncio import StreamReader, StreamWriter

from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.error import Error
from wyoming.event import Event
from wyoming.info import Attribution, Describe, Info, TtsProgram, TtsVoice
from wyoming.server import AsyncEventHandler
from wyoming.tts import Synthesize

from seodang.adapters.voice.sound import BYTES_PER_SAMPLE
from seodang.adapters.voice.synthesiser.espeak import VOICES, Espeak
from seodang.base.errors import SeodangError

_CHUNK_BYTES = 16_384


class SynthesiserHandler(AsyncEventHandler):
    """One connection: synthesize, and back come audio-start, audio-chunk..., audio-stop, or an error."""

    def __init__(self, espeak: Espeak, reader: StreamReader, writer: StreamWriter) -> None:
        super().__init__(reader, writer)
        self._espeak = espeak

    async def handle_event(self, event: Event) -> bool:
        """Answers one event; False ends the connection."""
        if Describe.is_type(event.type):
            await self.write_event(_info().event())
        elif Synthesize.is_type(event.type):
            return await self._synthesise(Synthesize.from_event(event))
        return True

    async def _synthesise(self, request: Synthesize) -> bool:
        voice = request.voice
        asked = (voice.language or voice.name or "en") if voice else "en"
        try:
            sound = await self._espeak.speak(request.text, asked.replace("_", "-").partition("-")[0])
        except SeodangError as error:
            await self.write_event(Error(text=error.message, code=error.reason).event())
            return False
        form = {"rate": sound.rate, "width": BYTES_PER_SAMPLE, "channels": 1}
        await self.write_event(AudioStart(**form).event())
        pcm = sound.pcm
        for start in range(0, len(pcm), _CHUNK_BYTES):
            await self.write_event(AudioChunk(audio=pcm[start : start + _CHUNK_BYTES], **form).event())
        await self.write_event(AudioStop().event())
        return True


def _info() -> Info:
    maker = Attribution(name="eSpeak NG", url="https://github.com/espeak-ng/espeak-ng")
    voices = [
        TtsVoice(name=voice, attribution=maker, installed=True, description=None, version=None, languages=[language])
        for language, voice in VOICES.items()
    ]
    program = TtsProgram(
        name="espeak-ng",
        attribution=maker,
        installed=True,
        description="Speaks many languages, offline",
        version=None,
        voices=voices,
    )
    return Info(tts=[program])
