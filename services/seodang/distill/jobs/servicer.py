"""DistillationService of the contract, translated."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from grpc import aio

from seodang.api.distill.v1 import distill_pb2 as pb
from seodang.api.distill.v1 import distill_pb2_grpc, job_pb2
from seodang.base.errors import InvalidInput
from seodang.distill.clock import to_timestamp
from seodang.distill.jobs.domain import Job, JobState
from seodang.distill.jobs.service import JobService
from seodang.distillation import CORPORA, Corpus

Context = aio.ServicerContext[Any, Any]

_STATES = {
    JobState.QUEUED: job_pb2.JOB_STATE_QUEUED,
    JobState.RUNNING: job_pb2.JOB_STATE_RUNNING,
    JobState.SUCCEEDED: job_pb2.JOB_STATE_SUCCEEDED,
    JobState.FAILED: job_pb2.JOB_STATE_FAILED,
    JobState.CANCELLING: job_pb2.JOB_STATE_CANCELLING,
    JobState.CANCELLED: job_pb2.JOB_STATE_CANCELLED,
}
_BY_NUMBER = {int(number): state for state, number in _STATES.items()}


class DistillationServicer(distill_pb2_grpc.DistillationServiceServicer):
    """Between messages and the service."""

    def __init__(self, service: JobService) -> None:
        self._service = service

    async def CreateJob(self, request: pb.CreateJobRequest, context: Context) -> pb.CreateJobResponse:
        """Starts a job, or only checks it."""
        if request.validate_only:
            await self._service.check(request.spec)
            return pb.CreateJobResponse(job=job_pb2.Job(spec=request.spec))
        return pb.CreateJobResponse(job=to_message(await self._service.create(request.request_id, request.spec)))

    async def GetJob(self, request: pb.GetJobRequest, context: Context) -> pb.GetJobResponse:
        """One job."""
        return pb.GetJobResponse(job=to_message(await self._service.get(request.name)))

    async def ListJobs(self, request: pb.ListJobsRequest, context: Context) -> pb.ListJobsResponse:
        """A page of jobs."""
        page = await self._service.page(_states(request.states), request.page_size, request.page_token)
        return pb.ListJobsResponse(jobs=map(to_message, page.items), next_page_token=page.next_token)

    async def WatchJob(self, request: pb.WatchJobRequest, context: Context) -> AsyncIterator[pb.WatchJobResponse]:
        """A job and everything that happens to it."""
        async for event in self._service.watch(request.name, request.skip_curve_points):
            if isinstance(event, Job):
                yield pb.WatchJobResponse(job=to_message(event))
            else:
                yield pb.WatchJobResponse(curve_point=event)

    async def CancelJob(self, request: pb.CancelJobRequest, context: Context) -> pb.CancelJobResponse:
        """Asks a job to stop."""
        return pb.CancelJobResponse(job=to_message(await self._service.cancel(request.name)))

    async def ResumeJob(self, request: pb.ResumeJobRequest, context: Context) -> pb.ResumeJobResponse:
        """Takes a job up again."""
        return pb.ResumeJobResponse(job=to_message(await self._service.resume(request.name)))

    async def ListCorpora(self, request: pb.ListCorporaRequest, context: Context) -> pb.ListCorporaResponse:
        """What DataSpec.corpus may name."""
        return pb.ListCorporaResponse(corpora=await asyncio.to_thread(_corpora))


def to_message(job: Job) -> job_pb2.Job:
    """A job as the contract shows it."""
    return job_pb2.Job(
        name=job.name,
        spec=job.spec,
        state=_STATES[job.state],
        state_message=job.state_message,
        create_time=to_timestamp(job.create_time),
        update_time=to_timestamp(job.update_time),
        end_time=to_timestamp(job.end_time) if job.end_time else None,
        progress=job.progress,
        result=job.result,
        fault=job.fault,
        attempts=job.attempts,
        etag=str(job.revision),
    )


def _states(numbers: Any) -> frozenset[JobState]:
    unknown = [number for number in numbers if number not in _BY_NUMBER]
    if unknown:
        raise InvalidInput(f"states={unknown[0]}: no job is ever in such a state", field="states")
    return frozenset(_BY_NUMBER[number] for number in numbers)


def _corpora() -> list[pb.Corpus]:
    """Blocks: each source is opened to see whether it is at hand."""
    return [_corpus(corpus, corpus.missing()) for corpus in CORPORA.values()]


def _corpus(corpus: Corpus, missing: str) -> pb.Corpus:
    return pb.Corpus(
        name=corpus.name,
        description=corpus.description,
        license=corpus.license,
        languages=corpus.languages,
        available=not missing,
        missing=missing,
        metric=corpus.task.value,
    )
