"""`seodang jobs` and `seodang download` against the real service."""

import json
import uuid
from functools import partial
from pathlib import Path

import pytest
from google.protobuf import json_format
from tests.integration.distill.conftest import Start
from tests.integration.distill.requests import job_spec, until_step
from tests.shell import seodang

from seodang.api.distill.v1 import job_pb2
from seodang.api.registry.v1 import registry_pb2
from seodang.client.download import check_folder

GATE = job_pb2.Gate(min_task_score=0.5, promote_to="production")


def write_spec(folder: Path, spec: job_pb2.JobSpec) -> str:
    path = folder / "job.json"
    path.write_text(json_format.MessageToJson(spec))
    return path.name


async def test_a_job_is_checked_started_followed_and_its_student_fetched(start: Start, tmp_path: Path) -> None:
    client = await start()
    shell = partial(seodang, client, folder=tmp_path)
    spec = write_spec(tmp_path, job_spec(gate=GATE))
    assert await shell("jobs", "check", spec) == (0, "job.json can be started.")
    status, said = await shell("jobs", "list")
    assert (status, said) == (0, "job student made state")
    status, said = await shell("jobs", "start", spec)
    assert status == 0, said
    assert said.startswith("jobs/robot-")
    assert "✓ gate: " in said
    assert said.endswith("models/robot/versions/1: `seodang download models/robot/versions/1`")
    job = said.split()[0]
    status, said = await shell("jobs", "list")
    assert f"{job} robot " in said
    assert " succeeded" in said

    status, said = await shell("download", "models/robot@production")
    assert status == 0, said
    assert said.endswith("models/robot/versions/1 is in robot-1: `seodang verify robot-1` checks where it comes from")
    request = registry_pb2.GetVersionRequest(name="models/robot/versions/1")
    version = (await client.registry.GetVersion(request)).version
    check_folder(version, tmp_path / "robot-1")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith((".", "robot"))) == ["robot-1"]
    assert (await shell("download", "models/robot"))[0] == 0
    (tmp_path / "robot-1" / "config.json").write_text("{}")
    status, said = await shell("download", "models/robot")
    assert (status, said) == (
        2,
        "robot-1 is there and is not models/robot/versions/1: name another folder with --to",
    )


async def test_a_job_is_cancelled_and_goes_on(start: Start, tmp_path: Path) -> None:
    client = await start()
    shell = partial(seodang, client, folder=tmp_path)
    spec = write_spec(tmp_path, job_spec(labels={"hangs-at": "12"}))
    same = ("--detach", "--request-id", str(uuid.uuid4()))
    status, said = await shell("jobs", "start", spec, *same)
    job = said.split()[0]
    assert (status, said) == (0, f"{job} goes on without this command: `seodang jobs watch {job}`")
    assert await shell("jobs", "start", spec, *same) == (status, said)
    await until_step(client, job, 10)
    status, said = await shell("jobs", "cancel", job.removeprefix("jobs/"))
    assert status == 0
    assert said.endswith(f"`seodang jobs resume {job}` goes on.")
    status, said = await shell("jobs", "watch", job)
    assert (status, said.endswith(f"{job} was cancelled: resume it to go on")) == (2, True)
    status, said = await shell("jobs", "resume", job)
    assert (status, said.endswith("`seodang download models/robot/versions/1`")) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("jobs", "watch", "nobody"), "jobs/nobody"),
        (("jobs", "check", "strange.json"), "no data file 'strange.jsonl' below"),
        (("download", "models/nobody"), "models/nobody"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
async def test_what_is_not_there_is_named(start: Start, tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    client = await start()
    strange = {"student": "robot", "teachers": [{"model": "models/teacher"}], "data": {"file": "strange.jsonl"}}
    (tmp_path / "strange.json").write_text(json.dumps(strange))
    status, said = await seodang(client, *arguments, folder=tmp_path)
    assert status == 2
    assert says in said


async def test_a_download_goes_on_from_what_an_earlier_one_left(start: Start, tmp_path: Path) -> None:
    client = await start()
    shell = partial(seodang, client, folder=tmp_path)
    spec = write_spec(tmp_path, job_spec(gate=GATE))
    assert (await shell("jobs", "start", spec))[0] == 0
    request = registry_pb2.GetVersionRequest(name="models/robot/versions/1")
    version = (await client.registry.GetVersion(request)).version
    left = tmp_path / f".mine.{version.sha256[:12]}.partial"
    for number, file in enumerate(version.files):
        path = left / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        # The first file with other content: if it is not asked for again, the check must find it out.
        path.write_bytes(b"\0" * file.bytes if number == 0 else b"")
    status, said = await shell("download", "models/robot", "--to", "mine")
    assert (status, "models/robot/versions/1 cannot be trusted" in said) == (2, True)
    assert not (tmp_path / "mine").exists()
    assert (await shell("download", "models/robot", "--to", "mine"))[0] == 0
    check_folder(version, tmp_path / "mine")
    assert not left.exists()
