"""The fidelity report of a finished job: page and JSON say the same, and nothing that was not measured."""

import json
import re
from pathlib import Path

import msgspec
import pytest
from tests.unit.provenance.fidelity_page import FidelityPage, at, number_of
from tests.unit.provenance.students import attested, finished_job

from seodang.base.errors import Conflict
from seodang.distillation import CurvePoint, EventLog, read_result
from seodang.distillation.result import write_result
from seodang.provenance import SigningKey, attest
from seodang.provenance.fidelity import FidelityReport, read_report, render_page
from seodang.provenance.fidelity.facts import CURVE_DOTS


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return attested(tmp_path_factory.mktemp("made"))


def test_every_number_of_the_page_is_that_of_the_json(student: Path) -> None:
    page = FidelityPage((student / "fidelity.html").read_text())
    report = json.loads((student / "fidelity.json").read_text())
    assert len(page.values) > 40
    for fact, value in page.values.items():
        assert value == at(report, fact), fact
        if value is None:
            assert page.texts[fact] == "not measured"
        else:
            assert number_of(page.texts[fact]) == pytest.approx(value, rel=0.01), fact


def test_the_page_loads_nothing_and_leads_only_to_files_beside_it(student: Path) -> None:
    text = (student / "fidelity.html").read_text()
    page = FidelityPage(text)
    assert page.loads == []
    assert {link for link in page.links if not (student / link).is_file()} == set()
    assert re.findall(r"https?:|//|url\(|@import|src=", text) == []


def test_what_was_not_measured_is_never_a_zero(student: Path) -> None:
    page = FidelityPage((student / "fidelity.html").read_text())
    for fact in ("measurements/1/reverse_kl", "measurements/0/noise_floor_kl", "cost/energy_kwh", "cost/price"):
        assert page.texts[fact] == "not measured"
        assert at(json.loads((student / "fidelity.json").read_text()), fact) is None
    assert "Training curves: not measured" in (student / "fidelity.html").read_text()


def test_a_floor_of_zero_was_measured(tmp_path: Path) -> None:
    report = msgspec.structs.replace(read_report(attested(tmp_path)))
    teacher = msgspec.structs.replace(report.teacher, noise_floor_kl=0.0, noise_floor_agreement=1.0)
    page = FidelityPage(render_page(msgspec.structs.replace(report, measurements=(teacher, *report.measurements[1:]))))
    assert page.texts["measurements/0/noise_floor_kl"] == "0"


def test_curves_of_any_length_are_drawn_with_their_last_point(tmp_path: Path) -> None:
    job = finished_job(tmp_path)
    with EventLog(job.events) as log:
        for step in range(1, 1202):
            for subject in ("student", "alone"):
                held_out = 1 / step if step % 3 == 1 else None
                log.write(
                    CurvePoint(
                        subject=subject, step=step, loss=2 / step, eval_loss=held_out, learning_rate=0.1, tokens_per_s=1
                    )
                )
    attest(job.finished("student"), job, SigningKey.open_or_make(tmp_path / "key.pem"))
    report = read_report(job.finished("student"))
    assert [curve.subject for curve in report.curves] == ["student", "alone"]
    for curve in report.curves:
        assert CURVE_DOTS / 2 < len(curve.training) <= CURVE_DOTS + 1
        assert (curve.training[-1].step, curve.development[-1].step) == (1201, 1201)
    page = FidelityPage((job.finished("student") / "fidelity.html").read_text())
    assert len(page.pictures) == 4


def test_a_name_cannot_become_markup(tmp_path: Path) -> None:
    report = read_report(attested(tmp_path))
    evil = msgspec.structs.replace(report.measurements[2], subject="<script>alert(1)</script>")
    page = render_page(msgspec.structs.replace(report, measurements=(*report.measurements[:2], evil)))
    assert FidelityPage(page).loads == []


def test_the_card_leads_to_the_report(student: Path) -> None:
    card = (student / "README.md").read_text()
    assert "(fidelity.html)" in card
    assert "(fidelity.json)" in card


def test_energy_and_price_stand_on_page_and_card_if_their_rates_were_stated(tmp_path: Path) -> None:
    job = finished_job(tmp_path)
    result = read_result(job.result)
    cost = msgspec.structs.replace(
        result.cost, wall_s=7200.0, watts=450.0, energy_kwh=0.9, price_per_hour=1500.0, price=3000.0, currency="KRW"
    )
    write_result(job.result, msgspec.structs.replace(result, cost=cost))
    student = job.finished("student")
    attest(student, job, SigningKey.open_or_make(tmp_path / "key.pem"))
    page = FidelityPage((student / "fidelity.html").read_text())
    assert page.texts["cost/energy_kwh"] == "0.9 kWh"
    assert page.texts["cost/price"] == "3,000.00 KRW"
    assert "1,500.00 KRW an hour: about 3,000.00" in (student / "README.md").read_text()


def test_a_report_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "fidelity.json").write_text('{"format": "seodang-fidelity/2"}')
    with pytest.raises(Conflict, match="no fidelity report of this version"):
        read_report(tmp_path)


def test_the_json_is_read_back_as_it_was(student: Path) -> None:
    text = (student / "fidelity.json").read_bytes()
    assert msgspec.json.decode(text, type=FidelityReport) == read_report(student)
