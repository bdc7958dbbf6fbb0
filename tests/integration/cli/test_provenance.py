"""`seodang verify`, `lineage` and `sign`, as people type them."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import json_format
from tests.tiny_checkpoints import build
from tests.unit.provenance.students import attested, finished_job, record

from seodang.provenance import SigningKey


def seodang(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "seodang.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return attested(tmp_path_factory.mktemp("made"))


def test_a_whole_student_is_told_in_one_line_a_check(student: Path) -> None:
    done = seodang("verify", student)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[:2] for line in lines[:-1]] == [
        ["✓", "signature"], ["✓", "files"], ["✓", "student"], ["✓", "tokenizer"], ["✓", "job"],
        ["✓", "fidelity"], ["✓", "record"], ["–", "teacher"],
    ]  # fmt: skip
    assert lines[-1].endswith("is what it says it is.")


def test_a_student_of_another_teacher_and_another_key_ends_with_status_one(student: Path, tmp_path: Path) -> None:
    teacher = build(tmp_path / "other", "llama")
    key = tmp_path / "other.pem"
    key.write_bytes(SigningKey.open_or_make(tmp_path / "private.pem").public.pem)
    done = seodang("verify", student, "--key", key, "--teacher", teacher)
    assert done.returncode == 1
    failed = [line for line in done.stdout.splitlines() if line.startswith("✗")]
    assert [line.split()[1] for line in failed] == ["signature", "teacher"]
    assert str(teacher) in failed[1]


def test_a_folder_that_is_no_student_is_refused_with_what_to_do(tmp_path: Path) -> None:
    for command in ("verify", "lineage"):
        done = seodang(command, tmp_path)
        assert done.returncode == (1 if command == "verify" else 2)
        assert "lineage.json" in done.stdout


@pytest.mark.parametrize(
    ("options", "begins"), [([], "home\n"), (["--mermaid"], "flowchart LR\n"), (["--dot"], "digraph lineage {\n")]
)
def test_lineage_is_drawn_for_people_and_for_charts(student: Path, options: list[str], begins: str) -> None:
    drawn = seodang("lineage", student, *options).stdout
    assert drawn.startswith(begins)
    assert "models/teacher" in drawn
    assert "report in fidelity.html" in drawn


def test_a_student_that_was_bundled_unsigned_is_signed_from_the_state_of_its_server(tmp_path: Path) -> None:
    job = finished_job(tmp_path)
    student = Path(shutil.copytree(job.student, tmp_path / "home"))
    (student / "record.json").write_text(json_format.MessageToJson(record()))
    assert "unsigned" in seodang("verify", student).stdout
    done = seodang("sign", student, "--state", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    key = tmp_path / "trusted.pem"
    key.write_bytes(SigningKey.open(tmp_path / "signing-key.pem").public.pem)
    assert seodang("verify", student, "--key", key).returncode == 0


def test_a_student_whose_job_nobody_tells_is_not_signed(tmp_path: Path) -> None:
    job = finished_job(tmp_path)
    student = Path(shutil.copytree(job.student, tmp_path / "home"))
    done = seodang("sign", student, "--state", tmp_path)
    assert done.returncode == 2
    assert "name the job" in done.stdout
    assert seodang("sign", student, "--state", tmp_path, "--job", "run-1").returncode == 0
