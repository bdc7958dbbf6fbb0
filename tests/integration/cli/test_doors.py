"""What people mistype: every command ends with a status and a line that says what was wrong, never with a traceback."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from seodang.base.errors import InvalidInput
from seodang.cli.commands import app
from seodang.cli.jobs import read_spec

NOBODY = "127.0.0.1:9"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["dance"], "No such command 'dance'"),
        (["up", "teacher", "piano"], "no service is called piano: there are"),
        (["students", "poet"], "no job is called poet: there are"),
        (["ready", NOBODY], f"no server serves at {NOBODY}"),
        (["ready", "no address at all"], "is not host:port, such as"),
        (["ask", "hello", "--address", NOBODY], NOBODY),
        (["ask", "hello", "--max-new-tokens", "many"], "'--max-new-tokens': Input should be a valid integer"),
        (["verify", "nowhere"], "there is no nowhere/lineage.json"),
        (["lineage", "nowhere"], "there is no nowhere/lineage.json"),
        (["sign", "nowhere"], "there is no record.json in nowhere"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_command_that_cannot_work_says_why(arguments: list[str], says: str) -> None:
    done = CliRunner(env={"COLUMNS": "300"}).invoke(app, arguments)
    assert done.exit_code in (1, 2), done.output
    assert says in done.output
    assert "Traceback" not in done.output
    assert done.exception is None or isinstance(done.exception, SystemExit)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (None, "No such file"),
        (b"", "line 1 column 1"),
        (b"[]", r"\[\], not an object"),
        (b'{"student": 7}', "student"),
        (b'{"pupil": "robot"}', "pupil"),
        (b'{"student": "\xff"}', "utf-8"),
    ],
    ids=["missing", "empty", "a list", "wrong type", "unknown field", "not UTF-8"],
)
def test_a_job_file_that_is_none_is_named(tmp_path: Path, body: bytes | None, says: str) -> None:
    path = tmp_path / "robot.json"
    if body is not None:
        path.write_bytes(body)
    with pytest.raises(InvalidInput, match=f"robot.json is not a job spec: .*{says}"):
        read_spec(path)
