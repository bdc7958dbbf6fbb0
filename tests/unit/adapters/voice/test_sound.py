import numpy as np
import pytest

from seodang.adapters.voice.sound import Sound


def tone(rate: int, hertz: float, seconds: float = 0.5) -> Sound:
    return Sound(rate, (8000 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)).astype(np.int16))


@pytest.mark.parametrize(("source", "target"), [(22_050, 16_000), (16_000, 22_050), (8_000, 48_000), (44_100, 8_000)])
def test_a_tone_stays_the_same_tone_at_another_rate(source: int, target: int) -> None:
    changed = tone(source, 440).resampled(target)
    assert changed.rate == target
    assert abs(changed.seconds - 0.5) < 1 / target
    middle = slice(target // 10, -target // 10)
    difference = changed.samples.astype(int)[middle] - tone(target, 440).samples[middle]
    assert np.abs(difference).max() < 60


def test_what_the_lower_rate_cannot_hold_is_removed_and_not_folded_back() -> None:
    changed = tone(48_000, 6_000).resampled(8_000)
    assert np.abs(changed.samples[800:-800]).max() < 60


def test_bytes_make_the_round_trip() -> None:
    sound = tone(16_000, 440)
    assert Sound.from_pcm(16_000, sound.pcm).samples.tolist() == sound.samples.tolist()
