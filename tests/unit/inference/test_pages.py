"""Pages of lists."""

import pytest

from seodang.base.errors import InvalidInput
from seodang.inference import page_of

NAMES = [f"models/m{n:04}" for n in range(1200)]


def page(size: int, token: str = "", names: list[str] = NAMES) -> tuple[list[str], str]:
    return page_of(names, str, size, token)


def test_pages_follow_each_other_in_order_of_name() -> None:
    first, token = page(700, names=NAMES[::-1])
    second, end = page(700, token)
    assert first + second == NAMES
    assert end == ""


def test_the_default_and_the_largest_size_are_as_documented() -> None:
    assert len(page(0)[0]) == 50
    assert len(page(5000)[0]) == 1000


def test_what_comes_and_goes_between_pages_repeats_and_skips_nothing() -> None:
    _, token = page(2, names=["a", "b", "c"])
    assert page(2, token, ["0", "a", "c", "d"]) == (["c", "d"], "")


def test_an_empty_list_is_one_empty_page() -> None:
    assert page(10, names=[]) == ([], "")


@pytest.mark.parametrize("token", ["!", "====", "a", "_w=="])
def test_a_token_of_somebody_else_is_refused(token: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        page(10, token)
    assert caught.value.field == "page_token"
