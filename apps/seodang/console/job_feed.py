"""A job as it stands and its curve so far, read bit by bit."""

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from seodang.api.distill.v1 import distill_pb2, job_pb2
from seodang.base.errors import DeadlineExpired
from seodang.client import Client

LOOK_S: Final = 0.6
ENDED: Final = {job_pb2.JOB_STATE_SUCCEEDED, job_pb2.JOB_STATE_FAILED, job_pb2.JOB_STATE_CANCELLED}


@dataclass
class JobFeed:
    """What is known of one job. ``look`` takes what is new since the last time."""

    name: str
    job: job_pb2.Job = field(default_factory=job_pb2.Job)
    curve: list[job_pb2.CurvePoint] = field(default_factory=list)

    @property
    def ended(self) -> bool:
        """Whether nothing new will come unless someone resumes the job."""
        return self.job.state in ENDED

    def look(self, client: Client, timeout_s: float) -> None:
        """Reads for ``LOOK_S``, or until the job has ended; the very first look waits up to ``timeout_s`` for the job.

        Raises:
            SeodangError: the server is down, or knows no such job.
        """
        if not self.job.name:
            self.job = client.distillation.GetJob(distill_pb2.GetJobRequest(name=self.name), timeout=timeout_s).job
        request = distill_pb2.WatchJobRequest(name=self.name, skip_curve_points=len(self.curve))
        # The stream of a running job has no end of its own: silence is the end of what is new.
        with suppress(DeadlineExpired):
            for event in client.distillation.WatchJob(request, timeout=LOOK_S):
                if event.HasField("curve_point"):
                    self.curve.append(event.curve_point)
                else:
                    self.job = event.job
