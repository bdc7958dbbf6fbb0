"""Both ways to run espeak-ng, and none."""

import pytest

from seodang.adapters.voice.endpointing import has_speech
from seodang.adapters.voice.synthesiser import espeak
from seodang.base.errors import InvalidInput, Unavailable, Unsupported

CANDIDATES = espeak.candidates()


def test_at_least_the_library_is_there() -> None:
    assert "espeakng-loader" in CANDIDATES[-1].name


@pytest.mark.parametrize("candidate", CANDIDATES, ids=lambda candidate: candidate.name)
@pytest.mark.parametrize(("text", "language"), [("거실 불을 켤게요.", "ko"), ("I'll turn on the lights.", "en")])
async def test_each_way_speaks_both_languages(candidate: espeak.Espeak, text: str, language: str) -> None:
    sound = await candidate.speak(text, language)
    assert 0.8 < sound.seconds < 4
    assert has_speech(sound)


@pytest.mark.parametrize("candidate", CANDIDATES, ids=lambda candidate: candidate.name)
async def test_text_that_looks_like_an_option_is_spoken(candidate: espeak.Espeak) -> None:
    assert (await candidate.speak("--version -w /dev/null", "en")).seconds > 1


async def test_a_longer_text_takes_longer() -> None:
    short, long = [await CANDIDATES[-1].speak(text, "ko") for text in ("하나", "하나 둘 셋 넷 다섯 여섯")]
    assert long.seconds > 2 * short.seconds


@pytest.mark.parametrize("text", ["", "   ", "가" * 1001])
async def test_no_text_and_too_much_of_it_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="characters"):
        await CANDIDATES[-1].speak(text, "ko")


async def test_a_program_that_fails_is_quoted() -> None:
    broken = espeak.Espeak("the program", ("sh", "-c", "echo no voices >&2; exit 3"))
    with pytest.raises(Unavailable, match="status 3: no voices"):
        await broken.speak("안녕", "ko")


async def test_where_nothing_speaks_both_remedies_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = espeak.Espeak("the program espeak-ng", ("false",))
    monkeypatch.setattr(espeak, "candidates", lambda: [broken])
    with pytest.raises(Unsupported, match=r"status 1.*Debian package espeak-ng.*espeakng-loader"):
        await espeak.find_espeak()
