"""Speech engines reached by the Wyoming protocol: any recogniser and any synthesiser that speaks it plugs in."""

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import ClassVar

from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncClient
from wyoming.error import Error
from wyoming.event import Event
from wyoming.info import AsrModel, Describe, Info, TtsVoice
from wyoming.tts import Synthesize, SynthesizeVoice

from seodang.adapters.voice.sound import BYTES_PER_SAMPLE, Sound
from seodang.base.errors import DeadlineExpired, Unavailable, Unsupported

# What small recognisers are trained on; larger ones take it too.
_RECOGNISER_RATE = 16_000
_CHUNK_BYTES = 16_384
_MAX_REPLY_SECONDS = 300


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an engine says of itself; languages as ISO 639-1 codes."""

    name: str
    languages: tuple[str, ...]


class Engine(ABC):
    """A Wyoming server. ``uri`` is tcp://HOST:PORT or unix:///PATH; ``address`` is empty for a built-in one."""

    kind: ClassVar[str]

    def __init__(self, uri: str, timeout_s: float, address: str = "") -> None:
        self.uri = uri
        self.address = address
        self._timeout_s = timeout_s
        self._info: EngineInfo | None = None

    async def describe(self) -> EngineInfo:
        """The engine's first program of its kind; asked once.

        Raises:
            Unavailable, DeadlineExpired: it cannot be reached, says nothing of the kind, or takes too long.
        """
        if self._info is None:
            async with self._connected() as client:
                await client.write_event(Describe().event())
                info = Info.from_event(await self._expect(client, Info.is_type))
                found = next(iter(self._programs(info)), None)
            if found is None:
                raise Unavailable(f"the server at {self.uri} is no {self.kind}: give the address of one that is")
            self._info = found
        return self._info

    @abstractmethod
    def _programs(self, info: Info) -> Iterable[EngineInfo]:
        """The programs of this kind that a server has."""

    async def _check(self, language: str) -> EngineInfo:
        info = await self.describe()
        if language not in info.languages:
            raise Unsupported(
                f"the {self.kind} {info.name} at {self.uri} does not know language {language!r}: "
                f"it knows {', '.join(info.languages) or 'none'}"
            )
        return info

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[AsyncClient]:
        client = AsyncClient.from_uri(self.uri)
        try:
            async with asyncio.timeout(self._timeout_s):
                await client.connect()
                yield client
        except TimeoutError:
            raise DeadlineExpired(
                f"the {self.kind} at {self.uri} did not answer within {self._timeout_s:g} s"
            ) from None
        except (OSError, asyncio.IncompleteReadError) as error:
            raise Unavailable(f"no {self.kind} answers at {self.uri} ({error}): start it, or name another") from error
        except (KeyError, TypeError, AttributeError) as error:
            raise Unavailable(f"the {self.kind} at {self.uri} does not speak Wyoming: {error!r}") from error
        finally:
            with contextlib.suppress(OSError):  # gone already, which is what is wanted
                await client.disconnect()

    async def _expect(self, client: AsyncClient, *wanted: Callable[[str], bool]) -> Event:
        """The next event of a wanted type; others are passed over, as the protocol asks."""
        while True:
            event = await client.read_event()
            if event is None:
                raise Unavailable(f"the {self.kind} at {self.uri} closed the connection before it answered")
            if Error.is_type(event.type):
                raise Unavailable(f"the {self.kind} at {self.uri} refused: {Error.from_event(event).text}")
            if any(is_type(event.type) for is_type in wanted):
                return event


class Recogniser(Engine):
    """Speech to text."""

    kind = "speech recogniser"

    async def transcribe(self, sound: Sound, language: str) -> str:
        """What was said; empty if nothing was understood.

        Raises:
            Unsupported: the engine does not know the language.
            Unavailable, DeadlineExpired: it cannot be reached, fails, or takes too long.
        """
        await self._check(language)
        pcm = sound.resampled(_RECOGNISER_RATE).pcm
        form = {"rate": _RECOGNISER_RATE, "width": BYTES_PER_SAMPLE, "channels": 1}
        async with self._connected() as client:
            await client.write_event(Transcribe(language=language).event())
            await client.write_event(AudioStart(**form).event())
            for start in range(0, len(pcm), _CHUNK_BYTES):
                await client.write_event(AudioChunk(audio=pcm[start : start + _CHUNK_BYTES], **form).event())
            await client.write_event(AudioStop().event())
            event = await self._expect(client, Transcript.is_type)
            return str(Transcript.from_event(event).text).strip()

    def _programs(self, info: Info) -> Iterable[EngineInfo]:
        return (EngineInfo(program.name, _languages(program.models)) for program in info.asr)


class Synthesiser(Engine):
    """Text to speech."""

    kind = "speech synthesiser"

    async def speak(self, text: str, language: str) -> Sound:
        """The text as sound, at the engine's own rate.

        Raises:
            Unsupported: the engine does not know the language.
            Unavailable, DeadlineExpired: it cannot be reached, fails, or takes too long.
        """
        await self._check(language)
        pcm, rate = bytearray(), 0
        async with self._connected() as client:
            await client.write_event(Synthesize(text=text, voice=SynthesizeVoice(language=language)).event())
            while AudioChunk.is_type((event := await self._expect(client, AudioChunk.is_type, AudioStop.is_type)).type):
                chunk = AudioChunk.from_event(event)
                self._check_form(chunk)
                rate = chunk.rate
                pcm += chunk.audio
                if len(pcm) > _MAX_REPLY_SECONDS * rate * BYTES_PER_SAMPLE:
                    raise Unavailable(f"the {self.kind} at {self.uri} speaks without end")
        if not pcm or len(pcm) % BYTES_PER_SAMPLE:
            raise Unavailable(f"the {self.kind} at {self.uri} sent {len(pcm)} bytes of sound for {text[:60]!r}")
        return Sound.from_pcm(rate, bytes(pcm))

    def _check_form(self, chunk: AudioChunk) -> None:
        if (chunk.width, chunk.channels) != (BYTES_PER_SAMPLE, 1) or not 1_000 <= chunk.rate <= 200_000:
            raise Unavailable(
                f"the {self.kind} at {self.uri} sends {chunk.width} bytes a sample on {chunk.channels} channels at "
                f"{chunk.rate} Hz: only {BYTES_PER_SAMPLE} on 1 can be used"
            )

    def _programs(self, info: Info) -> Iterable[EngineInfo]:
        return (EngineInfo(program.name, _languages(program.voices)) for program in info.tts)


def _languages(models: Iterable[AsrModel | TtsVoice]) -> tuple[str, ...]:
    named = (language for model in models for language in model.languages)
    return tuple(dict.fromkeys(language.replace("_", "-").partition("-")[0] for language in named))
