"""A mesh of real processes: started together, restarted one by one, stopped together."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from seodang.base.errors import Conflict, Unavailable
from seodang.cli.members import Member
from seodang.cli.mesh import Mesh, MeshConfig, State

SERVER = """
import asyncio, os, sys
from seodang.base.process import run_process
from seodang.rpc import MeshServer, ServerConfig

name = os.environ["MEMBER"]
if name == "broken":
    sys.exit("broken: the folder of the model is missing")

async def serve():
    config = ServerConfig(port=int(os.environ[f"SEODANG_{name.upper()}_PORT"]), grace_s=1)
    async with MeshServer(name, [], config) as server:
        await server.set_ready()
        await server.serve_until_signalled()

run_process(name, serve())
"""


@pytest.fixture
def member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Member]:
    (tmp_path / "mesh_member.py").write_text(SERVER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return lambda name: Member(name, "mesh_member", 0, keeps_state=False, extra_env={"MEMBER": name})


@pytest.fixture
def config(tmp_path: Path) -> MeshConfig:
    return MeshConfig(folder=tmp_path / "mesh", free_ports=True, start_timeout_s=30, restart_backoff_s=0.05)


async def _becomes(mesh: Mesh, name: str, state: State) -> None:
    async with asyncio.timeout(30):
        while mesh.states[name] is not state:
            await asyncio.sleep(0.02)


async def test_a_killed_member_comes_back_alone(member: Callable[[str], Member], config: MeshConfig) -> None:
    async with Mesh([member("one"), member("two")], config) as mesh:
        killed, spared = mesh.pid("one"), mesh.pid("two")
        os.kill(killed, signal.SIGKILL)
        await _becomes(mesh, "one", State.RESTARTING)
        await _becomes(mesh, "one", State.READY)
        assert mesh.pid("one") != killed
        assert (mesh.pid("two"), mesh.states["two"]) == (spared, State.READY)


async def test_leaving_the_mesh_leaves_no_process(member: Callable[[str], Member], config: MeshConfig) -> None:
    async with Mesh([member("one"), member("two")], config) as mesh:
        pids = [mesh.pid("one"), mesh.pid("two")]
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []


async def test_a_member_that_cannot_start_is_named_with_its_last_words(
    member: Callable[[str], Member], config: MeshConfig
) -> None:
    mesh = Mesh([member("one"), member("broken")], config)
    with pytest.raises(Unavailable, match=r"broken ended with status 1:\n.*the folder of the model is missing"):
        await mesh.__aenter__()
    assert not Path(f"/proc/{mesh.pid('one')}").exists()


async def test_a_taken_port_is_named(member: Callable[[str], Member], config: MeshConfig) -> None:
    async with Mesh([member("one")], config) as mesh:
        port = int(mesh.addresses["one"].rpartition(":")[2])
        taken = Member("two", "mesh_member", port, keeps_state=False, extra_env={"MEMBER": "two"})
        with pytest.raises(Conflict, match=f"port {port} .* is taken"):
            await Mesh([taken], MeshConfig(folder=config.folder)).__aenter__()
