"""The composition root: builds every part of the distillation server from its settings, and takes it down again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.util import find_spec
from pathlib import Path

from seodang.api.capture.v1 import capture_pb2, capture_pb2_grpc
from seodang.api.distill.v1 import distill_pb2, distill_pb2_grpc
from seodang.api.registry.v1 import registry_pb2, registry_pb2_grpc
from seodang.base.errors import Unsupported
from seodang.distill.capture.files import DatasetFiles
from seodang.distill.capture.pseudonym_key import open_or_make_pseudonyms
from seodang.distill.capture.service import CaptureService
from seodang.distill.capture.servicer import CaptureServicer
from seodang.distill.clock import utc_now
from seodang.distill.database.ownership import owned_folder
from seodang.distill.database.unit_of_work import open_database
from seodang.distill.jobs.checks import CheckSettings, SpecChecks
from seodang.distill.jobs.feed import JobFeed
from seodang.distill.jobs.service import JobService
from seodang.distill.jobs.servicer import DistillationServicer
from seodang.distill.registry.files import VersionFiles
from seodang.distill.registry.service import RegistryService
from seodang.distill.registry.servicer import RegistryServicer
from seodang.distill.settings import DistillSettings, LauncherKind
from seodang.distill.workers.launcher import Launcher
from seodang.distill.workers.process import ProcessLauncher
from seodang.distill.workers.publication import Publisher
from seodang.distill.workers.run import RetryPolicy, RunParts
from seodang.distill.workers.supervisor import Supervisor
from seodang.provenance import SigningKey
from seodang.rpc import MeshServer, Mount, ServerConfig


@asynccontextmanager
async def running_server(settings: DistillSettings) -> AsyncIterator[MeshServer]:
    """The server, ready. Leaving stops the workers; their jobs go on when a server comes back to the same state.

    Raises:
        Conflict: the port is taken, or another server works on the same state.
        Unavailable: the database does not answer.
        InvalidInput: the database's URL is not one, the signing key is none, or the cluster's settings are bad.
        Unsupported: jobs are for a cluster, and the client for it is not installed.
    """
    async with AsyncExitStack() as stack:
        stack.enter_context(owned_folder(settings.state_dir))
        database = await stack.enter_async_context(open_database(settings.database))
        feed = JobFeed()
        files = VersionFiles(settings.state_dir / "registry")
        await asyncio.to_thread(files.clean)
        key = await asyncio.to_thread(_signing_key, settings)
        datasets = DatasetFiles(settings.state_dir / "datasets", settings.state_dir / "jobs")
        pseudonyms = await asyncio.to_thread(open_or_make_pseudonyms, settings.state_dir / "pseudonym.key")
        capture = CaptureService(database, datasets, pseudonyms, settings.capture_tenant_bytes)
        allowed = CheckSettings(
            settings.teacher_address, settings.data_roots, settings.allowed_licenses, datasets, files.root
        )
        checks = SpecChecks(allowed)
        parts = RunParts(
            database=database,
            feed=feed,
            publisher=Publisher(database, files, key, utc_now),
            jobs_dir=settings.state_dir / "jobs",
            launcher=await stack.enter_async_context(_launcher(settings)),
            resolve=checks.resolve,
            retry=RetryPolicy(settings.attempts_in_a_row, settings.retry_backoff_s, settings.retry_backoff_max_s),
            clock=utc_now,
        )
        supervisor = Supervisor(database, parts, settings.parallel_jobs)
        jobs = JobService(database, feed, checks, supervisor)
        await stack.enter_async_context(_working(supervisor, capture))
        config = ServerConfig(host=settings.host, port=settings.port, grace_s=settings.grace_s)
        server = await stack.enter_async_context(
            MeshServer("distill", _mounts(jobs, RegistryService(database, files), capture), config)
        )
        # Watchers would keep the server from draining, so they are told to go first.
        stack.callback(feed.close)
        await server.set_ready()
        yield server


@asynccontextmanager
async def _launcher(settings: DistillSettings) -> AsyncIterator[Launcher]:
    if settings.launcher is LauncherKind.PROCESS:
        yield ProcessLauncher(settings.worker_command, settings.poll_interval_s)
        return
    if find_spec("kubernetes") is None:
        raise Unsupported(
            "SEODANG_DISTILL_LAUNCHER=kubernetes needs the Kubernetes client: pip install 'seodang[kubernetes]'"
        )
    from seodang.distill.kubernetes.launcher import running_launcher

    async with running_launcher(settings) as launcher:
        yield launcher


def _signing_key(settings: DistillSettings) -> SigningKey:
    if settings.signing_key:
        return SigningKey.open(Path(settings.signing_key))
    return SigningKey.open_or_make(settings.state_dir / "signing-key.pem")


def _mounts(jobs: JobService, registry: RegistryService, capture: CaptureService) -> list[Mount]:
    return [
        Mount(
            CaptureServicer(capture),
            capture_pb2_grpc.add_CaptureServiceServicer_to_server,
            capture_pb2.DESCRIPTOR.services_by_name["CaptureService"].full_name,
        ),
        Mount(
            DistillationServicer(jobs),
            distill_pb2_grpc.add_DistillationServiceServicer_to_server,
            distill_pb2.DESCRIPTOR.services_by_name["DistillationService"].full_name,
        ),
        Mount(
            RegistryServicer(registry),
            registry_pb2_grpc.add_RegistryServiceServicer_to_server,
            registry_pb2.DESCRIPTOR.services_by_name["RegistryService"].full_name,
        ),
    ]


@asynccontextmanager
async def _working(supervisor: Supervisor, capture: CaptureService) -> AsyncIterator[None]:
    # If one of them fails, the group cancels whoever is inside: a server without workers must not look healthy.
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(supervisor.run()), group.create_task(capture.keep_forgetting())]
        yield
        for task in tasks:
            task.cancel()
