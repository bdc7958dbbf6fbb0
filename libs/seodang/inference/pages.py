"""Pages of a list in order of name (AIP-158)."""

import base64
import binascii
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from seodang.base.errors import InvalidInput

DEFAULT_PAGE_SIZE: Final = 50
MAX_PAGE_SIZE: Final = 1000

ItemT = TypeVar("ItemT")


def page_of(
    items: Iterable[ItemT], name: Callable[[ItemT], str], page_size: int, page_token: str
) -> tuple[list[ItemT], str]:
    """The page after ``page_token`` and the token of the next one, which is empty on the last page.

    A token is the last name seen, so items that come and go between two pages are neither repeated nor skipped.

    Raises:
        InvalidInput: a negative size, or a token that no page gave.
    """
    if page_size < 0:
        raise InvalidInput(f"page_size={page_size}: must be 0 (the default, 50) or more", field="page_size")
    size = min(page_size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)
    after = _decode(page_token)
    rest = sorted((item for item in items if name(item) > after), key=name)
    page = rest[:size]
    return page, _encode(name(page[-1])) if len(rest) > size else ""


def _encode(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode()


def _decode(token: str) -> str:
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise InvalidInput(
            f"page_token={token[:80]!r} is not one of ours: pass next_page_token of the page before, unchanged",
            field="page_token",
        ) from error
