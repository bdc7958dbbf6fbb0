"""Speech to test with, made once."""

import asyncio

import pytest

from seodang.adapters.voice.sound import Sound
from seodang.adapters.voice.synthesiser.espeak import candidates


@pytest.fixture(scope="session")
def speech() -> Sound:
    """Somebody saying "turn on the kitchen lights", at 16 kHz."""
    return asyncio.run(candidates()[-1].speak("turn on the kitchen lights", "en")).resampled(16_000)
