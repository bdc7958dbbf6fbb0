"""Only sentences whose citations are true get through."""

import pytest

from seodang.adapters.search.domain import Outcome, Passage, Span
from seodang.adapters.search.grounding import AnswerReader, Verdict
from seodang.api.types.v1 import usage_pb2

FIRST = "서당은 조선의 글방이다. 훈장이 가르쳤다."
SECOND = "한글은 1443년에\n세종이 만들었다."
PASSAGES = [
    Passage("history", "", "", FIRST, Span(100, 100 + len(FIRST)), 2.0),
    Passage("letters", "", "", SECOND, Span(7, 7 + len(SECOND)), 1.0),
]


def _read(*pieces: str) -> tuple[list[str], Verdict]:
    reader = AnswerReader(PASSAGES)
    said = [text for piece in pieces for text in reader.feed(piece)]
    said += reader.finish()
    return said, reader.verdict(usage_pb2.Usage())


def test_a_true_citation_is_mapped_to_its_document() -> None:
    said, verdict = _read('1443년 [2] "한글은 1443년에 세종이 만들었다."')
    assert (said, verdict.outcome, verdict.answer) == (["1443년"], Outcome.GROUNDED, "1443년")
    (citation,) = verdict.citations
    assert (citation.passage, citation.document_id) == (1, "letters")
    assert citation.quote == SECOND[citation.span.start - 7 : citation.span.end - 7] == SECOND


@pytest.mark.parametrize(
    ("written", "rejected"),
    [
        ('1446년 [2] "한글은 1446년에 세종이 만들었다."', 1),
        ('1443년 [1] "한글은 1443년에 세종이 만들었다."', 1),
        ('1443년 [3] "한글은 1443년에 세종이 만들었다."', 1),
        ('1446년 [2] "한글은 1443년에 세종이 만들었다."', 1),
        ("1443년", 0),
        ('1443년 [0] "1443년"', 0),
        ('1443년 [2] ""', 0),
        ('1443년 [2] "한글은 1443년에', 0),
        ("", 0),
    ],
    ids=["false quote", "wrong passage", "no such passage", "text not in quote", "no citation", "passage zero",
         "empty quote", "cut off", "nothing written"],
)  # fmt: skip
def test_anything_else_is_withheld(written: str, rejected: int) -> None:
    said, verdict = _read(written)
    assert (said, verdict.outcome, verdict.answer, verdict.citations) == ([], Outcome.UNGROUNDED, "", ())
    assert verdict.rejected_citations == rejected


def test_no_answer_is_an_answer() -> None:
    said, verdict = _read("no ", "answer\n")
    assert (said, verdict.outcome, verdict.rejected_citations) == ([], Outcome.NO_ANSWER, 0)


def test_each_sentence_is_let_through_as_soon_as_it_is_proved_and_the_false_one_is_not() -> None:
    reader = AnswerReader(PASSAGES)
    assert list(reader.feed('조선의 글방 [1] "서당은 조선의 글방이다."')) == []
    assert list(reader.feed('\n가짜 [1] "서당은 가짜다."\n훈')) == ["조선의 글방"]
    assert list(reader.feed('장 [1] "훈장이 가르쳤다."')) == []
    assert list(reader.finish()) == [" 훈장"]
    verdict = reader.verdict(usage_pb2.Usage())
    assert (verdict.outcome, verdict.answer) == (Outcome.GROUNDED, "조선의 글방 훈장")
    assert (len(verdict.citations), verdict.rejected_citations) == (2, 1)
