"""Where speech begins and ends in a stream of sound."""

from dataclasses import dataclass, field

import numpy as np
import webrtcvad
from numpy.typing import NDArray

from seodang.adapters.voice.sound import BYTES_PER_SAMPLE, Sound

_FRAME_MS = 30
_DETECTOR_RATE = 16_000
# The detector's second strictest mode: the strictest loses soft word ends.
_AGGRESSIVENESS = 2
# Quieter frames are silence whatever the detector says: it takes some hums for voices. About -50 dB of full scale.
_LEAST_RMS = 100.0


@dataclass(frozen=True, slots=True)
class EndpointingConfig:
    """When speech counts as begun and as over, in milliseconds."""

    silence_ms: int = 600
    """Silence that ends an utterance."""
    onset_ms: int = 120
    """Speech in a row that begins one: a click or a cough is shorter."""
    before_ms: int = 300
    """Sound kept from before the beginning, because the first consonant is often missed."""
    longest_ms: int = 30_000
    """An utterance is cut here even if the speaker goes on."""


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Somebody began to speak ``at_ms`` after the stream began."""

    at_ms: int


@dataclass(frozen=True, slots=True)
class Utterance:
    """What was said between two silences."""

    sound: Sound


def has_speech(sound: Sound) -> bool:
    """Does anybody speak in a sound?"""
    return any(isinstance(event, SpeechStarted) for event in Endpointer(sound.rate).feed(sound.pcm))


@dataclass
class Endpointer:
    """Takes sound as it comes, in pieces of any size, and tells what begins and what is over."""

    rate: int
    config: EndpointingConfig = field(default_factory=EndpointingConfig)

    def __post_init__(self) -> None:
        self._detector = webrtcvad.Vad(_AGGRESSIVENESS)
        self._frame_bytes = self.rate * _FRAME_MS // 1000 * BYTES_PER_SAMPLE
        self._pending = bytearray()
        self._kept: list[bytes] = []
        self._speaking = False
        self._voiced_frames = 0
        self._silent_frames = 0
        self._frames = 0

    def feed(self, pcm: bytes) -> list[SpeechStarted | Utterance]:
        """Takes in signed 16-bit little-endian samples."""
        self._pending += pcm
        events: list[SpeechStarted | Utterance] = []
        while len(self._pending) >= self._frame_bytes:
            frame = bytes(self._pending[: self._frame_bytes])
            del self._pending[: self._frame_bytes]
            events += self._step(frame)
        return events

    @property
    def is_speaking(self) -> bool:
        """Has an utterance begun that is not over?"""
        return self._speaking

    def flush(self) -> Utterance | None:
        """Ends the utterance now, for microphones with their own end-pointing; None if there was no sound at all."""
        whole = len(self._pending) // BYTES_PER_SAMPLE * BYTES_PER_SAMPLE
        self._kept.append(bytes(self._pending[:whole]))
        self._pending.clear()
        utterance = self._cut()
        return utterance if len(utterance.sound.samples) else None

    def _step(self, frame: bytes) -> list[SpeechStarted | Utterance]:
        self._frames += 1
        self._kept.append(frame)
        voiced = self._is_voiced(frame)
        if self._speaking:
            self._silent_frames = 0 if voiced else self._silent_frames + 1
            over = self._silent_frames * _FRAME_MS >= self.config.silence_ms
            return [self._cut()] if over or len(self._kept) * _FRAME_MS >= self.config.longest_ms else []
        self._voiced_frames = self._voiced_frames + 1 if voiced else 0
        if self._voiced_frames * _FRAME_MS >= self.config.onset_ms:
            self._speaking = True
            return [SpeechStarted((self._frames - self._voiced_frames) * _FRAME_MS)]
        del self._kept[: -(self.config.before_ms + self.config.onset_ms) // _FRAME_MS]
        return []

    def _cut(self) -> Utterance:
        sound = Sound.from_pcm(self.rate, b"".join(self._kept))
        self._kept.clear()
        self._speaking, self._voiced_frames, self._silent_frames = False, 0, 0
        return Utterance(sound)

    def _is_voiced(self, frame: bytes) -> bool:
        samples = np.frombuffer(frame, "<i2").astype(np.float64)
        if np.sqrt(np.mean(samples**2)) < _LEAST_RMS:
            return False
        return bool(self._detector.is_speech(_at_detector_rate(samples), _DETECTOR_RATE))


def _at_detector_rate(samples: NDArray[np.float64]) -> bytes:
    """The frame at the detector's rate. It looks at coarse bands only, so straight lines between samples will do."""
    length = _DETECTOR_RATE * _FRAME_MS // 1000
    places = np.linspace(0, len(samples) - 1, length)
    return np.interp(places, np.arange(len(samples)), samples).astype("<i2").tobytes()
