from datetime import UTC, datetime, timedelta

import pytest

from seodang.api.distill.v1 import job_pb2
from seodang.api.types.v1 import fault_pb2
from seodang.base.errors import Conflict, InvalidInput
from seodang.distill.jobs.domain import ENDED, TRANSITIONS, Job, JobState, new_job, parse_job_name

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER = NOW + timedelta(seconds=5)
FAULT = fault_pb2.Fault(code=13, message="it broke")

CHANGES = {
    "claimed": lambda job: job.claimed(LATER),
    "started": lambda job: job.started(LATER),
    "waiting": lambda job: job.waiting("soon", LATER),
    "succeeded": lambda job: job.succeeded(job_pb2.JobResult(version="models/a/versions/1"), "published", LATER),
    "failed": lambda job: job.failed(FAULT, LATER),
    "asked_to_stop": lambda job: job.asked_to_stop(LATER),
    "stopped": lambda job: job.stopped(LATER),
    "resumed": lambda job: job.resumed(LATER),
}
WAYS = {
    JobState.QUEUED: [],
    JobState.RUNNING: ["claimed"],
    JobState.CANCELLING: ["claimed", "asked_to_stop"],
    JobState.SUCCEEDED: ["claimed", "started", "succeeded"],
    JobState.FAILED: ["claimed", "started", "failed"],
    JobState.CANCELLED: ["asked_to_stop"],
}
Q, R, C, S, F, X = (
    JobState.QUEUED, JobState.RUNNING, JobState.CANCELLING, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED,
)  # fmt: skip
# Every change in every state: the state it leads to, or None where it is refused.
TABLE = {
    "claimed": {Q: R, R: R, C: None, S: None, F: None, X: None},
    "started": {Q: R, R: R, C: None, S: None, F: None, X: None},
    "waiting": {Q: R, R: R, C: None, S: None, F: None, X: None},
    "succeeded": {Q: None, R: S, C: S, S: None, F: None, X: None},
    "failed": {Q: None, R: F, C: F, S: None, F: None, X: None},
    "asked_to_stop": {Q: X, R: C, C: C, S: None, F: None, X: X},
    "stopped": {Q: X, R: None, C: X, S: None, F: None, X: None},
    "resumed": {Q: Q, R: R, C: None, S: None, F: Q, X: Q},
}


def job_in(state: JobState) -> Job:
    job = new_job("r", job_pb2.JobSpec(student="robot"), NOW)
    for change in WAYS[state]:
        job = CHANGES[change](job)
    assert job.state is state
    return job


@pytest.mark.parametrize(
    ("change", "state", "expected"),
    [(change, state, expected) for change, row in TABLE.items() for state, expected in row.items()],
)
def test_a_change_leads_to_its_state_or_is_refused(change: str, state: JobState, expected: JobState | None) -> None:
    job = job_in(state)
    if expected is None:
        with pytest.raises(Conflict, match=f"is {state}"):
            CHANGES[change](job)
    else:
        assert CHANGES[change](job).state is expected


def test_every_state_has_its_transitions_and_nothing_leaves_success() -> None:
    assert set(TRANSITIONS) == set(JobState)
    assert not TRANSITIONS[JobState.SUCCEEDED]


@pytest.mark.parametrize("state", list(JobState))
def test_a_job_has_an_end_time_exactly_when_it_has_ended(state: JobState) -> None:
    assert (job_in(state).end_time is not None) == (state in ENDED)


def test_each_process_counts_as_an_attempt() -> None:
    job = job_in(JobState.RUNNING).started(NOW).waiting("killed", NOW).started(NOW)
    assert job.attempts == 2


def test_resuming_forgets_the_fault_and_the_end_and_keeps_the_events() -> None:
    job = job_in(JobState.RUNNING).reported(77, None, "", NOW).failed(FAULT, NOW).resumed(LATER)
    assert (job.fault, job.end_time, job.events_offset) == (None, None, 77)


def test_progress_without_news_keeps_what_is_known() -> None:
    progress = job_pb2.Progress(stage=job_pb2.Progress.STAGE_TRAINING, done=3)
    job = job_in(JobState.RUNNING).reported(10, progress, "trains", NOW).reported(20, None, "", LATER)
    assert (job.progress, job.state_message, job.update_time) == (progress, "trains", LATER)


def test_an_id_begins_with_the_students_name_and_is_a_valid_resource_name() -> None:
    job = new_job("r", job_pb2.JobSpec(student="Robot-2"), NOW)
    assert job.id.startswith("robot-2-")
    assert parse_job_name(job.name) == job.id


@pytest.mark.parametrize(
    "name", ["", "robot", "jobs/", "jobs/a/b", "jobs/..", "jobs/a b", "jobs/" + "a" * 200, "jobs/a\n"]
)
def test_a_name_of_no_job_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_job_name(name)
    assert caught.value.field == "name"
