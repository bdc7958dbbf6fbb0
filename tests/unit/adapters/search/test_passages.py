"""Passages are exact slices that cover their text."""

import unicodedata
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from seodang.adapters.search.passages import split

LIMIT = 40
_texts = st.text(
    alphabet=st.one_of(st.sampled_from("가나다 \n.!?。”\u0301\u1161ab1"), st.characters(codec="utf-8")), max_size=400
)


def _slices(text: str, limit: int = LIMIT) -> list[str]:
    return [text[span.start : span.end] for span in split(text, limit)]


@settings(max_examples=150, deadline=None)
@given(_texts)
def test_every_visible_character_is_in_exactly_one_passage(text: str) -> None:
    spans = split(text, LIMIT)
    assert all(0 < span.end - span.start <= LIMIT for span in spans)
    assert all(before.end <= after.start for before, after in pairwise(spans))
    covered = {i for span in spans for i in range(span.start, span.end)}
    assert all(i in covered for i, character in enumerate(text) if not character.isspace())
    assert all(piece == piece.strip() for piece in _slices(text))


def test_sentences_are_packed_whole() -> None:
    text = "서당은 글방이다. 훈장이 가르친다! 아이들은 배우는가? 그렇다. 3.14는 원주율이다."
    assert _slices(text) == ["서당은 글방이다. 훈장이 가르친다! 아이들은 배우는가? 그렇다.", "3.14는 원주율이다."]


def test_a_closing_quote_stays_with_its_sentence() -> None:
    text = "그가 말했다. “안녕히 가십시오, 여러분.” 그리고 문을 닫고 밖으로 걸어 나갔다."
    assert _slices(text) == ["그가 말했다. “안녕히 가십시오, 여러분.”", "그리고 문을 닫고 밖으로 걸어 나갔다."]


def test_a_paragraph_begins_a_new_passage_once_the_one_before_is_half_full() -> None:
    text = "제목\n\n짧은 첫 문단은 제목과 함께 있다.\n\n둘째 문단."
    assert _slices(text) == ["제목\n\n짧은 첫 문단은 제목과 함께 있다.", "둘째 문단."]


def test_a_sentence_longer_than_the_limit_is_cut_at_a_space() -> None:
    assert _slices("word " * 20) == ["word word word word word word word word", *_slices("word " * 12)]


def test_a_character_is_not_torn_from_its_marks() -> None:
    decomposed = unicodedata.normalize("NFD", "가각" * 30)
    assert all(unicodedata.normalize("NFC", piece)[0] in "가각" for piece in _slices(decomposed))


def test_a_blank_text_has_no_passages() -> None:
    assert _slices(" \n\t ") == []
