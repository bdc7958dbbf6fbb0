"""Settings of the distillation server, from ``SEODANG_DISTILL_*``."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import Field

from seodang.base import ports
from seodang.base.settings import Settings, settings_config

PositiveSeconds = Annotated[float, Field(gt=0)]


class LauncherKind(StrEnum):
    """Where the workers of jobs run."""

    PROCESS = "process"
    """On the machine of the server, as its children."""
    KUBERNETES = "kubernetes"
    """On a cluster, as TrainJobs of Kubeflow Trainer; ``SEODANG_KUBERNETES_*`` says how."""


class DistillSettings(Settings):
    """Where the server listens, what it keeps where, and how it runs its jobs."""

    model_config = settings_config("SEODANG_DISTILL_")

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, lt=65536)] = ports.DISTILL
    grace_s: PositiveSeconds = 10.0
    """How long calls in flight may go on once the server is told to stop."""
    teacher_address: str = ports.local(ports.TEACHER)
    """host:port of the teacher that a job gets if its spec names no address."""
    state_dir: Path = Path("out/state/distill")
    """Job folders, the registry's files and, unless ``database_url`` says otherwise, the database."""
    database_url: str = ""
    """``postgresql://user:password@host:port/database``; empty is SQLite in ``state_dir``."""
    signing_key: str = ""
    """File of the private key (PEM, elliptic curve) that versions are signed with; empty makes ``signing-key.pem`` in
    ``state_dir``, once, for the owner's eyes only."""
    data_roots: tuple[Path, ...] = ()
    """Folders whose JSON-lines files a job may name, as a JSON list; none means that jobs name corpora only."""
    allowed_licenses: frozenset[str] = frozenset()
    """SPDX identifiers that allow training beside the permissive ones, as a JSON list: ``["LicenseRef-Own"]``."""
    capture_tenant_bytes: Annotated[int, Field(ge=0)] = 256 * 2**20
    """Captured traffic that is kept of one tenant; what comes beyond is dropped."""
    parallel_jobs: Annotated[int, Field(ge=1, le=64)] = 1
    """Jobs that run at the same time; the others wait in the queue."""
    launcher: LauncherKind = LauncherKind.PROCESS
    """``process``, or ``kubernetes``: then ``state_dir`` is a volume that the pods of jobs mount too."""
    worker_command: Annotated[tuple[str, ...], Field(min_length=1)] = (sys.executable, "-m", "seodang.distillation")
    """Program that does a job as a process, as a JSON list; the job's folder is appended."""
    attempts_in_a_row: Annotated[int, Field(ge=1)] = 5
    """Workers of one job that may fail one after the other without the job coming any further."""
    retry_backoff_s: PositiveSeconds = 1.0
    """Pause before another worker is started; it doubles with each failure in a row."""
    retry_backoff_max_s: PositiveSeconds = 60.0
    poll_interval_s: PositiveSeconds = 0.25
    """How often a worker's events are taken in."""

    @property
    def database(self) -> str:
        """The URL that counts."""
        return self.database_url or f"sqlite:///{(self.state_dir / 'distill.db').absolute()}"
