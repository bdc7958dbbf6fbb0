import pytest

from seodang.adapters.voice.recogniser.korean import pronunciations
from seodang.base.errors import InvalidInput


@pytest.mark.parametrize(
    ("word", "phones"),
    [
        ("거실", "K AO SH IY L"),
        ("있는", "IY N N UH N"),
        ("없어", "AO P S AO"),
        ("읽어", "IY L G AO"),
        ("같이", "K AA CH IY"),
        ("좋다", "CH OW T AA"),
        ("많다", "M AA N T AA"),
        ("많아", "M AA N AA"),
        ("신라", "SH IY L L AA"),
        ("독립", "T OW NG N IY P"),
        ("국물", "K UW NG M UW L"),
        ("종료", "CH OW NG N Y OW"),
        ("_을", "UH L"),
        ("23", "IY SH IY P S AA M"),
        ("100", "P EH K"),
        ("3:native", "S EH"),
        ("20:native", "S UH M UW"),
    ],
)
def test_a_word_sounds_as_it_is_said_and_not_as_it_is_written(word: str, phones: str) -> None:
    assert phones in pronunciations(word)


def test_a_plain_stop_at_the_beginning_may_be_voiced_or_not() -> None:
    assert {sound.split()[0] for sound in pronunciations("거실")} == {"G", "K"}


def test_the_last_consonant_may_move_over_to_a_particle() -> None:
    assert "T UH NG" in pronunciations("등")
    assert "B UW AO G" in pronunciations("부억")


@pytest.mark.parametrize("word", ["TV", "거실2", "", "living"])
def test_what_is_not_hangul_is_refused_with_what_to_do(word: str) -> None:
    with pytest.raises(InvalidInput, match="Hangul"):
        pronunciations(word)
