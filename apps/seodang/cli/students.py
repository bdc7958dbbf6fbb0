"""`seodang students`: distils the bundled students through the mesh, and keeps what made each beside it."""

import shutil
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from google.protobuf import json_format
from rich.console import Console

from seodang.api.distill.v1 import job_pb2
from seodang.api.registry.v1 import registry_pb2
from seodang.base.errors import Conflict, InvalidInput
from seodang.cli.contestants import measurement_table, verdict
from seodang.cli.jobs import FollowedJob, follow, read_spec, start
from seodang.cli.members import MEMBERS
from seodang.cli.mesh import Mesh, MeshConfig, select
from seodang.cli.record import write_page
from seodang.client import AsyncClient
from seodang.client.download import download

STUDENTS = Path("models/students")
RECORD = "record.json"


async def make_students(names: Sequence[str], folder: Path, console: Console) -> None:
    """Distils each named student (all when none is named) and puts it below ``models/students``.

    Raises:
        InvalidInput: there is no job of such a name.
        Conflict: what was distilled does not prove where it comes from.
    """
    jobs = {path.stem: path for path in sorted((STUDENTS / "jobs").glob("*.json")) if path.stem != "demo"}
    if strangers := sorted(set(names) - set(jobs)):
        raise InvalidInput(f"no job is called {', '.join(strangers)}: there are {', '.join(jobs)}")
    async with AsyncExitStack() as stack:
        members = select(MEMBERS, ["teacher", "distill"])
        mesh = await stack.enter_async_context(Mesh(members, MeshConfig(folder=folder, free_ports=True)))
        distill = await stack.enter_async_context(AsyncClient(mesh.addresses["distill"]))
        for name in names or jobs:
            console.print(f"\n[bold]{name}")
            followed = await follow(distill, await start(distill, read_spec(jobs[name])), console)
            console.print(measurement_table(followed.job.result.measurements))
            console.print(verdict(followed.job.result.measurements))
            await _bundle(distill, followed, STUDENTS / name)
    write_page(STUDENTS)


async def _bundle(distill: AsyncClient, followed: FollowedJob, folder: Path) -> None:
    """The version's files, and the job that made them as ``record.json``; verified, it replaces what was there."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    request = registry_pb2.GetVersionRequest(name=followed.job.result.version)
    await download(distill, (await distill.registry.GetVersion(request)).version, partial, lambda bytes_present: None)
    (partial / RECORD).write_text(json_format.MessageToJson(_record(followed.job), indent=2) + "\n")
    _check(partial, followed.job.result.version)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def _check(folder: Path, version: str) -> None:
    """Refuses what `seodang verify` would refuse."""
    from seodang.provenance import Outcome, check_student  # the signature's library takes half a second to import

    failed = [f"{check.name}: {check.found}" for check in check_student(folder) if check.outcome is Outcome.FAILS]
    if failed:
        raise Conflict(f"{version} does not prove where it comes from, so it is not bundled: {'; '.join(failed)}")


def _record(job: job_pb2.Job) -> job_pb2.Job:
    """What stays true of a job after its server is gone."""
    return job_pb2.Job(
        name=job.name,
        spec=job.spec,
        state=job.state,
        create_time=job.create_time,
        end_time=job.end_time,
        result=job.result,
        attempts=job.attempts,
    )
