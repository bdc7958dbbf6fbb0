"""DistillationService and RegistryService with jobs and versions that the test sets."""

import asyncio
import math
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import timestamp_pb2

from seodang.api.distill.v1 import distill_pb2, distill_pb2_grpc, job_pb2
from seodang.api.registry.v1 import registry_pb2, registry_pb2_grpc
from seodang.base.errors import Conflict, InvalidInput, NotFound
from seodang.rpc import Mount


def curve(steps: int, subjects: tuple[str, ...] = ("student", "no-teacher")) -> list[job_pb2.CurvePoint]:
    """Falling losses, with held-out points every fifth step of ten."""
    points = []
    for step in range(10, steps + 1, 10):
        for rank, subject in enumerate(subjects):
            loss = 3.2 * math.exp(-step / (90 + 40 * rank)) + 0.35 + 0.25 * rank
            point = job_pb2.CurvePoint(subject=subject, step=step, loss=loss, learning_rate=3e-3, tokens_per_s=9000)
            if step % 50 == 0:
                point.eval_loss = loss + 0.08
            points.append(point)
    return points


def running_job() -> job_pb2.Job:
    """Half way through its training."""
    return job_pb2.Job(
        name="jobs/run-2",
        spec=_spec("assistant", "home"),
        state=job_pb2.JOB_STATE_RUNNING,
        create_time=_now(),
        progress=job_pb2.Progress(
            stage=job_pb2.Progress.STAGE_TRAINING, done=200, total=400, unit="steps", rate=3.5, remaining_s=57,
            subject="student",
        ),
        attempts=2,
        etag="7",
    )  # fmt: skip


def finished_job() -> job_pb2.Job:
    """Measured, passed and published."""
    shown = [("teacher", 11_300_000, 0.94), ("student", 1_200_000, 0.912), ("no-teacher", 1_200_000, 0.871)]
    measured = [
        job_pb2.Measurement(
            subject=subject, parameters=parameters, task_score=score, task_score_low=score - 0.03,
            task_score_high=score + 0.025, metric="exact tool call", examples=400, cross_entropy=0.31,
            **({} if subject == "teacher" else {"forward_kl": 0.021, "top1_agreement": 0.953}),
        )
        for subject, parameters, score in shown
    ]  # fmt: skip
    checks = [
        job_pb2.GateCheck(name="points below teacher", threshold=5, value=2.8, passed=True),
        job_pb2.GateCheck(name="above no-teacher", threshold=0.871, value=0.912, passed=True),
    ]
    return job_pb2.Job(
        name="jobs/run-1",
        spec=_spec("robot", "babyai"),
        state=job_pb2.JOB_STATE_SUCCEEDED,
        create_time=_now(),
        progress=job_pb2.Progress(stage=job_pb2.Progress.STAGE_PUBLISHING),
        result=job_pb2.JobResult(
            version="models/robot/versions/1",
            measurements=measured,
            verdict=job_pb2.GateVerdict(passed=True, checks=checks),
            cost=job_pb2.Cost(teacher_positions=812_000, training_tokens=3_276_800, scoring_s=41, training_s=212,
                              evaluating_s=18, training_flops=2.4e13, signal_bytes=29_000_000),
        ),
        etag="12",
    )  # fmt: skip


@dataclass
class ScriptedDistillation(distill_pb2_grpc.DistillationServiceServicer):
    """Holds ``jobs``, newest first, with their ``curves``; keeps what it was asked to create."""

    jobs: dict[str, job_pb2.Job] = field(default_factory=dict)
    curves: dict[str, list[job_pb2.CurvePoint]] = field(default_factory=dict)
    created: list[distill_pb2.CreateJobRequest] = field(default_factory=list)
    skipped: list[int] = field(default_factory=list)

    def mount(self) -> Mount:
        """For ``MeshServer``."""
        add = distill_pb2_grpc.add_DistillationServiceServicer_to_server
        return Mount(self, add, "seodang.api.distill.v1.DistillationService")

    async def ListJobs(self, request: distill_pb2.ListJobsRequest, context: Any) -> distill_pb2.ListJobsResponse:
        return distill_pb2.ListJobsResponse(jobs=self.jobs.values())

    async def GetJob(self, request: distill_pb2.GetJobRequest, context: Any) -> distill_pb2.GetJobResponse:
        return distill_pb2.GetJobResponse(job=self._job(request.name))

    async def WatchJob(
        self, request: distill_pb2.WatchJobRequest, context: Any
    ) -> AsyncIterator[distill_pb2.WatchJobResponse]:
        job = self._job(request.name)
        self.skipped.append(request.skip_curve_points)
        yield distill_pb2.WatchJobResponse(job=job)
        for point in self.curves.get(request.name, [])[request.skip_curve_points :]:
            yield distill_pb2.WatchJobResponse(curve_point=point)
        if job.state in (job_pb2.JOB_STATE_QUEUED, job_pb2.JOB_STATE_RUNNING):
            await asyncio.Event().wait()

    async def CreateJob(self, request: distill_pb2.CreateJobRequest, context: Any) -> distill_pb2.CreateJobResponse:
        if not request.spec.data.WhichOneof("source"):
            raise InvalidInput("spec.data: name a corpus, a file or a dataset", field="spec.data")
        self.created.append(request)
        return distill_pb2.CreateJobResponse(job=job_pb2.Job(name="jobs/new", spec=request.spec))

    async def CancelJob(self, request: distill_pb2.CancelJobRequest, context: Any) -> distill_pb2.CancelJobResponse:
        self._job(request.name).state = job_pb2.JOB_STATE_CANCELLED
        return distill_pb2.CancelJobResponse(job=self._job(request.name))

    async def ResumeJob(self, request: distill_pb2.ResumeJobRequest, context: Any) -> distill_pb2.ResumeJobResponse:
        self._job(request.name).state = job_pb2.JOB_STATE_RUNNING
        return distill_pb2.ResumeJobResponse(job=self._job(request.name))

    async def ListCorpora(
        self, request: distill_pb2.ListCorporaRequest, context: Any
    ) -> distill_pb2.ListCorporaResponse:
        home = distill_pb2.Corpus(name="home", license="CC-BY-4.0", available=True, metric="exact tool call")
        robot = distill_pb2.Corpus(name="babyai", license="Apache-2.0", available=True, metric="success")
        gone = distill_pb2.Corpus(name="clinc150", license="CC-BY-3.0", missing="put the file into the data folder")
        return distill_pb2.ListCorporaResponse(corpora=[home, robot, gone])

    def _job(self, name: str) -> job_pb2.Job:
        if name not in self.jobs:
            raise NotFound(f"no job {name}")
        return self.jobs[name]


@dataclass
class ScriptedRegistry(registry_pb2_grpc.RegistryServiceServicer):
    """Holds ``versions``, newest first; aliases move as they are told."""

    versions: list[registry_pb2.Version] = field(default_factory=list)
    files: dict[tuple[str, str], bytes] = field(default_factory=dict)
    """(version, path) -> content."""
    downloads: int = 0

    def mount(self) -> Mount:
        """For ``MeshServer``."""
        add = registry_pb2_grpc.add_RegistryServiceServicer_to_server
        return Mount(self, add, "seodang.api.registry.v1.RegistryService")

    async def ListVersions(
        self, request: registry_pb2.ListVersionsRequest, context: Any
    ) -> registry_pb2.ListVersionsResponse:
        return registry_pb2.ListVersionsResponse(versions=self.versions)

    async def PromoteVersion(
        self, request: registry_pb2.PromoteVersionRequest, context: Any
    ) -> registry_pb2.PromoteVersionResponse:
        version = next(version for version in self.versions if version.name == request.version)
        if not version.passed_gate:
            raise Conflict(f"{version.name} did not pass its gate: look at its job for the checks that failed")
        return registry_pb2.PromoteVersionResponse(alias=self._move(request.alias, version))

    async def RollbackAlias(
        self, request: registry_pb2.RollbackAliasRequest, context: Any
    ) -> registry_pb2.RollbackAliasResponse:
        return registry_pb2.RollbackAliasResponse(alias=self._move(request.name.partition("@")[2], self.versions[-1]))

    async def DownloadVersion(
        self, request: registry_pb2.DownloadVersionRequest, context: Any
    ) -> AsyncIterator[registry_pb2.DownloadVersionResponse]:
        self.downloads += 1
        for path in request.paths:
            if (request.version, path) not in self.files:
                raise InvalidInput(f"{request.version} has no file {path!r}", field="paths")
            content = self.files[request.version, path]
            for offset in range(0, len(content), 10):
                yield registry_pb2.DownloadVersionResponse(path=path, offset=offset, data=content[offset : offset + 10])

    async def GetLineage(
        self, request: registry_pb2.GetLineageRequest, context: Any
    ) -> registry_pb2.GetLineageResponse:
        kinds = registry_pb2.LineageNode
        student = request.version
        nodes = [
            kinds(id="models/teacher-mini", kind=kinds.KIND_TEACHER, facts={"weights": "ab" * 32}),
            kinds(id="babyai", kind=kinds.KIND_DATA, facts={"licence": "Apache-2.0"}),
            kinds(id="offline", kind=kinds.KIND_RECIPE, facts={"divergence": "forward KL"}),
            kinds(id=student, kind=kinds.KIND_STUDENT),
        ]
        edges = [registry_pb2.LineageEdge(**{"from": node.id, "to": student}) for node in nodes[:-1]]
        return registry_pb2.GetLineageResponse(nodes=nodes, edges=edges)

    def _move(self, alias: str, to: registry_pb2.Version) -> registry_pb2.Alias:
        name = f"{to.name.partition('/versions/')[0]}@{alias}"
        for version in self.versions:
            if name in version.aliases:
                version.aliases.remove(name)
        to.aliases.append(name)
        return registry_pb2.Alias(name=name, version=to.name)


def two_versions() -> list[registry_pb2.Version]:
    """The newer one did not pass its gate; the older one is in production."""
    common = {"parameters": 1_200_000, "total_bytes": 4_900_000, "sha256": "5d" * 32, "create_time": _now()}
    return [
        registry_pb2.Version(name="models/robot/versions/2", job="jobs/run-3", scores={"success": 0.81}, **common),
        registry_pb2.Version(
            name="models/robot/versions/1", job="jobs/run-1", passed_gate=True, scores={"success": 0.912},
            aliases=["models/robot@production"], **common,
        ),
    ]  # fmt: skip


def _spec(student: str, corpus: str) -> job_pb2.JobSpec:
    return job_pb2.JobSpec(
        student=student,
        teachers=[job_pb2.Teacher(model="models/teacher-mini")],
        data=job_pb2.DataSpec(corpus=corpus),
        shape=job_pb2.StudentShape(dense=job_pb2.DenseShape(hidden_size=128, layers=4)),
        recipe=job_pb2.Recipe(kind=job_pb2.Recipe.KIND_OFFLINE),
        budget=job_pb2.Budget(steps=400),
    )


def _now() -> timestamp_pb2.Timestamp:
    now = timestamp_pb2.Timestamp()
    now.GetCurrentTime()
    return now
