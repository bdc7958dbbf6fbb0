"""A quote is found where it stands, or not at all."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seodang.adapters.search.citations import fold, locate


def _found(quote: str, text: str) -> str | None:
    span = locate(quote, text)
    return None if span is None else text[span.start : span.end]


@pytest.mark.parametrize(
    ("quote", "text", "expected"),
    [
        ("훈장이 가르친다", "서당에서 훈장이 가르친다.", "훈장이 가르친다"),
        ("훈장이 가르친다", "서당에서 훈장이\n   가르친다.", "훈장이\n   가르친다"),
        ("  훈장이  가르친다\n", "서당에서 훈장이 가르친다.", "훈장이 가르친다"),
        ("훈장이 배운다", "서당에서 훈장이 가르친다.", None),
        ("훈장이가르친다", "서당에서 훈장이 가르친다.", None),
        ("Café", "un cafe\u0301, Cafe\u0301!", "Cafe\u0301"),
        ("cafe", "un cafe\u0301", None),
        ("e", "\u0065\u0301", None),
        ("", "아무 글", None),
        (" \n", "아무 글", None),
        ("글", "", None),
    ],
)
def test_it_is_found_with_its_own_characters(quote: str, text: str, expected: str | None) -> None:
    assert _found(quote, text) == expected


def test_a_decomposed_text_is_cited_in_its_own_characters() -> None:
    text = unicodedata.normalize("NFD", "서당에서 훈장이 가르친다.")
    assert _found("훈장이", text) == unicodedata.normalize("NFD", "훈장이")


def test_a_syllable_without_its_tail_is_not_the_syllable() -> None:
    assert _found("가", unicodedata.normalize("NFD", "강")) is None


_texts = st.text(st.one_of(st.sampled_from("가강\u1100\u1161\u11bce\u0301 \n\u0958a"), st.characters()), max_size=60)


@settings(max_examples=150, deadline=None)
@given(_texts)
def test_folding_is_composition_with_single_spaces(text: str) -> None:
    spaced = "".join(" " if c.isspace() else c for c in text)
    single = " ".join(spaced.split(" ")) if "  " not in spaced else None
    folded = fold(text)
    assert len(folded.text) == len(folded.origins)
    if single is not None:
        assert folded.text == unicodedata.normalize("NFC", single)


@settings(max_examples=150, deadline=None)
@given(_texts, st.data())
def test_whatever_is_found_reads_as_the_quote(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    quote = unicodedata.normalize("NFC", text[start : data.draw(st.integers(start, len(text)))])
    found = _found(quote, text)
    if found is not None:
        assert fold(found).text.strip() == fold(quote).text.strip()


def test_every_whole_word_of_a_decomposed_text_is_found() -> None:
    text = unicodedata.normalize("NFD", "큰 서당에는 아이들이 열 명쯤 모여 글을 읽었다")
    assert all(_found(unicodedata.normalize("NFC", word), text) == word for word in text.split())
