"""What tells a personal number from one that only looks like it."""

import ipaddress
import re
from typing import Final

_CARD_DIGITS: Final = range(13, 20)
# ITU-T E.164; shorter ones with a plus are sums and scores.
_PHONE_DIGITS: Final = range(8, 16)


def digits(text: str) -> str:
    """The digits of a text."""
    return re.sub(r"\D", "", text)


def is_card(text: str) -> bool:
    """A payment card's number: its length and its check digit (ISO/IEC 7812, Luhn) are right."""
    number = digits(text)
    if len(number) not in _CARD_DIGITS or len(set(number)) < 2:
        return False
    total = 0
    for place, digit in enumerate(reversed(number)):
        doubled = int(digit) * (1 + place % 2)
        total += doubled - 9 if doubled > 9 else doubled
    return total % 10 == 0


def has_birthday(text: str) -> bool:
    """Begins with a date of birth, as Korean resident and foreigner registration numbers do.

    Those given since October 2020 have no check digit, so none is asked for.
    """
    return 1 <= int(text[2:4]) <= 12 and 1 <= int(text[4:6]) <= 31


def is_bare_resident_number(text: str) -> bool:
    """A registration number without its hyphen, and not the bar code of some goods, which has as many digits."""
    if not has_birthday(text) or text[6] not in "12345678":
        return False
    return _resident_check(text) == int(text[12]) or _goods_check(text) != int(text[12])


def _resident_check(number: str) -> int:
    total = sum(
        int(digit) * weight for digit, weight in zip(number, (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5), strict=False)
    )
    foreigner = number[6] in "5678"
    return ((11 - total % 11) % 10 + 2 * foreigner) % 10


def _goods_check(number: str) -> int:
    """The check digit of EAN-13."""
    return -sum(int(digit) * (1 + 2 * (place % 2)) for place, digit in enumerate(number[:12])) % 10


def is_phone(text: str) -> bool:
    """A telephone number has 8 to 15 digits."""
    return len(digits(text)) in _PHONE_DIGITS


def is_internet_address(text: str) -> bool:
    """An IPv4 or IPv6 address that may be somebody's; "this machine" and "no address" are nobody's."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_unspecified)
