"""A student that is what it says it is, and every way in which it may not be."""

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from model_signing import hashing, signing
from tests.unit.provenance.students import attested

from seodang.provenance import Check, Outcome, PublicKey, SigningKey, TeacherFolder, check_student, tokenizer_sha256


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return attested(tmp_path_factory.mktemp("made"))


@pytest.fixture
def student(untouched: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(untouched, tmp_path / "home"))


def failures(checks: tuple[Check, ...]) -> dict[str, str]:
    return {check.name: check.found for check in checks if check.outcome is Outcome.FAILS}


def change_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content, indent=2))


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


def test_a_student_as_it_was_published_holds(student: Path) -> None:
    checks = check_student(student)
    assert failures(checks) == {}
    held = [check.name for check in checks if check.outcome is Outcome.HOLDS]
    assert held == ["signature", "files", "student", "tokenizer", "job", "fidelity", "record"]


def test_without_a_trusted_key_it_does_not_claim_to_know_who_signed(student: Path) -> None:
    assert "not who signed" in check_student(student)[0].found


def test_one_byte_of_the_weights_is_found_and_named(student: Path) -> None:
    flip(student / "model.safetensors", 700_000)
    failed = failures(check_student(student))
    assert set(failed) == {"files", "student"}
    assert all("model.safetensors has sha256" in found for found in failed.values())


def test_another_tokenizer_is_found_and_named(student: Path) -> None:
    (student / "tokenizer.json").write_text(json.dumps({"model": {"type": "Unigram"}}))
    failed = failures(check_student(student))
    assert set(failed) == {"files", "student", "tokenizer"}
    assert "tokenizer.json" in failed["files"]
    assert "models/teacher had" in failed["tokenizer"]


def test_another_chat_template_is_another_tokenizer(student: Path) -> None:
    (student / "chat_template.jinja").write_text("{{ messages }}")
    assert "tokenizer" in failures(check_student(student))


def test_an_edited_lineage_is_found_and_named(student: Path) -> None:
    change_json(student / "lineage.json", lambda made: made["lineage"]["data"].update(license="CC0-1.0"))
    failed = failures(check_student(student))
    assert set(failed) == {"files"}
    assert failed["files"].startswith("lineage.json has sha256")


def test_a_lineage_edited_to_fit_other_weights_is_found(student: Path) -> None:
    change_json(student / "lineage.json", lambda made: made["lineage"].update(student_sha256="e" * 64))
    assert "its files make" in failures(check_student(student))["student"]


def test_better_scores_in_the_lineage_are_found(student: Path) -> None:
    change_json(student / "lineage.json", lambda made: made["measurements"][1].update(task_score=0.99))
    failed = failures(check_student(student))
    assert "result.measurements[1].task_score is 0.91, signed is 0.99" in failed["record"]
    assert "files" in failed


def test_a_lineage_of_unknown_keys_is_refused(student: Path) -> None:
    change_json(student / "lineage.json", lambda made: made.update(blessed=True))
    assert "no lineage of this version" in failures(check_student(student))["lineage"]


def test_another_job_is_found(student: Path) -> None:
    change_json(student / "job.json", lambda job: job.update(seed=8))
    failed = failures(check_student(student))
    assert set(failed) == {"files", "job", "record"}
    assert "spec.seed is 7, signed is 8" in failed["record"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda job: job["result"]["measurements"][1].update(taskScore=0.99), "measurements[1].task_score is 0.99"),
        (
            lambda job: job["result"]["measurements"][1]["reliability"][0].update(accuracy=0.8),
            "measurements[1].reliability[0].accuracy is 0.8",
        ),
        (
            lambda job: job["result"]["measurements"][1]["reliability"].pop(),
            "the length of result.measurements[1].reliability is 0",
        ),
        (lambda job: job["result"]["measurements"].pop(), "result.measurements is 2"),
        (lambda job: job["result"]["verdict"].update(passed=False), "verdict.passed is False"),
        (lambda job: job["result"]["verdict"]["checks"][0].update(threshold=9), "checks[0].threshold is 9.0"),
        (lambda job: job["result"]["cost"].update(teacherPositions="5"), "cost.teacher_positions is 5,"),
        (lambda job: job["spec"].update(student="robot"), "spec.student is 'robot'"),
        (lambda job: job["spec"]["data"].update(file="other.jsonl"), "spec.data is"),
        (lambda job: job.update(name="jobs/run-2"), "name is 'jobs/run-2'"),
    ],
)
def test_a_record_that_says_something_else_is_refused(
    student: Path, change: Callable[[dict[str, Any]], object], named: str
) -> None:
    change_json(student / "record.json", change)
    failed = failures(check_student(student))
    assert set(failed) == {"record"}
    assert named in failed["record"]


def test_a_student_without_a_record_is_whole(student: Path) -> None:
    (student / "record.json").unlink()
    assert failures(check_student(student)) == {}


@pytest.mark.parametrize("name", ["README.md", "signer.pem", "config.json"])
def test_a_file_that_is_missing_or_changed_is_named(student: Path, name: str, tmp_path: Path) -> None:
    key = shutil.copy(student / "signer.pem", tmp_path / "trusted.pem")
    (student / name).write_text("{}")
    assert f"{name} has sha256" in failures(check_student(student, key))["files"]
    (student / name).unlink()
    assert f"{name} is missing" in failures(check_student(student, key))["files"]


@pytest.mark.parametrize("name", ["modeling_home.py", ".gitattributes", "record.json/hidden.py", "model.bin"])
def test_a_file_that_nobody_signed_is_named(student: Path, name: str) -> None:
    (student / "record.json").unlink()
    (student / name).parent.mkdir(exist_ok=True)
    (student / name).write_text("import os")
    assert f"{name} is not part of it" in failures(check_student(student))["files"]


def test_a_link_to_a_file_outside_is_refused(student: Path, tmp_path: Path) -> None:
    weights = student / "model.safetensors"
    shutil.move(weights, tmp_path / "elsewhere")
    weights.symlink_to(tmp_path / "elsewhere")
    assert "symlink" in failures(check_student(student))["signature"]


def test_a_folder_without_a_signature_is_called_unsigned(student: Path) -> None:
    (student / "model.sig").unlink()
    assert failures(check_student(student))["signature"].startswith("unsigned")


def test_the_trusted_key_of_the_signer_is_accepted(student: Path, tmp_path: Path) -> None:
    key = shutil.copy(student / "signer.pem", tmp_path / "trusted.pem")
    checks = check_student(student, key)
    assert failures(checks) == {}
    assert checks[0].found == f"by the trusted key {PublicKey.read(key).fingerprint[:16]}"


def test_another_key_is_refused_and_both_are_named(student: Path, tmp_path: Path) -> None:
    other = SigningKey.open_or_make(tmp_path / "other.pem").public
    (tmp_path / "trusted.pem").write_bytes(other.pem)
    found = failures(check_student(student, tmp_path / "trusted.pem"))["signature"]
    assert other.fingerprint[:16] in found
    assert PublicKey.read(student / "signer.pem").fingerprint[:16] in found


def test_a_student_signed_again_by_somebody_else_does_not_pass_for_the_trusted_key(tmp_path: Path) -> None:
    student = attested(tmp_path, SigningKey.open_or_make(tmp_path / "stranger.pem"))
    trusted = SigningKey.open_or_make(tmp_path / "own.pem").public
    (tmp_path / "trusted.pem").write_bytes(trusted.pem)
    assert failures(check_student(student)) == {}
    assert "signature" in failures(check_student(student, tmp_path / "trusted.pem"))


def test_a_manifest_that_names_the_key_but_is_not_signed_by_it_is_refused(student: Path) -> None:
    flip(student / "model.safetensors", 0)

    def forge(bundle: dict[str, Any]) -> None:
        statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
        statement["predicate"]["resources"][0]["digest"] = "0" * 64
        bundle["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()

    change_json(student / "model.sig", forge)
    assert "does not hold" in failures(check_student(student))["signature"]


def test_a_signature_that_looks_away_from_the_weights_is_not_enough(student: Path, tmp_path: Path) -> None:
    key = SigningKey.open_or_make(tmp_path / "stranger.pem")
    (student / "signer.pem").write_bytes(key.public.pem)
    looking_away = hashing.Config().set_ignored_paths(paths=["model.safetensors", "model.sig", "record.json"])
    signer = signing.Config().set_hashing_config(looking_away).use_elliptic_key_signer(private_key=key.path)
    signer.sign(student, student / "model.sig")
    assert failures(check_student(student)) == {"files": "model.safetensors is not part of it"}


@pytest.mark.parametrize("content", ["", "{}", "[]", "한국", '{"dsseEnvelope": {"payload": "e30="}}'])
def test_a_signature_that_is_none_is_refused(student: Path, content: str) -> None:
    (student / "model.sig").write_text(content)
    assert "no signature of a model" in failures(check_student(student))["signature"]


def test_the_teacher_at_hand_is_compared_with_the_one_that_taught(student: Path, tmp_path: Path) -> None:
    digest = tokenizer_sha256(student)
    assert failures(check_student(student, teacher=TeacherFolder(tmp_path, "a" * 64, digest))) == {}
    other_weights = failures(check_student(student, teacher=TeacherFolder(tmp_path, "c" * 64, digest)))
    assert f"weights in {tmp_path}" in other_weights["teacher"]
    other_tokenizer = failures(check_student(student, teacher=TeacherFolder(tmp_path, "a" * 64, "c" * 64)))
    assert "tokenizer or chat template" in other_tokenizer["teacher"]


def test_a_fidelity_report_of_other_numbers_is_found_and_named(student: Path) -> None:
    change_json(student / "fidelity.json", lambda report: report["measurements"][1].update(forward_kl=0.001))
    failed = failures(check_student(student))
    assert set(failed) == {"files", "fidelity"}
    assert "measurements" in failed["fidelity"]


def test_a_changed_page_is_found_and_named(student: Path) -> None:
    (student / "fidelity.html").write_text("<p>all is well")
    assert "fidelity.html has sha256" in failures(check_student(student))["files"]


@pytest.mark.parametrize(
    "bundled", sorted(Path("models/students").glob("*/lineage.json")), ids=lambda path: path.parent.name
)
def test_a_student_from_before_there_were_reports_still_holds(bundled: Path) -> None:
    checks = check_student(bundled.parent)
    assert failures(checks) == {}
    if not (bundled.parent / "fidelity.json").exists():
        assert next(check for check in checks if check.name == "fidelity").outcome is Outcome.SKIPPED
