import pytest

from seodang.tasks import InvalidAnswer
from seodang.tasks.search import Grounded, NoAnswer, SearchRequest, messages, parse, render, score, supported

PASSAGES = ("한빛 카페는 월요일에 쉰다.", "한빛 카페의 입장료는 3,000원이다.")


def test_passages_are_numbered_from_one_before_the_question() -> None:
    assert messages(SearchRequest("입장료는?", PASSAGES))[-1].content == (
        "[1] 한빛 카페는 월요일에 쉰다.\n[2] 한빛 카페의 입장료는 3,000원이다.\n? 입장료는?"
    )


@pytest.mark.parametrize(
    "answer", [NoAnswer(), Grounded("3,000원", 2, PASSAGES[1]), Grounded("a [1]", 12, 'he said "x"')]
)
def test_a_rendered_answer_parses_back(answer: Grounded | NoAnswer) -> None:
    assert parse(render(answer)) == answer


@pytest.mark.parametrize("text", ["", "3,000원", "3,000원 [2]", '[2] "x"', 'a [0] "x"', 'a [x] "x"', "No answer"])
def test_text_without_citation_and_quote_is_refused(text: str) -> None:
    with pytest.raises(InvalidAnswer):
        parse(text)


@pytest.mark.parametrize(
    ("answer", "holds"),
    [
        (Grounded("3,000원", 2, PASSAGES[1]), True),
        (Grounded("3,000원", 1, PASSAGES[1]), False),
        (Grounded("3,000원", 3, PASSAGES[1]), False),
        (Grounded("4,000원", 2, PASSAGES[1]), False),
        (Grounded("3,000원", 2, "입장료는 3,000원이 아니다"), False),
    ],
)
def test_support_needs_the_quote_in_the_cited_passage_and_the_text_in_the_quote(answer: Grounded, holds: bool) -> None:
    assert supported(answer, PASSAGES) is holds


def test_a_false_no_answer_scores_nothing() -> None:
    expected = render(Grounded("3,000원", 2, PASSAGES[1]))
    assert score("no answer", expected)["exact"] == 0.0
    assert score("no answer", "no answer")["exact"] == 1.0
    assert score(f'3,000원 [1] "{PASSAGES[1]}"', expected) == {"exact": 0.0, "text": 1.0, "citation": 0.0}
