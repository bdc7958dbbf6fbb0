from pathlib import Path

import pytest

from seodang.adapters.robotics.stops import EVERY_SESSION, StopLatch
from seodang.base.errors import AlreadyExists, Conflict, InvalidInput, NotFound


def test_a_stop_signals_the_running_session_and_refuses_the_next(tmp_path: Path) -> None:
    latch = StopLatch(tmp_path / "stops.json")
    with latch.session("a") as stop:
        assert latch.stop("a", "smoke") == 1
        assert stop.is_set()
    with pytest.raises(Conflict, match="smoke") as refused, latch.session("a"):
        pass
    assert refused.value.reason == "EMERGENCY_STOP"


def test_a_stop_of_one_session_leaves_the_others_alone(tmp_path: Path) -> None:
    latch = StopLatch(tmp_path / "stops.json")
    with latch.session("a") as a, latch.session("b") as b:
        latch.stop("a", "")
        assert (a.is_set(), b.is_set()) == (True, False)


def test_a_stop_of_every_session_holds_for_those_to_come(tmp_path: Path) -> None:
    latch = StopLatch(tmp_path / "stops.json")
    with latch.session("a"), latch.session("b"):
        assert latch.stop(EVERY_SESSION, "fire") == 2
    with pytest.raises(Conflict, match="fire"), latch.session("c"):
        pass


def test_only_release_lifts_it_and_a_restart_does_not(tmp_path: Path) -> None:
    path = tmp_path / "state" / "stops.json"
    StopLatch(path).stop("a", "smoke")
    restarted = StopLatch(path)
    with pytest.raises(Conflict), restarted.session("a"):
        pass
    restarted.release("a")
    with StopLatch(path).session("a") as stop:
        assert not stop.is_set()


def test_releasing_what_is_not_latched_names_what_is(tmp_path: Path) -> None:
    latch = StopLatch(tmp_path / "stops.json")
    latch.stop("a", "")
    with pytest.raises(NotFound, match="latched: 'a'"):
        latch.release("b")


def test_one_session_cannot_be_driven_twice_at_once(tmp_path: Path) -> None:
    latch = StopLatch(tmp_path / "stops.json")
    with latch.session("a"), pytest.raises(AlreadyExists), latch.session("a"):
        pass


@pytest.mark.parametrize("name", ["../etc", "a/b", ".hidden", "a" * 65, "세션", "a b"])
def test_a_name_that_could_leave_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInput):
        StopLatch(tmp_path / "stops.json").stop(name, "")


@pytest.mark.parametrize("damage", ["", "[]", '{"a": 1}', "{"])
def test_a_damaged_file_keeps_the_service_from_starting(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "stops.json"
    path.write_text(damage)
    with pytest.raises(Conflict, match=r"stops\.json"):
        StopLatch(path)
