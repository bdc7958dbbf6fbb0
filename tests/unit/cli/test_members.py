"""Every member gets settings that its own process understands."""

import importlib
import os
from pathlib import Path

import pytest

from seodang.base.settings import Settings
from seodang.cli.members import MEMBERS, Member, environment


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.name)
def test_a_member_understands_its_environment(member: Member, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = {each.name: f"127.0.0.1:{each.port}" for each in MEMBERS}
    for name in [name for name in os.environ if name.startswith("SEODANG_")]:
        monkeypatch.delenv(name)
    for name, value in environment(member, addresses, tmp_path).items():
        monkeypatch.setenv(name, value)
    module = importlib.import_module(f"{member.module}.settings")
    [settings] = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Settings) and value is not Settings
    ]
    loaded = settings.load().model_dump()
    assert [loaded["port"], *(loaded[f"{upstream}_address"] for upstream in member.upstreams)] == [
        member.port,
        *(addresses.get(upstream, addresses["distill"]) for upstream in member.upstreams),
    ]


def test_a_member_outside_the_mesh_is_expected_at_its_usual_address(tmp_path: Path) -> None:
    [gateway] = [member for member in MEMBERS if member.name == "gateway"]
    env = environment(gateway, {"gateway": "127.0.0.1:9000"}, tmp_path)
    assert env["SEODANG_GATEWAY_TEACHER_ADDRESS"] == "127.0.0.1:7101"
