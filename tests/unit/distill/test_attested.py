import shutil
from pathlib import Path

import pytest
from tests.unit.provenance.students import finished_job

from seodang.base.errors import InvalidInput
from seodang.distill.workers.attested import attested_student
from seodang.provenance import SigningKey, check_student


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return SigningKey.open_or_make(tmp_path / "key.pem")


def test_it_holds_and_leaves_the_jobs_own_student_alone(tmp_path: Path, key: SigningKey) -> None:
    job = finished_job(tmp_path)
    before = sorted(path.name for path in job.student.iterdir())
    student = attested_student(job, key)
    assert student == job.root / "published" / "home"
    assert [check.name for check in check_student(student) if check.outcome == "fails"] == []
    assert sorted(path.name for path in job.student.iterdir()) == before


def test_it_is_made_once_so_that_publishing_again_publishes_the_same(tmp_path: Path, key: SigningKey) -> None:
    job = finished_job(tmp_path)
    first = (attested_student(job, key) / "model.sig").read_bytes()
    assert (attested_student(job, key) / "model.sig").read_bytes() == first


def test_what_a_killed_server_had_begun_is_made_anew(tmp_path: Path, key: SigningKey) -> None:
    job = finished_job(tmp_path)
    begun = job.root / ".published.partial" / "home"
    begun.mkdir(parents=True)
    (begun / "README.md").write_text("half")
    student = attested_student(job, key)
    assert [check.name for check in check_student(student) if check.outcome == "fails"] == []
    assert not begun.exists()


def test_a_student_with_a_link_is_refused(tmp_path: Path, key: SigningKey) -> None:
    job = finished_job(tmp_path)
    weights = job.finished("student") / "model.safetensors"
    shutil.move(weights, tmp_path / "elsewhere")
    weights.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InvalidInput, match="symlink"):
        attested_student(job, key)
    assert not (job.root / "published").exists()
