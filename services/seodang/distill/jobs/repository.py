"""Jobs and their curves in the database."""

from collections.abc import Collection, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.message import Message
from sqlalchemy import func, select, tuple_, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from seodang.api.distill.v1 import job_pb2
from seodang.api.types.v1 import fault_pb2
from seodang.base.errors import AlreadyExists, InvalidInput, NotFound, Superseded
from seodang.distill.database.tables import CurvePointRow, JobRow
from seodang.distill.jobs.domain import ENDED, Job, JobState, parse_job_name
from seodang.distill.pagination import Page, decode_token, encode_token

MessageT = TypeVar("MessageT", bound=Message)


class JobRepository:
    """All jobs. Changes count once the unit of work is committed."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, job: Job) -> None:
        """Keeps a new job.

        Raises:
            AlreadyExists: a job of that request_id, or of that id, is there.
        """
        self._session.add(JobRow(**_columns(job)))
        try:
            await self._session.flush()
        except IntegrityError as error:
            raise AlreadyExists(f"request_id={job.request_id}: a job was made by it already") from error

    async def save(self, job: Job) -> Job:
        """Keeps a changed job and returns it as its next revision.

        Raises:
            Superseded: somebody else changed the job since it was read.
        """
        after = replace(job, revision=job.revision + 1)
        here = (JobRow.id == job.id, JobRow.revision == job.revision)
        done = await self._session.execute(update(JobRow).where(*here).values(**_columns(after)).returning(JobRow.id))
        if done.one_or_none() is None:
            raise Superseded(f"{job.name} changed since revision {job.revision} of it was read: read it again")
        return after

    async def get(self, job_id: str, *, lock: bool = False) -> Job:
        """One job; ``lock`` keeps other writers out until the unit of work ends.

        Raises:
            NotFound: there is none of that id.
        """
        row = await self._session.get(JobRow, job_id, with_for_update=lock or None)
        if row is None:
            raise NotFound(f"no job jobs/{job_id}: ListJobs tells which there are", metadata={"job": f"jobs/{job_id}"})
        return _job(row)

    async def by_request(self, request_id: str) -> Job | None:
        """The job that a request made."""
        row = await self._session.scalar(select(JobRow).where(JobRow.request_id == request_id))
        return _job(row) if row else None

    async def next_queued(self) -> Job | None:
        """The job that waits longest, locked; jobs that another server is taking are passed over."""
        waiting = select(JobRow).where(JobRow.state == JobState.QUEUED).order_by(JobRow.update_time, JobRow.id).limit(1)
        row = await self._session.scalar(waiting.with_for_update(skip_locked=True))
        return _job(row) if row else None

    async def ids_in(self, states: Collection[JobState]) -> list[str]:
        """Ids of the jobs in these states, oldest first."""
        found = select(JobRow.id).where(JobRow.state.in_(states)).order_by(JobRow.create_time, JobRow.id)
        return list(await self._session.scalars(found))

    async def ended_on(self, dataset_versions: Collection[str]) -> list[str]:
        """Ids of the ended jobs whose data was one of these captured versions."""
        ended = select(JobRow).where(JobRow.state.in_(ENDED), JobRow.spec.contains('"datasets/'))
        jobs = [_job(row) for row in await self._session.scalars(ended)]
        return [job.id for job in jobs if job.spec.data.dataset_version in dataset_versions]

    async def page(self, states: Collection[JobState], size: int, token: str) -> Page[Job]:
        """Jobs in these states (empty: in any), newest first."""
        listing = f"jobs {' '.join(sorted(states))}"
        query = select(JobRow).order_by(JobRow.create_time.desc(), JobRow.id.desc()).limit(size + 1)
        if states:
            query = query.where(JobRow.state.in_(states))
        if (last := decode_token(token, listing)) is not None:
            query = query.where(tuple_(JobRow.create_time, JobRow.id) < _position(last))
        jobs = [_job(row) for row in await self._session.scalars(query)]
        more = len(jobs) > size
        token = encode_token(listing, f"{jobs[size - 1].create_time.isoformat()} {jobs[size - 1].id}") if more else ""
        return Page(tuple(jobs[:size]), token)


class CurveRepository:
    """The curves of all jobs."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def append(self, job_id: str, points: Sequence[job_pb2.CurvePoint]) -> None:
        """Keeps the points that are not there yet. Steps of one subject only ever grow."""
        if not points:
            return
        of_job = select(CurvePointRow.subject, func.max(CurvePointRow.step), func.max(CurvePointRow.number))
        found = await self._session.execute(
            of_job.where(CurvePointRow.job_id == job_id).group_by(CurvePointRow.subject)
        )
        last_step, number = {}, 0
        for subject, step, subject_number in found:
            last_step[subject] = step
            number = max(number, subject_number)
        for point in points:
            if point.step > last_step.get(point.subject, 0):
                last_step[point.subject] = point.step
                number += 1
                self._session.add(_point_row(job_id, number, point))
        await self._session.flush()

    async def after(self, job_id: str, number: int, limit: int) -> list[job_pb2.CurvePoint]:
        """At most ``limit`` points that follow the first ``number`` ones, in the order in which they came."""
        wanted = select(CurvePointRow).where(CurvePointRow.job_id == job_id, CurvePointRow.number > number)
        return [_point(row) for row in await self._session.scalars(wanted.order_by(CurvePointRow.number).limit(limit))]


def _columns(job: Job) -> dict[str, Any]:
    columns = {field.name: getattr(job, field.name) for field in fields(job)}
    return {name: _json(value) if isinstance(value, Message) else value for name, value in columns.items()}


def _job(row: JobRow) -> Job:
    return Job(
        id=row.id,
        request_id=row.request_id,
        spec=_message(row.spec, job_pb2.JobSpec),
        create_time=row.create_time,
        update_time=row.update_time,
        state=JobState(row.state),
        state_message=row.state_message,
        end_time=row.end_time,
        progress=_message(row.progress, job_pb2.Progress) if row.progress else None,
        result=_message(row.result, job_pb2.JobResult) if row.result else None,
        fault=_message(row.fault, fault_pb2.Fault) if row.fault else None,
        attempts=row.attempts,
        revision=row.revision,
        events_offset=row.events_offset,
    )


def _point_row(job_id: str, number: int, point: job_pb2.CurvePoint) -> CurvePointRow:
    return CurvePointRow(
        job_id=job_id,
        number=number,
        subject=point.subject,
        step=point.step,
        loss=point.loss,
        eval_loss=point.eval_loss if point.HasField("eval_loss") else None,
        learning_rate=point.learning_rate,
        tokens_per_s=point.tokens_per_s,
    )


def _point(row: CurvePointRow) -> job_pb2.CurvePoint:
    return job_pb2.CurvePoint(
        subject=row.subject,
        step=row.step,
        loss=row.loss,
        eval_loss=row.eval_loss,
        learning_rate=row.learning_rate,
        tokens_per_s=row.tokens_per_s,
    )


def _position(last: str) -> tuple[datetime, str]:
    time, _, job_id = last.partition(" ")
    try:
        return datetime.fromisoformat(time).astimezone(UTC), parse_job_name(f"jobs/{job_id}")
    except (ValueError, OverflowError, InvalidInput) as error:
        raise InvalidInput("page_token belongs to no page of this listing", field="page_token") from error


def _json(message: Message) -> str:
    return json_format.MessageToJson(message, preserving_proto_field_name=True, indent=None)


def _message(text: str, kind: type[MessageT]) -> MessageT:
    # A newer server may have written fields that this one does not know.
    return json_format.Parse(text, kind(), ignore_unknown_fields=True)
