"""RIFF WAVE in and out. Reading takes PCM of 8 to 32 bits and gives one channel of 16; writing gives 16-bit PCM."""

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seodang.adapters.voice.sound import Sound
from seodang.base.errors import InvalidInput

MIN_RATE, MAX_RATE = 8_000, 48_000
MAX_SECONDS = 60
_PCM, _EXTENSIBLE = 1, 0xFFFE
_FORMAT_NAMES = {2: "ADPCM", 3: "floating point", 6: "A-law", 7: "mu-law", 85: "MP3"}
# Programs that write to a pipe cannot know the length and put a number near the largest here.
_LENGTH_UNKNOWN = 0x7FFF_F000


@dataclass(frozen=True, slots=True)
class _Format:
    channels: int
    rate: int
    bits: int

    @property
    def frame_bytes(self) -> int:
        return self.channels * (self.bits // 8)


def read_wav(data: bytes, max_seconds: float = MAX_SECONDS) -> Sound:
    """The sound of a WAV file; two channels are mixed into one.

    Raises:
        InvalidInput: not RIFF WAVE, truncated, not PCM, or outside 8 to 32 bits, 1 or 2 channels, 8 to 48 kHz and
            ``max_seconds``; the message has the value that was found.
    """
    if not data:
        raise _refused("the WAV is empty: send one utterance as RIFF WAVE")
    if len(data) < 12 or data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise _refused(f"the file begins with {data[:12]!r}: RIFF WAVE begins with b'RIFF....WAVE'")
    chunks = _chunks(data)
    if b"fmt " not in chunks:
        raise _refused("the WAV has no 'fmt ' chunk, so nobody can tell what its bytes mean")
    if b"data" not in chunks:
        raise _refused("the WAV has no 'data' chunk")
    form = _format(chunks[b"fmt "])
    sound = chunks[b"data"]
    if len(sound) % form.frame_bytes:
        raise _refused(f"the sound has {len(sound)} bytes: whole frames have {form.frame_bytes} bytes each")
    if not sound:
        raise _refused("the WAV holds no sound")
    seconds = len(sound) / form.frame_bytes / form.rate
    if seconds > max_seconds:
        raise _refused(f"the WAV lasts {seconds:.1f} s: at most {max_seconds} s; use Converse for longer speech")
    frames = _samples(sound, form.bits).reshape(-1, form.channels)
    return Sound(form.rate, np.rint(frames.mean(axis=1)).astype(np.int16))


def write_wav(sound: Sound) -> bytes:
    """A WAV file: PCM, 16 bits, one channel."""
    pcm = sound.pcm
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, _PCM, 1, sound.rate, 2 * sound.rate, 2, 16)
    body = b"WAVE" + form + struct.pack("<4sI", b"data", len(pcm)) + pcm
    return struct.pack("<4sI", b"RIFF", len(body)) + body


def _chunks(data: bytes) -> dict[bytes, bytes]:
    """The first chunk of each name."""
    found: dict[bytes, bytes] = {}
    at = 12
    while at + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, at)
        at += 8
        if name == b"data" and length >= _LENGTH_UNKNOWN:
            length = len(data) - at
        if at + length > len(data):
            raise _refused(
                f"the WAV is truncated: chunk {name!r} should have {length} bytes and {len(data) - at} are there"
            )
        found.setdefault(name, data[at : at + length])
        at += length + length % 2
    return found


def _format(chunk: bytes) -> _Format:
    if len(chunk) < 16:
        raise _refused(f"the 'fmt ' chunk has {len(chunk)} bytes: at least 16")
    code, channels, rate, _, block, bits = struct.unpack_from("<HHIIHH", chunk)
    if code == _EXTENSIBLE and len(chunk) >= 26:
        (code,) = struct.unpack_from("<H", chunk, 24)
    if code != _PCM:
        raise _refused(f"the WAV is {_FORMAT_NAMES.get(code, f'format {code}')}: convert it to PCM")
    if channels not in (1, 2):
        raise _refused(f"the WAV has {channels} channels: 1 or 2")
    if not MIN_RATE <= rate <= MAX_RATE:
        raise _refused(f"the WAV has {rate} Hz: {MIN_RATE} to {MAX_RATE}")
    if bits not in (8, 16, 24, 32) or block != channels * bits // 8:
        raise _refused(f"the WAV has {bits} bits a sample in frames of {block} bytes: 8, 16, 24 or 32 bits, packed")
    return _Format(channels, rate, bits)


def _samples(sound: bytes, bits: int) -> NDArray[np.int16]:
    """The samples in 16 bits; finer ones lose their last bits."""
    if bits == 8:  # the only unsigned one
        return (np.frombuffer(sound, np.uint8).astype(np.int16) - 128) << 8
    if bits == 16:
        return np.frombuffer(sound, "<i2").astype(np.int16)
    parts = np.frombuffer(sound, np.uint8).reshape(-1, bits // 8)
    return np.ascontiguousarray(parts[:, -2:]).view("<i2").reshape(-1).astype(np.int16)


def _refused(message: str) -> InvalidInput:
    return InvalidInput(message, field="wav")
