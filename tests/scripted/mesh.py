"""A mesh of scripted servers on a thread of its own, for tests that are not coroutines themselves."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tests.scripted.capture import ScriptedCapture
from tests.scripted.distill import ScriptedDistillation, ScriptedRegistry
from tests.scripted.inference import ScriptedInference

from seodang.rpc import MeshServer

T = TypeVar("T")


@dataclass
class ScriptedMesh:
    """Teacher, student and distill servers; ``run`` calls into their loop."""

    loop: asyncio.AbstractEventLoop
    teacher: ScriptedInference = field(
        default_factory=lambda: ScriptedInference(["models/teacher-mini"], architecture="AXK1ForCausalLM")
    )
    student: ScriptedInference = field(
        default_factory=lambda: ScriptedInference([f"models/{name}" for name in ("assistant", "robot", "search")])
    )
    distillation: ScriptedDistillation = field(default_factory=ScriptedDistillation)
    registry: ScriptedRegistry = field(default_factory=ScriptedRegistry)
    capture: ScriptedCapture = field(default_factory=ScriptedCapture)
    servers: dict[str, MeshServer] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """The console's settings; servers that are not here are at an address where nothing listens."""
        names = ("teacher", "student", "distill", "voice", "search", "messaging", "robotics")
        addresses = {name: self.servers[name].address if name in self.servers else "127.0.0.1:9" for name in names}
        return {f"SEODANG_CONSOLE_{name.upper()}_ADDRESS": address for name, address in addresses.items()}

    def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Runs a coroutine on the servers' loop and waits for it."""

        async def call() -> T:
            return await work()

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result(timeout=30)

    def stop(self, name: str) -> None:
        """Ends a server at once, as a crash would."""
        self.run(lambda: self.servers[name]._server.stop(0))

    async def _start(self, stack: AsyncExitStack) -> None:
        mounts: dict[str, list[Any]] = {
            "teacher": [self.teacher.mount()],
            "student": [self.student.mount()],
            "distill": [self.distillation.mount(), self.registry.mount(), self.capture.mount()],
        }
        for name, mounted in mounts.items():
            self.servers[name] = await stack.enter_async_context(MeshServer(name, mounted))
            await self.servers[name].set_ready()


@contextmanager
def scripted_mesh() -> Iterator[ScriptedMesh]:
    """Runs while the context lasts."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="scripted mesh", daemon=True)
    thread.start()
    stack = AsyncExitStack()

    async def make() -> ScriptedMesh:
        mesh = ScriptedMesh(loop)
        await mesh._start(stack)
        return mesh

    mesh = asyncio.run_coroutine_threadsafe(make(), loop).result(timeout=30)
    try:
        yield mesh
    finally:
        for server in mesh.servers.values():
            server.ledger.idle.set()  # what a test left running is not waited for
        asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result(timeout=30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=30)
        loop.close()
