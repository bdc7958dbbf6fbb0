"""One turn: hear, decide, speak."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from seodang.adapters.voice.decision import Student
from seodang.adapters.voice.engines import Recogniser, Synthesiser
from seodang.adapters.voice.replies import SPEAKERS
from seodang.adapters.voice.settings import VoiceSettings
from seodang.adapters.voice.sound import Sound
from seodang.base.errors import InvalidInput
from seodang.capture import Keep, keep_nothing
from seodang.client import AsyncClient
from seodang.tasks.assistant import ToolCall


@dataclass(frozen=True, slots=True)
class Asking:
    """What is asked, beside the sound; ``model`` and ``request_id`` may be left to the server: empty."""

    language: str
    model: str = ""
    request_id: str = ""
    shared_by: str | None = None
    """Pseudonym of the speaker, if they agree to this being kept for training."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What was heard; ``text`` is empty if nothing was understood."""

    text: str
    language: str
    engine: str


@dataclass(frozen=True, slots=True)
class Decided:
    """What is to be done, if anything is, and what is said back."""

    call: ToolCall | None
    reply: str


@dataclass(slots=True)
class Timing:
    """Where the time of a turn went, in milliseconds."""

    recognition_ms: float = 0.0
    decision_ms: float = 0.0
    synthesis_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole turn; ``sound`` is None where only text was asked for."""

    heard: Heard
    decided: Decided
    sound: Sound | None
    timing: Timing


class VoiceService:
    """Turns utterances into calls and spoken replies."""

    def __init__(
        self,
        recogniser: Recogniser,
        synthesiser: Synthesiser,
        student: AsyncClient,
        settings: VoiceSettings,
        now: Callable[[], datetime] = datetime.now,
        keep: Keep = keep_nothing,
    ) -> None:
        self.recogniser = recogniser
        self.synthesiser = synthesiser
        self.settings = settings
        self._student = student
        self._now = now
        self._keep = keep

    async def ask(self, sound: Sound, asking: Asking, *, text_only: bool) -> Answer:
        """One utterance, whole.

        Raises:
            InvalidInput: the language is none of ``SPEAKERS``.
            SeodangError: an engine or the student cannot be asked, fails, or takes too long.
        """
        check_language(asking.language)
        timing = Timing()
        heard = await self.hear(sound, asking.language, timing)
        decided = await self.decide(heard, asking, timing)
        spoken = None if text_only else await self.speak(decided.reply, asking.language, timing)
        return Answer(heard, decided, spoken, timing)

    async def hear(self, sound: Sound, language: str, timing: Timing) -> Heard:
        """What was said."""
        began_s = time.perf_counter()
        text = await self.recogniser.transcribe(sound, language)
        timing.recognition_ms = 1000 * (time.perf_counter() - began_s)
        return Heard(text, language, (await self.recogniser.describe()).name)

    async def decide(self, heard: Heard, asking: Asking, timing: Timing) -> Decided:
        """What to do about it, and what to say."""
        speaker = SPEAKERS[heard.language]
        if not heard.text:
            return Decided(None, speaker.not_heard)
        on_answer = None if asking.shared_by is None else partial(self._keep, asking.shared_by)
        model = asking.model or self.settings.model
        student = Student(self._student, model, self.settings.decision_timeout_s, on_answer)
        began_s = time.perf_counter()
        call = await student.decide(heard.text, asking.request_id)
        timing.decision_ms = 1000 * (time.perf_counter() - began_s)
        if call is None:
            return Decided(None, speaker.not_understood)
        return Decided(call, speaker.reply(call, self._now()))

    async def speak(self, text: str, language: str, timing: Timing) -> Sound:
        """The reply as sound."""
        began_s = time.perf_counter()
        sound = await self.synthesiser.speak(text, language)
        timing.synthesis_ms = 1000 * (time.perf_counter() - began_s)
        return sound


def check_language(language: str) -> None:
    """Only languages with replies can be spoken with.

    Raises:
        InvalidInput: any other.
    """
    if language not in SPEAKERS:
        raise InvalidInput(f"language={language!r}: one of {', '.join(SPEAKERS)}", field="language")
