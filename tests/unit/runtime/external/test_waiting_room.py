from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest

from seodang.base.errors import AlreadyExists, Exhausted
from seodang.runtime.external.waiting_room import Job, WaitingRoom


def job(request_id: str, priority: int = 0) -> Job:
    completion: Any = SimpleNamespace(request_id=request_id, priority=priority)
    return Job(completion, {})


def begun(room: WaitingRoom) -> list[str]:
    return [each.completion.request_id for each in room.ready()]


def test_the_most_important_goes_first_and_equals_in_order_of_arrival() -> None:
    room = WaitingRoom(max_running=1, max_waiting=9)
    for each in (job("a"), job("b"), job("c", 1), job("d", 1)):
        room.add(each)
    order = []
    while names := begun(room):
        order += names
        room.leave(names[0])
    assert order == ["c", "d", "a", "b"]


def test_no_more_run_than_there_are_places() -> None:
    room = WaitingRoom(max_running=2, max_waiting=9)
    for name in "abc":
        room.add(job(name))
    assert begun(room) == ["a", "b"]
    assert (room.running, room.waiting) == (2, 1)
    room.leave("a")
    assert begun(room) == ["c"]


def test_one_who_waits_may_leave() -> None:
    room = WaitingRoom(max_running=1, max_waiting=9)
    for name in "abc":
        room.add(job(name))
    assert begun(room) == ["a"]
    assert room.leave("b") is not None
    assert room.leave("b") is None
    room.leave("a")
    assert begun(room) == ["c"]


def test_a_full_room_refuses_with_a_time_to_try_again() -> None:
    room = WaitingRoom(max_running=1, max_waiting=1)
    for name in "ab":
        room.check_new(name)
        room.add(job(name))
        begun(room)
    with pytest.raises(Exhausted) as caught:
        room.check_new("c")
    assert caught.value.retry_after_s > 0


def test_an_id_is_used_once_at_a_time() -> None:
    room = WaitingRoom(max_running=1, max_waiting=1)
    first = job("a")
    room.add(first)
    with pytest.raises(AlreadyExists):
        room.check_new("a")
    room.leave("a")
    assert not room.holds(first)
    room.check_new("a")


def test_leaving_ends_a_stream() -> None:
    room = WaitingRoom(max_running=1, max_waiting=1)
    running = job("a")
    running.stream = Future()
    room.add(running)
    assert room.clear() == [running]
    assert running.stream.cancelled()
