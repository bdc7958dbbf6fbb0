"""What a finished student is given: only if it is the one that was measured."""

import json
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.provenance.students import attested, finished_job

from seodang.base.errors import Conflict, InvalidInput
from seodang.distillation.spec import encode_spec, read_spec
from seodang.provenance import SigningKey, attest, check_student, dot, lineage_graph, mermaid, read_provenance


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return attested(tmp_path_factory.mktemp("made"))


def test_the_card_says_all_that_somebody_must_know(student: Path) -> None:
    card = (student / "README.md").read_text()
    for told in (
        "`" + "a" * 64 + "`", "CC-BY-4.0 AND MIT", "400 steps of 8,192 tokens", "94.0 %", "87.0 % – 94.0 %", "alone",
        "**passed**", "points below teacher", "5,000 positions", "distillation 0123456789abcdef", "2.13.0",
    ):  # fmt: skip
        assert told in card


def test_the_front_matter_is_yaml_that_a_hub_reads(student: Path) -> None:
    yaml = pytest.importorskip("yaml")
    front = yaml.safe_load((student / "README.md").read_text().split("---")[1])
    assert front["library_name"] == "transformers"
    assert front["model-index"][0]["results"][0]["metrics"] == [{"type": "exact answer", "value": 0.91}]


def test_the_project_that_defines_the_format_accepts_the_signature(student: Path) -> None:
    command = [sys.executable, "-m", "model_signing", "verify", "key", str(student), "--signature",
               str(student / "model.sig"), "--public_key", str(student / "signer.pem")]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Verification succeeded" in done.stdout


def test_nothing_of_the_chain_imports_torch() -> None:
    program = "import sys; sys.modules['torch'] = None; import seodang.provenance"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_student_that_is_not_the_one_that_was_measured_is_refused_and_the_file_named(tmp_path: Path) -> None:
    job = finished_job(tmp_path)
    student = Path(shutil.copytree(job.student, tmp_path / "home"))
    (student / "config.json").write_text("{}")
    with pytest.raises(Conflict, match=r"config\.json has sha256") as caught:
        attest(student, job, SigningKey.open_or_make(tmp_path / "key.pem"))
    assert caught.value.reason == "STUDENT_CHANGED"
    assert not (student / "model.sig").exists()


def test_a_job_that_was_edited_is_refused(tmp_path: Path) -> None:
    job = finished_job(tmp_path)
    job.spec.write_text(job.spec.read_text().replace('"seed": 7', '"seed": 8'))
    with pytest.raises(Conflict) as caught:
        attest(job.finished("student"), job, SigningKey.open_or_make(tmp_path / "key.pem"))
    assert caught.value.reason == "JOB_CHANGED"


def test_a_job_written_before_a_field_existed_is_published_with_the_bytes_that_were_measured(tmp_path: Path) -> None:
    job = finished_job(tmp_path)
    older = json.loads(job.spec.read_text())
    del older["labels"]
    job.spec.write_text(json.dumps(older))
    student = job.finished("student")
    attest(student, job, SigningKey.open_or_make(tmp_path / "key.pem"))
    assert (student / "job.json").read_bytes() == encode_spec(read_spec(job.spec))
    assert {check.name for check in check_student(student) if check.outcome == "fails"} == set()


def test_attesting_again_replaces_what_was_there(tmp_path: Path) -> None:
    job = finished_job(tmp_path)
    student = job.finished("student")
    for name in ("first", "second"):
        key = SigningKey.open_or_make(tmp_path / f"{name}.pem")
        attest(student, job, key)
    assert (student / "signer.pem").read_bytes() == key.public.pem
    assert [check.name for check in check_student(student) if check.outcome == "fails"] == []


def test_the_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "state" / "key.pem"
    made = SigningKey.open_or_make(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert SigningKey.open_or_make(path).public == made.public


@pytest.mark.parametrize("algorithm", ["ed25519", "rsa"])
def test_a_key_of_another_kind_is_refused(tmp_path: Path, algorithm: str) -> None:
    path = tmp_path / "key.pem"
    command = ["openssl", "genpkey", "-algorithm", algorithm, "-out", str(path)]
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the key")
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(InvalidInput, match="another kind of key"):
        SigningKey.open(path)


@pytest.mark.parametrize("content", [b"", b"no key", b"\xff"])
def test_what_is_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match="no unencrypted private key"):
        SigningKey.open(path)


def test_the_graph_leads_from_everything_that_went_in_to_the_student(student: Path) -> None:
    graph = lineage_graph(read_provenance(student))
    assert [node.kind for node in graph.nodes] == ["teacher", "data", "recipe", "code", "student", "evaluation"]
    for drawn, arrow in ((mermaid(graph), "-->"), (dot(graph), "->")):
        for source, target in graph.edges:
            assert f"{source.id} {arrow} {target.id}" in drawn
