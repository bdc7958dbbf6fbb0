"""A tiny job against a real teacher, to the page that tells what came of it."""

import json
from pathlib import Path

import pytest
from tests.integration.distillation.jobs import NO_TEACHER, job
from tests.unit.provenance.fidelity_page import FidelityPage, at, number_of

from seodang.distillation import JobFolder, read_result
from seodang.distillation.cost import Rates
from seodang.distillation.job import run_job
from seodang.distillation.spec import Baseline, Recipe, Teacher
from seodang.distillation.teacher import Patience
from seodang.provenance import Outcome, SigningKey, attest, check_student

SEQUENCE_LEVEL = Baseline(name="answers-only", recipe=Recipe(kind="sequence_level"))


@pytest.fixture(scope="module")
def finished(tutor: Teacher, data: Path, tmp_path_factory: pytest.TempPathFactory) -> JobFolder:
    folder = job(tmp_path_factory.mktemp("job") / "run-1", tutor, data, baselines=(NO_TEACHER, SEQUENCE_LEVEL))
    run_job(folder, Patience(limit_s=60), rates=Rates(watts=300.0))
    attest(folder.finished("student"), folder, SigningKey.open_or_make(folder.root / "key.pem"))
    return folder


def test_the_page_of_a_job_says_what_its_json_and_its_result_say(finished: JobFolder) -> None:
    student = finished.finished("student")
    page = FidelityPage((student / "fidelity.html").read_text())
    report = json.loads((student / "fidelity.json").read_text())
    for fact, value in page.values.items():
        assert value == at(report, fact), fact
        if value is not None:
            shown = 6e-3 if fact.endswith("_s") else 6e-4  # seconds have two decimals
            assert number_of(page.texts[fact]) == pytest.approx(value, rel=0.01, abs=shown), fact
    measured = read_result(finished.result).measurements
    assert [each["subject"] for each in report["measurements"]] == ["teacher", "student", "no-teacher", "answers-only"]
    for told, each in zip(report["measurements"], measured, strict=True):
        assert told["task_score"] == each.task_score
        assert told["reverse_kl"] == each.reverse_kl


def test_everything_that_can_be_measured_is(finished: JobFolder) -> None:
    text = (finished.finished("student") / "fidelity.html").read_text()
    absent = [fact for fact, value in FidelityPage(text).values.items() if value is None]
    assert absent == ["cost/price_per_hour", "cost/price"]
    assert len(FidelityPage(text).pictures) == 4
    assert "http" not in text.replace("http-equiv", "")


def test_budgets_of_student_and_baselines_are_equal(finished: JobFolder) -> None:
    student, *baselines = (each.training_tokens or 0 for each in read_result(finished.result).measurements[1:])
    assert baselines == pytest.approx([student, student], rel=0.02)


def test_what_is_signed_covers_the_report(finished: JobFolder) -> None:
    student = finished.finished("student")
    assert [check.name for check in check_student(student) if check.outcome is Outcome.FAILS] == []
    (student / "fidelity.html").write_text("")
    assert "files" in {check.name for check in check_student(student) if check.outcome is Outcome.FAILS}
