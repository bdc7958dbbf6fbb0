import struct

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from seodang.adapters.voice.sound import Sound
from seodang.adapters.voice.wav import read_wav, write_wav
from seodang.base.errors import InvalidInput

SAMPLES = np.array([0, 1, -1, 32767, -32768, 1000], np.int16)
PCM = SAMPLES.astype("<i2").tobytes()


def wav(
    pcm: bytes = PCM,
    *,
    code: int = 1,
    channels: int = 1,
    rate: int = 16_000,
    bits: int = 16,
    block: int | None = None,
    length: int | None = None,
    before: bytes = b"",
) -> bytes:
    block = channels * bits // 8 if block is None else block
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, code, channels, rate, rate * block, block, bits)
    data = struct.pack("<4sI", b"data", len(pcm) if length is None else length) + pcm
    return struct.pack("<4sI4s", b"RIFF", 4 + len(before + form + data), b"WAVE") + before + form + data


@given(rate=st.integers(8_000, 48_000), samples=st.lists(st.integers(-32768, 32767), min_size=1, max_size=50))
@settings(deadline=None)
def test_what_is_written_is_read_back(rate: int, samples: list[int]) -> None:
    sound = read_wav(write_wav(Sound(rate, np.array(samples, np.int16))))
    assert (sound.rate, sound.samples.tolist()) == (rate, samples)


def test_two_channels_are_mixed_into_one() -> None:
    frames = np.array([[100, 300], [-100, 100]], "<i2").tobytes()
    assert read_wav(wav(frames, channels=2)).samples.tolist() == [200, 0]


@pytest.mark.parametrize(
    ("bits", "pcm", "samples"),
    [
        (8, bytes([128, 255, 0]), [0, 127 << 8, -32768]),
        (24, b"\xff\x00\x40" + b"\x00\x00\x80", [0x4000, -32768]),
        (32, b"\xff\xff\x00\x40" + b"\x00\x00\x00\x80", [0x4000, -32768]),
    ],
)
def test_other_widths_come_as_sixteen_bits(bits: int, pcm: bytes, samples: list[int]) -> None:
    assert read_wav(wav(pcm, bits=bits)).samples.tolist() == samples


def test_the_extensible_form_is_read() -> None:
    form = struct.pack("<HHIIHH", 0xFFFE, 1, 16_000, 32_000, 2, 16) + struct.pack("<HHIH", 22, 16, 4, 1) + bytes(14)
    data = struct.pack("<4sI", b"data", len(PCM)) + PCM
    body = b"WAVE" + struct.pack("<4sI", b"fmt ", len(form)) + form + data
    assert read_wav(struct.pack("<4sI", b"RIFF", len(body)) + body).samples.tolist() == SAMPLES.tolist()


def test_chunks_that_do_not_concern_us_are_passed_over() -> None:
    assert read_wav(wav(before=b"LIST\x03\x00\x00\x00abc\x00")).samples.tolist() == SAMPLES.tolist()


@pytest.mark.parametrize("length", [0xFFFFFFFF, 0x7FFFF000])
def test_a_length_that_a_pipe_could_not_know_means_all_that_is_there(length: int) -> None:
    assert read_wav(wav(length=length)).samples.tolist() == SAMPLES.tolist()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"ID3\x04" + bytes(40), "RIFF WAVE"),
        (b"RIFF\x04\x00\x00\x00WAVE", "'fmt '"),
        (wav()[:36], "'data'"),
        (wav(b""), "no sound"),
        (wav()[:-3], "truncated"),
        (wav(code=3, bits=32, pcm=bytes(8)), "floating point"),
        (wav(code=7, bits=8), "mu-law"),
        (wav(code=999), "format 999"),
        (wav(channels=3, pcm=bytes(12)), "3 channels"),
        (wav(rate=4_000), "4000 Hz"),
        (wav(rate=96_000), "96000 Hz"),
        (wav(bits=12, block=2), "12 bits"),
        (wav(pcm=bytes(5)), "5 bytes"),
        (wav(pcm=bytes(2 * 8_000 * 61), rate=8_000), "61.0 s"),
    ],
)
def test_what_cannot_be_used_is_refused_with_what_was_found(data: bytes, said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as refused:
        read_wav(data)
    assert refused.value.field == "wav"


@given(data=st.binary(max_size=200), cut=st.integers(0, 60), flipped=st.integers(0, 59), value=st.integers(0, 255))
@example(data=b"RIFF\x00\x00\x00\x00WAVEfmt \x00\x00\x00\x00", cut=0, flipped=0, value=0)
@settings(deadline=None, max_examples=300)
def test_no_bytes_do_anything_but_be_read_or_be_refused(data: bytes, cut: int, flipped: int, value: int) -> None:
    damaged = bytearray(wav())
    damaged[min(flipped, len(damaged) - 1)] = value
    for candidate in (data, b"RIFF1234WAVE" + data, bytes(damaged)[: len(damaged) - cut]):
        try:
            read_wav(candidate)
        except InvalidInput:
            continue
