"""`seodang manifest` prints what a server would create."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.integration.distillation.jobs import job, write_data
from tests.published import check_train_job

from seodang.distillation.spec import Teacher

SETTINGS = {"SEODANG_KUBERNETES_IMAGE": "registry.example/seodang:1", "SEODANG_KUBERNETES_CLAIM": "state-distill-0"}


def manifest(folder: Path, settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "seodang.cli", "manifest", folder]
    return subprocess.run(command, env=settings, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "jobs" / "sums-1"
    job(root, Teacher(model="models/teacher", address="teacher:7101"), write_data(tmp_path / "sums.jsonl"))
    return root


def test_the_manifest_is_printed_without_a_cluster(folder: Path) -> None:
    done = manifest(folder, SETTINGS | {"SEODANG_KUBERNETES_NAMESPACE": "research"})
    assert done.returncode == 0, done.stderr
    body = json.loads(done.stdout)
    check_train_job(body)
    assert body["metadata"]["namespace"] == "research"
    assert body["spec"]["trainer"]["args"][-1] == str(folder)


def test_a_missing_setting_is_named(folder: Path) -> None:
    done = manifest(folder, {"SEODANG_KUBERNETES_IMAGE": "x"})
    assert done.returncode == 2
    assert "SEODANG_KUBERNETES_CLAIM" in done.stdout


def test_a_folder_that_is_no_job_is_refused(tmp_path: Path) -> None:
    done = manifest(tmp_path, SETTINGS)
    assert done.returncode == 2
    assert "is not the folder of a job" in done.stdout
