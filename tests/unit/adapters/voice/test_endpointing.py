import numpy as np
import pytest

from seodang.adapters.voice.endpointing import Endpointer, EndpointingConfig, SpeechStarted, Utterance, has_speech
from seodang.adapters.voice.sound import Sound


def noise(seconds: float, rms: float = 5.0) -> bytes:
    return np.random.default_rng(0).normal(0, rms, int(seconds * 16_000)).astype("<i2").tobytes()


def heard(pcm: bytes, piece: int, config: EndpointingConfig | None = None) -> list[SpeechStarted | Utterance]:
    endpointer = Endpointer(16_000, config or EndpointingConfig())
    return [event for start in range(0, len(pcm), piece) for event in endpointer.feed(pcm[start : start + piece])]


def test_speech_begins_and_is_over_after_silence(speech: Sound) -> None:
    started, utterance = heard(noise(0.5) + speech.pcm + noise(1), 3200)
    assert isinstance(started, SpeechStarted)
    assert 400 <= started.at_ms <= 700
    assert isinstance(utterance, Utterance)
    assert speech.seconds < utterance.sound.seconds < speech.seconds + 1.2


def test_the_size_of_the_pieces_makes_no_difference(speech: Sound) -> None:
    pcm = noise(0.5) + speech.pcm + noise(1)
    first, *others = ([_facts(event) for event in heard(pcm, piece)] for piece in (7, 960, 3201, len(pcm)))
    assert all(other == first for other in others)


def test_a_pause_shorter_than_the_silence_does_not_end_an_utterance(speech: Sound) -> None:
    events = heard(noise(0.3) + speech.pcm + noise(0.1) + speech.pcm + noise(1), 3200)
    assert [type(event) for event in events] == [SpeechStarted, Utterance]


def test_a_longer_one_makes_two(speech: Sound) -> None:
    events = heard(noise(0.3) + speech.pcm + noise(1) + speech.pcm + noise(1), 3200)
    assert [type(event) for event in events] == [SpeechStarted, Utterance] * 2


def test_who_speaks_on_and_on_is_cut(speech: Sound) -> None:
    events = heard(speech.pcm * 4 + noise(1), 3200, EndpointingConfig(longest_ms=2_000))
    cut = next(event for event in events if isinstance(event, Utterance))
    assert abs(cut.sound.seconds - 2) < 0.05


@pytest.mark.parametrize("rms", [0.0, 5.0, 60.0])
def test_noise_is_not_speech(rms: float) -> None:
    assert heard(noise(3, rms), 3200) == []


def test_a_click_is_not_speech() -> None:
    click = (np.random.default_rng(1).normal(0, 8000, 800)).astype("<i2").tobytes()
    assert heard(noise(0.5) + click + noise(1), 3200) == []


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_speech_is_found_at_every_rate(speech: Sound, rate: int) -> None:
    assert has_speech(speech.resampled(rate))


def test_what_is_pending_can_be_taken_at_once_and_nothing_is_none() -> None:
    endpointer = Endpointer(16_000)
    assert endpointer.flush() is None
    endpointer.feed(noise(0.1) + b"\x01")
    taken = endpointer.flush()
    assert taken is not None
    assert taken.sound.seconds == pytest.approx(0.1, abs=0.001)
    assert endpointer.flush() is None


def _facts(event: SpeechStarted | Utterance) -> object:
    return event.at_ms if isinstance(event, SpeechStarted) else event.sound.pcm
