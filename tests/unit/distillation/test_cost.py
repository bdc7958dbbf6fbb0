"""Time and FLOPs of a job, from what it left behind."""

from seodang.distillation.cost import scoring_flops, worked_s
from seodang.distillation.events import AnyEvent, Progressed, Stage, StateChanged
from seodang.distillation.targets import ShardRecord


def shard(tokens: int) -> ShardRecord:
    return ShardRecord(
        name="0", identity_sha256="", sequences_sha256="", sequences=1, positions=5, sha256="", file_bytes=1,
        signal_bytes=1, seconds=1.0, tokens=tokens,
    )  # fmt: skip


def state(stage: Stage, time_s: float) -> StateChanged:
    return StateChanged(stage=stage, message="", time_s=time_s)


def test_pauses_between_processes_are_no_work() -> None:
    progress = Progressed(stage="training", subject="student", done=1, total=2, unit="steps", rate=1.0, time_s=130.0)
    events: list[AnyEvent] = [
        state("preparing", 100.0), state("scoring", 110.0), progress,
        state("preparing", 1000.0), state("training", 1005.0),
    ]  # fmt: skip
    assert worked_s(events, 1020.0) == 30.0 + 20.0
    assert worked_s([], 1020.0) == 0.0


def test_a_clock_that_was_set_back_takes_no_time_away() -> None:
    assert worked_s([state("preparing", 100.0), state("scoring", 110.0)], 90.0) == 0.0


def test_each_teacher_counts_by_its_own_active_parameters() -> None:
    ledgers = [("a", [shard(100), shard(50)]), ("b", [shard(10)])]
    assert scoring_flops(ledgers, {"a": 3, "b": 7}) == 2.0 * (3 * 150 + 7 * 10)


def test_flops_are_unknown_where_a_teacher_or_an_old_ledger_does_not_tell() -> None:
    assert scoring_flops([("a", [shard(100)])], {"a": 0}) is None
    assert scoring_flops([("a", [shard(100), shard(0)])], {"a": 3}) is None
