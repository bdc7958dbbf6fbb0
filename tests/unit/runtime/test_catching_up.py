"""What reading prompts costs a drafter is paid by the tokens of the answers."""

import pytest

from seodang.runtime.catching_up import REMEMBERED_TOKENS, CatchingUp


def test_nothing_is_charged_before_something_is_known() -> None:
    catching_up = CatchingUp()
    assert catching_up.seconds_per_token == 0.0
    catching_up.note_reading(100, 0.5)
    assert catching_up.seconds_per_token == 0.0


def test_the_answers_tokens_share_what_their_prompts_cost() -> None:
    catching_up = CatchingUp()
    catching_up.note_reading(100, 0.5)
    catching_up.note_end(prompt_tokens=60, answer_tokens=20)
    assert catching_up.seconds_per_token == pytest.approx(0.005 * 60 / 20)


def test_long_answers_bear_it_more_easily() -> None:
    short, long = CatchingUp(), CatchingUp()
    for catching_up, answer in ((short, 10), (long, 1000)):
        catching_up.note_reading(100, 0.5)
        catching_up.note_end(prompt_tokens=60, answer_tokens=answer)
    assert long.seconds_per_token == pytest.approx(short.seconds_per_token / 100)


def test_other_prompts_are_soon_noticed() -> None:
    catching_up = CatchingUp()
    catching_up.note_reading(1000, 1.0)
    for _ in range(100):
        catching_up.note_end(prompt_tokens=1000, answer_tokens=REMEMBERED_TOKENS // 10)
    for _ in range(100):
        catching_up.note_end(prompt_tokens=0, answer_tokens=REMEMBERED_TOKENS // 10)
    assert catching_up.seconds_per_token < 1e-6
