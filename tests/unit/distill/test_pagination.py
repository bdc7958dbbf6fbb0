import base64

import pytest

from seodang.base.errors import InvalidInput
from seodang.distill.pagination import DEFAULT_SIZE, LARGEST_SIZE, checked_size, decode_token, encode_token


@pytest.mark.parametrize(("asked", "given"), [(0, DEFAULT_SIZE), (7, 7), (10**6, LARGEST_SIZE)])
def test_a_size_is_taken_defaulted_or_capped(asked: int, given: int) -> None:
    assert checked_size(asked) == given


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(InvalidInput) as caught:
        checked_size(-1)
    assert caught.value.field == "page_size"


def test_a_token_leads_back_to_its_item_and_no_token_to_the_first_page() -> None:
    assert decode_token(encode_token("jobs", "2026 한-1"), "jobs") == "2026 한-1"
    assert decode_token("", "jobs") is None


@pytest.mark.parametrize(
    "token",
    [
        "x", "!!!!", "한국", encode_token("versions", "1"), base64.urlsafe_b64encode(b"[1, 2]").decode(),
        base64.urlsafe_b64encode(b"\xff\xff").decode(), base64.urlsafe_b64encode(b'{"a": 1}').decode(), "A" * 10_000,
    ],
)  # fmt: skip
def test_a_token_of_something_else_is_refused(token: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        decode_token(token, "jobs")
    assert caught.value.field == "page_token"
    assert len(caught.value.message) < 300
