"""What the pages that watch show: mesh, jobs, registry."""

from collections.abc import Callable
from typing import Any

from streamlit.testing.v1 import AppTest
from tests.scripted.distill import curve, finished_job, running_job, two_versions
from tests.scripted.mesh import ScriptedMesh

from seodang.api.distill.v1 import job_pb2
from seodang.api.types.v1 import fault_pb2

Open = Callable[[str], AppTest]


def _texts(elements: Any) -> str:
    return "\n".join(str(element.value) for element in elements)


def _column(app: AppTest, table: int, name: str) -> list[Any]:
    return list(app.dataframe[table].value[name])


def test_the_mesh_page_counts_and_lists_servers_and_models(page: Open) -> None:
    app = page("overview")
    assert {metric.label: metric.value for metric in app.metric}["Servers serving"] == "3 of 7"
    states = dict(zip(_column(app, 0, "Server"), _column(app, 0, "State"), strict=True))
    assert (states["teacher"], states["student"], states["voice"]) == ("serving", "serving", "down")
    assert _column(app, 1, "Model") == ["teacher-mini", "assistant", "robot", "search"]


def test_a_server_that_is_down_is_shown_with_what_to_do(page: Open) -> None:
    assert "python -m seodang.adapters.voice" in _texts(page("overview").error)


def test_a_server_that_dies_is_down_at_the_next_look(mesh: ScriptedMesh, page: Open) -> None:
    app = page("overview")
    mesh.stop("teacher")
    app.run()
    assert {metric.label: metric.value for metric in app.metric}["Servers serving"] == "2 of 7"
    assert "python -m seodang.teacher" in _texts(app.error)


def test_a_server_that_loads_is_starting(mesh: ScriptedMesh, page: Open) -> None:
    mesh.run(lambda: mesh.servers["student"].set_ready(False))
    assert _column(page("overview"), 0, "State")[1] == "starting"


def test_without_a_job_the_page_says_where_to_start_one(page: Open) -> None:
    assert "New job" in _texts(page("jobs").info)


def test_a_running_job_shows_its_progress_and_its_curve(mesh: ScriptedMesh, page: Open) -> None:
    mesh.distillation.jobs["jobs/run-2"] = running_job()
    mesh.distillation.curves["jobs/run-2"] = curve(200)
    app = page("jobs")
    assert _column(app, 0, "State") == ["running"]
    assert _column(app, 0, "Progress") == [50]
    (bar,) = app.get("progress")
    assert bar.proto.value == 50
    assert "200 of 400 steps · 3.5 steps/s · 57 s to go · attempt 2" in bar.proto.text
    assert len(app.get("vega_lite_chart")) == 1


def test_only_new_points_of_a_curve_are_read(mesh: ScriptedMesh, page: Open) -> None:
    mesh.distillation.jobs["jobs/run-2"] = running_job()
    mesh.distillation.curves["jobs/run-2"] = curve(100)
    app = page("jobs")
    mesh.distillation.curves["jobs/run-2"] = curve(200)
    app.run()
    app.run()
    assert mesh.distillation.skipped == [0, 20, 40]


def test_a_finished_job_shows_measurements_with_their_intervals_gate_and_cost(mesh: ScriptedMesh, page: Open) -> None:
    mesh.distillation.jobs["jobs/run-1"] = finished_job()
    app = page("jobs")
    assert _column(app, 1, "exact tool call (95 %)") == [
        "94.0 % (91.0 – 96.5)", "91.2 % (88.2 – 93.7)", "87.1 % (84.1 – 89.6)",
    ]  # fmt: skip
    assert _column(app, 1, "Same top token") == ["–", "95.3 %", "95.3 %"]
    assert _column(app, 2, "Check") == ["points below teacher", "above no-teacher"]
    assert "812,000" in _column(app, 3, "Used")
    assert any("passed" in heading.value for heading in app.subheader)


def test_a_finished_job_offers_its_fidelity_report_which_is_fetched_once(mesh: ScriptedMesh, page: Open) -> None:
    mesh.distillation.jobs["jobs/run-1"] = finished_job()
    mesh.registry.files["models/robot/versions/1", "fidelity.html"] = b"<!DOCTYPE html><p>near</p>"
    app = page("jobs")
    app.run()
    (button,) = app.get("download_button")
    assert button.proto.label == "Fidelity report"
    assert mesh.registry.downloads == 1


def test_a_version_of_before_there_were_reports_says_so(mesh: ScriptedMesh, page: Open) -> None:
    mesh.distillation.jobs["jobs/run-1"] = finished_job()
    app = page("jobs")
    assert app.get("download_button") == []
    assert "before there were any" in _texts(app.caption)


def test_a_servers_new_measures_are_shown_and_an_older_ones_absence_is_no_zero(mesh: ScriptedMesh, page: Open) -> None:
    older, newer = finished_job(), finished_job()
    newer.name = "jobs/run-9"
    newer.result.measurements[0].noise_floor_kl = 3e-6
    newer.result.measurements[1].reverse_kl = 0.034
    newer.result.cost.wall_s = 330.0
    newer.result.cost.price = 1234.5
    newer.result.cost.currency = "KRW"
    mesh.distillation.jobs = {"jobs/run-9": newer, "jobs/run-1": older}
    app = page("jobs")
    assert "3e-06 nats" in _texts(app.caption)
    assert _column(app, 1, "KL from teacher") == ["–", "0.0340", "–"]
    assert {"5 min 30 s", "1,234.50 KRW"} <= set(_column(app, 3, "Used"))
    app.selectbox(key="job").select("jobs/run-1").run()
    assert _column(app, 1, "KL from teacher") == ["–", "–", "–"]
    assert "Wall time" not in _column(app, 3, "")


def test_a_failed_job_says_why_and_can_be_resumed(mesh: ScriptedMesh, page: Open) -> None:
    job = running_job()
    job.state = job_pb2.JOB_STATE_FAILED
    job.fault.CopyFrom(fault_pb2.Fault(reason="TEACHER_CHANGED", message="the teacher's weights are others now"))
    mesh.distillation.jobs[job.name] = job
    app = page("jobs")
    assert "TEACHER_CHANGED: the teacher's weights are others now" in _texts(app.error)
    app.button(key="resume").click().run()
    assert mesh.distillation.jobs[job.name].state == job_pb2.JOB_STATE_RUNNING


def test_a_running_job_can_be_cancelled(mesh: ScriptedMesh, page: Open) -> None:
    mesh.distillation.jobs["jobs/run-2"] = running_job()
    page("jobs").button(key="cancel").click().run()
    assert mesh.distillation.jobs["jobs/run-2"].state == job_pb2.JOB_STATE_CANCELLED


def test_another_job_is_shown_when_it_is_chosen(mesh: ScriptedMesh, page: Open) -> None:
    mesh.distillation.jobs = {"jobs/run-2": running_job(), "jobs/run-1": finished_job()}
    app = page("jobs")
    app.selectbox(key="job").select("jobs/run-1").run()
    assert any(heading.value.startswith("robot") for heading in app.subheader)


def test_while_the_distill_server_is_down_the_pages_say_so(mesh: ScriptedMesh, page: Open) -> None:
    mesh.stop("distill")
    for view in ("jobs", "registry", "new_job"):
        assert "python -m seodang.distill" in _texts(page(view).error)


def test_the_registry_lists_versions_with_aliases_and_scores(mesh: ScriptedMesh, page: Open) -> None:
    mesh.registry.versions = two_versions()
    app = page("registry")
    assert _column(app, 0, "Version") == ["robot/versions/2", "robot/versions/1"]
    assert _column(app, 0, "Aliases") == ["", "@production"]
    assert _column(app, 0, "Scores") == ["success 0.810", "success 0.912"]
    assert "models/teacher-mini" in app.get("graphviz_chart")[0].proto.spec


def test_a_version_is_promoted(mesh: ScriptedMesh, page: Open) -> None:
    mesh.registry.versions = two_versions()
    app = page("registry")
    app.selectbox[0].select("models/robot/versions/1")
    app.text_input[0].set_value("canary")
    app.button[0].click().run()
    assert "`models/robot@canary` now stands for `models/robot/versions/1`" in _texts(app.success)
    assert list(mesh.registry.versions[1].aliases) == ["models/robot@production", "models/robot@canary"]


def test_a_promotion_past_the_gate_is_refused_with_the_servers_words(mesh: ScriptedMesh, page: Open) -> None:
    mesh.registry.versions = two_versions()
    app = page("registry")
    app.button[0].click().run()
    assert "did not pass its gate" in _texts(app.error)


def test_an_alias_is_rolled_back(mesh: ScriptedMesh, page: Open) -> None:
    mesh.registry.versions = two_versions()
    app = page("registry")
    app.button[1].click().run()
    assert "stands for `models/robot/versions/1` again" in _texts(app.success)
