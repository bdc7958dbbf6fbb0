"""The demo's main path: start, distil, ask, report, stop."""

import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from seodang.api.serving.v1 import placement_pb2
from seodang.base.errors import SeodangError
from seodang.cli.demo.errand import Errand
from seodang.cli.demo.messaging import ask_messaging
from seodang.cli.demo.report import Report, print_report, write_report
from seodang.cli.demo.robotics import ask_robotics
from seodang.cli.demo.search import ask_search
from seodang.cli.demo.voice import ask_voice
from seodang.cli.demo.wheel import TENANT, turn_wheel
from seodang.cli.jobs import FollowedJob, follow, read_spec, start
from seodang.cli.members import MEMBERS, Member
from seodang.cli.mesh import Mesh, MeshConfig
from seodang.client import AsyncClient
from seodang.rpc import from_fault

JOB = Path("models/students/jobs/demo.json")
EXAMPLES = Path("examples/demo")
LIVE_MODEL = "models/live"
MESSAGING_MODEL = "models/messaging"
QUESTION = "한빛 도서관은 몇 시까지 운영하나요?"
UTTERANCE = "오늘 너무 피곤해"


async def run_demo(folder: Path, console: Console) -> None:
    """Runs the whole way once and leaves the report in ``folder``. Whatever it started is stopped when it returns."""
    began_s = time.monotonic()
    spec = read_spec(JOB)
    token = secrets.token_urlsafe(16)
    console.rule("[bold]Seodang: one teacher, many students")
    console.print("Starting the mesh ...")
    async with AsyncExitStack() as stack:
        mesh = await stack.enter_async_context(Mesh(_members(token), MeshConfig(folder=folder, free_ports=True)))
        clients = {
            name: await stack.enter_async_context(AsyncClient(address)) for name, address in mesh.addresses.items()
        }
        console.print(f"{len(mesh.members)} services are up; their logs are in {folder / 'logs'}.\n")
        console.print(f"Distilling '{spec.student}' from {spec.teachers[0].model}, live:")
        followed = await follow(clients["distill"], await start(clients["distill"], spec), console)
        errands = await _run_errands(clients, followed, token, folder, console)
        wheel = await _tried(
            "capture", lambda: turn_wheel(clients["distill"], clients["messaging"], MESSAGING_MODEL, token, spec)
        )
    report = Report(followed, errands, wheel, seconds=time.monotonic() - began_s)
    written = write_report(report, folder)
    print_report(report, written, console)


def _members(token: str) -> list[Member]:
    """Every service but the two for people's browsers, with a secret of the demo's own for the messenger."""
    own = {"SEODANG_MESSAGING_KAKAO_TOKEN": token, "SEODANG_MESSAGING_CAPTURE_TENANT": TENANT}
    return [
        replace(member, extra_env=own) if member.name == "messaging" else member
        for member in MEMBERS
        if member.name not in {"gateway", "console"}
    ]


async def _run_errands(
    clients: dict[str, AsyncClient], followed: FollowedJob, token: str, folder: Path, console: Console
) -> list[Errand]:
    console.print("\nLoading the new student beside the bundled ones ...")
    await _load_live(clients["student"], followed.job.result.version)
    console.print("Asking a student through every adapter ...\n")
    errands: dict[str, Callable[[], Awaitable[Errand]]] = {
        "voice": lambda: ask_voice(clients["voice"], LIVE_MODEL, EXAMPLES / "living_room_light_ko.wav", folder),
        "search": lambda: ask_search(clients["search"], "models/search", EXAMPLES / "documents", QUESTION),
        "messaging": lambda: ask_messaging(clients["messaging"], MESSAGING_MODEL, UTTERANCE, token),
        "robotics": lambda: ask_robotics(clients["robotics"], "models/robot", "GoToLocal", seed=7, language="ko"),
    }
    return [await _tried(adapter, errand) for adapter, errand in errands.items()]


async def _load_live(student: AsyncClient, version: str) -> None:
    request = placement_pb2.LoadModelRequest(name=LIVE_MODEL, version=version)
    async for event in student.placement.LoadModel(request, timeout=120):
        if event.HasField("fault"):
            raise from_fault(event.fault)


async def _tried(adapter: str, errand: Callable[[], Awaitable[Errand]]) -> Errand:
    """An adapter that fails is reported; the others are still asked."""
    began_s = time.monotonic()
    try:
        return await errand()
    except SeodangError as error:
        return Errand(adapter, "", "", f"failed: {error.message}", worked=False, seconds=time.monotonic() - began_s)
