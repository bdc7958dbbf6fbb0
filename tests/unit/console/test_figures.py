"""Numbers as people read them."""

from datetime import UTC, datetime

import pytest
from google.protobuf import timestamp_pb2

from seodang.console import figures


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0"), (999, "999"), (11_300_000, "11.3 M"), (519e9, "519 B"), (4096, "4.1 k")]
)
def test_a_count_has_three_digits_and_a_unit(number: float, text: str) -> None:
    assert figures.count(number) == text


@pytest.mark.parametrize(("number", "text"), [(640, "640 B"), (2**20, "1.0 MiB"), (3 * 2**30, "3.0 GiB")])
def test_bytes_have_the_unit_that_suits_them(number: float, text: str) -> None:
    assert figures.size(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.25, "0.2 s"),
        (42, "42 s"),
        (59.7, "1 min 0 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
        (273_600, "3 d 4 h"),
    ],
)
def test_a_duration_has_its_two_largest_units(seconds: float, text: str) -> None:
    assert figures.duration(seconds) == text


def test_what_never_happened_has_no_age() -> None:
    assert figures.since(timestamp_pb2.Timestamp()) == ""


def test_an_age_is_counted_from_the_moment() -> None:
    now = datetime(2026, 1, 1, 12, tzinfo=UTC)
    moment = timestamp_pb2.Timestamp(seconds=int(now.timestamp()) - 90)
    assert figures.since(moment, now) == "1 min 30 s"


def test_an_interval_is_in_per_cent() -> None:
    assert figures.interval(0.9123, 0.88, 0.9444) == "91.2 % (88.0 – 94.4)"
