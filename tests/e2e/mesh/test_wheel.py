"""The demo's turn of the wheel, with the bundled teacher and students."""

from pathlib import Path

import pytest

from seodang.cli.demo.run import JOB, MESSAGING_MODEL, _members
from seodang.cli.demo.wheel import WRITTEN, turn_wheel
from seodang.cli.jobs import read_spec
from seodang.cli.mesh import Mesh, MeshConfig
from seodang.client import AsyncClient

NEEDED = {"teacher", "student", "distill", "messaging"}


@pytest.mark.slow
async def test_what_people_write_becomes_a_set_that_a_job_may_name(tmp_path: Path) -> None:
    members = [member for member in _members("token") if member.name in NEEDED]
    async with (
        Mesh(members, MeshConfig(folder=tmp_path, free_ports=True)) as mesh,
        AsyncClient(mesh.addresses["distill"]) as distill,
        AsyncClient(mesh.addresses["messaging"]) as messaging,
    ):
        turned = await turn_wheel(distill, messaging, MESSAGING_MODEL, "token", read_spec(JOB))
    assert turned.worked, turned
    assert turned.answered.endswith(f": {len(WRITTEN)} prompts, personal data replaced: 1 EMAIL, 1 PHONE")
    assert turned.detail.startswith("accepted as the data of a job")
