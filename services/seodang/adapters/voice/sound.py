"""Sound in memory: one channel of 16-bit samples, and its change from one sample rate to another."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BYTES_PER_SAMPLE = 2


@dataclass(frozen=True, slots=True)
class Sound:
    """``samples`` is int16 [n], ``rate`` in hertz."""

    rate: int
    samples: NDArray[np.int16]

    @classmethod
    def from_pcm(cls, rate: int, pcm: bytes) -> "Sound":
        """Sound of signed 16-bit little-endian bytes."""
        return cls(rate, np.frombuffer(pcm, "<i2").astype(np.int16))

    @property
    def pcm(self) -> bytes:
        """Signed 16-bit little-endian bytes."""
        return self.samples.astype("<i2").tobytes()

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self.samples) / self.rate

    def resampled(self, rate: int) -> "Sound":
        """The same sound at another rate, band-limited to what both can hold.

        It works on the spectrum of the whole sound, so it is for whole utterances and not for a stream.
        """
        if rate == self.rate or not len(self.samples):
            return Sound(rate, self.samples)
        divisor = math.gcd(rate, self.rate)
        step_in, step_out = self.rate // divisor, rate // divisor
        # Whole steps of both rates, and silence at the end, because the spectrum takes the sound to be periodic.
        steps = -(-len(self.samples) // step_in) + max(1, divisor // 50)
        spectrum = np.fft.rfft(self.samples, steps * step_in)
        kept = np.zeros(steps * step_out // 2 + 1, spectrum.dtype)
        width = min(len(kept), len(spectrum))
        kept[:width] = spectrum[:width]
        wave = np.fft.irfft(kept, steps * step_out) * (step_out / step_in)
        length = round(len(self.samples) * rate / self.rate)
        return Sound(rate, np.clip(np.rint(wave[:length]), -32768, 32767).astype(np.int16))
