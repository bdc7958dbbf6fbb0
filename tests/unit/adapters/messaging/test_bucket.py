"""How often something may be done."""

from seodang.adapters.messaging.bucket import TokenBucket


def test_a_burst_goes_at_once_and_the_rest_at_the_rate() -> None:
    bucket = TokenBucket(per_s=2.0, burst=3)
    assert [bucket.take(100.0) for _ in range(6)] == [0.0, 0.0, 0.0, 0.5, 1.0, 1.5]


def test_it_fills_with_time_and_no_further_than_the_burst() -> None:
    bucket = TokenBucket(per_s=1.0, burst=2)
    bucket.take(0.0)
    assert not bucket.is_full(0.5)
    assert bucket.is_full(1.0)
    assert [bucket.take(1000.0) for _ in range(3)] == [0.0, 0.0, 1.0]


def test_a_pause_holds_back_what_comes_next() -> None:
    bucket = TokenBucket(per_s=1.0, burst=5)
    bucket.pause(0.0, for_s=30.0)
    assert bucket.take(0.0) == 30.0
    assert bucket.take(31.0) == 0.0
