"""Terms, which indexing and querying share."""

import sqlite3

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from seodang.adapters.search.terms import MAX_QUERY_TERMS, match_expression, terms


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("서당에서", ["서", "서당", "당에", "에서"]),
        ("책 읽기", ["책", "읽", "읽기"]),
        ("SQLite는 600g정도", ["sqlite", "는", "600g", "정", "정도"]),
        ("Straße, CAFÉ", ["strasse", "café"]),
        ("日本語", ["日", "日本", "本語"]),
        ("ＡＢＣ１２", ["abc12"]),
        ("read_file(path)", ["read", "file", "path"]),
        ("?! — ...", []),
        ("", []),
    ],
)
def test_text_becomes_pairs_of_korean_and_whole_words_of_others(text: str, expected: list[str]) -> None:
    assert terms(text) == expected


def test_decomposed_and_composed_korean_have_the_same_terms() -> None:
    assert terms("\u1109\u1165\u1103\u1161\u11bc") == terms("서당")


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=80))
@example('a" OR terms:b NOT (c) NEAR(d, 2) * ^e')
@example("col : 'x' -- ; DROP TABLE term\x00")
def test_no_query_is_ever_a_syntax_error_or_matches_more_than_its_terms(query: str) -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE VIRTUAL TABLE term USING fts5 (terms, tokenize = 'ascii')")
    connection.executemany("INSERT INTO term VALUES (?)", [("zebra",), (" ".join(terms(query)),)])
    expression = match_expression(query)
    if not expression:
        assert terms(query) == []
        return
    found = [row[0] for row in connection.execute("SELECT rowid FROM term WHERE term MATCH ?", (expression,))]
    assert found == ([1, 2] if "zebra" in terms(query) else [2])


def test_a_query_of_very_many_terms_is_cut() -> None:
    assert match_expression(" ".join(f"w{n}" for n in range(5000))).count(" OR ") == MAX_QUERY_TERMS - 1
