"""A grammar of proved answers, read by the real llguidance over the characters themselves."""

import llguidance
import pytest

from seodang.adapters.search.constraint import answer_grammar

PASSAGES = (
    "한빛 도서관은 오후 8시까지 운영한다. 한빛 도서관은 매주 월요일에 쉰다.",
    'The sign says "closed". 가람 카페는 오후 10시까지 운영한다.',
)


def permitted(answer: str) -> bool:
    """Is the answer a sentence of the grammar? Tokens are single bytes here, so that no tokenizer has a say."""
    words = llguidance.LLTokenizer("byte")
    matcher = llguidance.LLMatcher(words, llguidance.LLMatcher.grammar_from_lark(answer_grammar(PASSAGES)), log_level=0)
    assert not matcher.is_error(), matcher.get_error()
    tokens = words.tokenize_str(answer)
    return matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_accepting()


@pytest.mark.parametrize(
    "answer",
    [
        '오후 8시 [1] "한빛 도서관은 오후 8시까지 운영한다."',
        '월요일 [1] "한빛 도서관은 매주 월요일에 쉰다."',
        'closed [2] "The sign says "closed"."',
        '월요일 [1] "한빛 도서관은 매주 월요일에 쉰다."\n10시 [2] "가람 카페는 오후 10시까지 운영한다."',
        "no answer",
    ],
)
def test_what_a_passage_proves_may_be_said(answer: str) -> None:
    assert permitted(answer)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ('오후 9시 [1] "한빛 도서관은 오후 8시까지 운영한다."', "the text stands in no quote"),
        ('오후 9시 [1] "한빛 도서관은 오후 9시까지 운영한다."', "the quote stands in no passage"),
        ('10시 [1] "가람 카페는 오후 10시까지 운영한다."', "the quote stands in another passage"),
        ('쉰다 [1] "한빛 도서관은 오후 8시까지 운영한다."', "the text stands in another sentence"),
        (' [1] "한빛 도서관은 매주 월요일에 쉰다."', "there is no text"),
        ('10시 [3] "가람 카페는 오후 10시까지 운영한다."', "there is no such passage"),
        ("오후 8시", "nothing is quoted"),
    ],
)
def test_anything_else_may_not(answer: str, why: str) -> None:
    assert not permitted(answer), why
