from pathlib import Path

import pytest

from seodang.base.errors import Conflict
from seodang.distillation import CurvePoint, EventLog, Progressed, StateChanged, read_events


def point(step: int, loss: float = 1.0, subject: str = "student") -> CurvePoint:
    return CurvePoint(subject=subject, step=step, loss=loss, learning_rate=1e-3, tokens_per_s=10.0)


def progress(done: int) -> Progressed:
    return Progressed(stage="training", subject="student", done=done, total=10, unit="steps", rate=1.0)


def test_a_reader_goes_on_where_it_stopped(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    assert read_events(path) == ([], 0)
    with EventLog(path) as log:
        log.write(point(1))
        first, offset = read_events(path)
        log.write(point(2))
        second, end = read_events(path, offset)
    assert [event.step for event in (*first, *second) if isinstance(event, CurvePoint)] == [1, 2]
    assert end == path.stat().st_size


def test_a_torn_line_is_never_read_and_is_dropped_by_the_next_writer(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventLog(path) as log:
        log.write(point(1))
    whole_bytes = path.stat().st_size
    with path.open("ab") as file:
        file.write(b'{"type":"curve","st')
    assert read_events(path)[1] == whole_bytes
    with EventLog(path) as log:
        log.write(point(2))
    events, _ = read_events(path, whole_bytes)
    assert [event.step for event in events if isinstance(event, CurvePoint)] == [2]


def test_a_restart_does_not_repeat_curve_points(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventLog(path) as log:
        for step in (10, 20, 30):
            log.write(point(step))
    with EventLog(path) as log:
        for step in (20, 30, 40):
            log.write(point(step))
        log.write(point(10, subject="plain"))
    events, _ = read_events(path)
    points = [(event.subject, event.step) for event in events if isinstance(event, CurvePoint)]
    assert points == [("student", 10), ("student", 20), ("student", 30), ("student", 40), ("plain", 10)]


def test_progress_is_paced_but_its_last_line_is_always_told(tmp_path: Path) -> None:
    now_s = 0.0
    path = tmp_path / "events.jsonl"
    with EventLog(path, clock=lambda: now_s) as log:
        for done in range(1, 11):
            log.write(progress(done))
            now_s += 0.3
        log.write(StateChanged(stage="evaluating", message="next"))
    events, _ = read_events(path)
    assert [event.done for event in events if isinstance(event, Progressed)] == [1, 3, 5, 7, 9, 10]


def test_a_foreign_line_and_a_shrunken_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text("hello\n")
    with pytest.raises(Conflict, match="no event"):
        read_events(path)
    with pytest.raises(Conflict, match="shorter"):
        read_events(path, 100)
