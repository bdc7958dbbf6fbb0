"""Pages of a listing, newest first, and the opaque tokens that lead from one to the next."""

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from seodang.base.errors import InvalidInput

ItemT = TypeVar("ItemT")

DEFAULT_SIZE: Final = 50
LARGEST_SIZE: Final = 1000


@dataclass(frozen=True, slots=True)
class Page(Generic[ItemT]):
    """Some items of a listing; ``next_token`` is empty on the last page."""

    items: tuple[ItemT, ...]
    next_token: str


def checked_size(page_size: int) -> int:
    """How many items a request for ``page_size`` gets: 0 asks for the default, and there is a largest size."""
    if page_size < 0:
        raise InvalidInput(f"page_size={page_size}: must be 0 or more", field="page_size")
    return min(page_size or DEFAULT_SIZE, LARGEST_SIZE)


def encode_token(listing: str, last: str) -> str:
    """The token of the page after the item ``last`` of ``listing``, which names the list and its filters."""
    return base64.urlsafe_b64encode(json.dumps([listing, last]).encode()).decode().rstrip("=")


def decode_token(token: str, listing: str) -> str | None:
    """The item after which the page begins; None for the first page.

    Raises:
        InvalidInput: the token is none of ours, or belongs to a listing with other filters.
    """
    if not token:
        return None
    refusal = InvalidInput(
        f"page_token={token[:80]!r} belongs to no page of this listing: pass next_page_token as it came, "
        "with the same filters",
        field="page_token",
    )
    try:
        found = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (binascii.Error, ValueError) as error:
        raise refusal from error
    match found:
        case [str(name), str(last)] if name == listing:
            return last
    raise refusal
