"""Jobs: every job, and one of them in full: progress, curves, measurements, gate, cost; live."""

from typing import Final

import streamlit as st
from google.protobuf import json_format

from seodang.api.distill.v1 import distill_pb2, job_pb2
from seodang.console import charts, failures, figures, reports, tables
from seodang.console.job_feed import ENDED, JobFeed
from seodang.console.servers import Mesh, Server

_STATES: Final = {
    job_pb2.JOB_STATE_QUEUED: ("queued", "gray", tables.GREY),
    job_pb2.JOB_STATE_RUNNING: ("running", "blue", tables.BLUE),
    job_pb2.JOB_STATE_SUCCEEDED: ("succeeded", "green", tables.GREEN),
    job_pb2.JOB_STATE_FAILED: ("failed", "red", tables.RED),
    job_pb2.JOB_STATE_CANCELLING: ("cancelling", "orange", tables.ORANGE),
    job_pb2.JOB_STATE_CANCELLED: ("cancelled", "orange", tables.ORANGE),
}
_COLOURS: Final = {name: colour for name, _, colour in _STATES.values()}
_SHOWN_JOBS: Final = 100


def show(mesh: Mesh) -> None:
    """Draws the page and refreshes it by itself."""
    st.title("Jobs")
    st.fragment(lambda: _live(mesh["distill"], mesh.settings.timeout_s), run_every=mesh.settings.refresh_s)()


def _live(server: Server, timeout_s: float) -> None:
    with failures.shown(server):
        request = distill_pb2.ListJobsRequest(page_size=_SHOWN_JOBS)
        jobs = list(server.client.distillation.ListJobs(request, timeout=timeout_s).jobs)
        if not jobs:
            st.info("No job yet. **New job**, in the sidebar, starts one.", icon=":material/info:")
            return
        tables.table([_row(job) for job in jobs], "jobs", _COLOURS, ["Progress"])
        name = _chosen(jobs)
        feed = st.session_state.setdefault(f"feed {name}", JobFeed(name))
        feed.look(server.client, timeout_s)
        _detail(server, feed, timeout_s)


def _chosen(jobs: list[job_pb2.Job]) -> str:
    names = [job.name for job in jobs]
    titles = {job.name: f"{job.spec.student} · {job.name} · {_state(job)}" for job in jobs}
    wanted = st.query_params.get("job", "")
    index = names.index(wanted) if wanted in names else 0
    name = str(st.selectbox("Job", names, index=index, format_func=lambda name: titles.get(name, name), key="job"))
    st.query_params["job"] = name
    return name


def _row(job: job_pb2.Job) -> dict[str, object]:
    progress = job.progress
    ended_well = job.state == job_pb2.JOB_STATE_SUCCEEDED
    return {
        "Student": job.spec.student,
        "State": _state(job),
        "Stage": "" if job.state in ENDED else _stage(progress),
        "Progress": 100.0 if ended_well else 100 * progress.done / progress.total if progress.total else 0.0,
        "Teacher": ", ".join(teacher.model.removeprefix("models/") for teacher in job.spec.teachers),
        "Recipe": _recipe(job.spec.recipe),
        "Data": job.spec.data.corpus or job.spec.data.file or job.spec.data.dataset_version,
        "Age": figures.since(job.create_time),
        "Job": job.name,
    }


def _detail(server: Server, feed: JobFeed, timeout_s: float) -> None:
    job = feed.job
    name, colour, _ = _STATES[job.state]
    title, buttons = st.columns([4, 1], vertical_alignment="center")
    title.subheader(f"{job.spec.student}  :{colour}-badge[{name}]")
    with buttons.container(horizontal=True, horizontal_alignment="right"):
        _buttons(server, job)
    if job.HasField("fault"):
        st.error(f"{job.fault.reason}: {job.fault.message}", icon=":material/report:")
    elif job.state_message:
        st.caption(job.state_message)
    if job.state not in ENDED:
        st.progress(job.progress.done / job.progress.total if job.progress.total else 0.0, text=_progress_text(job))
    if feed.curve:
        st.altair_chart(charts.curves(feed.curve))
        st.caption("Solid: loss on training data. Dashed, with dots: loss on held-out data.")
    if job.HasField("result"):
        _result(job.result)
        with failures.shown(server):
            _report(server, job.result.version, timeout_s)
    with st.expander("Specification"):
        st.json(json_format.MessageToDict(job.spec, preserving_proto_field_name=True))


def _buttons(server: Server, job: job_pb2.Job) -> None:
    distillation = server.client.distillation
    if job.state in (job_pb2.JOB_STATE_QUEUED, job_pb2.JOB_STATE_RUNNING):
        if st.button("Cancel", icon=":material/stop_circle:", key="cancel"):
            job.CopyFrom(distillation.CancelJob(distill_pb2.CancelJobRequest(name=job.name)).job)
    elif job.state in (job_pb2.JOB_STATE_FAILED, job_pb2.JOB_STATE_CANCELLED) and st.button(
        "Resume", icon=":material/play_circle:", key="resume", type="primary"
    ):
        job.CopyFrom(distillation.ResumeJob(distill_pb2.ResumeJobRequest(name=job.name)).job)


def _progress_text(job: job_pb2.Job) -> str:
    progress = job.progress
    parts = [f"**{_stage(progress)}**", progress.subject]
    if progress.total:
        parts.append(f"{progress.done:,} of {progress.total:,} {progress.unit}")
    if progress.rate:
        parts.append(f"{figures.count(progress.rate)} {progress.unit}/s")
    if progress.HasField("remaining_s"):
        parts.append(f"{figures.duration(progress.remaining_s)} to go")
    if job.attempts > 1:
        parts.append(f"attempt {job.attempts}")
    return " · ".join(part for part in parts if part)


def _result(result: job_pb2.JobResult) -> None:
    st.subheader("Measurements", anchor=False)
    chart, table = st.columns([2, 4], vertical_alignment="center")
    if result.measurements:
        chart.altair_chart(charts.measurements(result.measurements))
        with table:
            tables.table([_measured(entry) for entry in result.measurements])
            _floor(result.measurements[0])
    gate, cost = st.columns([3, 2])
    with gate:
        _verdict(result)
    with cost:
        _cost(result.cost)


def _measured(entry: job_pb2.Measurement) -> dict[str, object]:
    return {
        "": entry.subject,
        f"{entry.metric} (95 %)": figures.interval(entry.task_score, entry.task_score_low, entry.task_score_high),
        "Parameters": figures.count(entry.parameters),
        "KL to teacher": f"{entry.forward_kl:.4f}" if entry.HasField("forward_kl") else "–",
        "KL from teacher": f"{entry.reverse_kl:.4f}" if entry.HasField("reverse_kl") else "–",
        "On own text": f"{entry.own_text_kl:.4f}" if entry.HasField("own_text_kl") else "–",
        "Same top token": f"{100 * entry.top1_agreement:.1f} %" if entry.HasField("top1_agreement") else "–",
        "Shared top 8": f"{100 * entry.top8_overlap:.1f} %" if entry.HasField("top8_overlap") else "–",
        "CE": f"{entry.cross_entropy:.4f}",
        "Calibration error": f"{100 * entry.calibration_error:.1f} %" if entry.HasField("calibration_error") else "–",
        "Drafts accepted": f"{100 * entry.draft_acceptance:.1f} %" if entry.HasField("draft_acceptance") else "–",
        "Examples": entry.examples,
    }


def _floor(teacher: job_pb2.Measurement) -> None:
    """What a KL of the table can mean at all."""
    if teacher.HasField("noise_floor_kl"):
        st.caption(f"Scored twice, the teacher is {teacher.noise_floor_kl:.2g} nats a position from itself.")


def _report(server: Server, version: str, timeout_s: float) -> None:
    if not version:
        return
    page = reports.fidelity_page(server, version, st.session_state, timeout_s)
    if page is None:
        st.caption("No fidelity report: this version was published before there were any.")
        return
    name = f"{version.removeprefix('models/').replace('/', '-')}-{reports.PAGE}"
    st.download_button(
        "Fidelity report", page, name, "text/html", key="fidelity", icon=":material/download:", on_click="ignore"
    )


def _verdict(result: job_pb2.JobResult) -> None:
    passed = result.verdict.passed
    st.subheader(f"Gate  :{'green' if passed else 'red'}-badge[{'passed' if passed else 'not passed'}]", anchor=False)
    if result.version:
        st.markdown(f"Published as `{result.version}`")
    rows = [
        {
            "": "✓" if check.passed else "✗",
            "Check": check.name,
            "Value": f"{check.value:.4g}",
            "Limit": f"{check.threshold:.4g}",
        }
        for check in result.verdict.checks
    ]
    if rows:
        tables.table(rows)


def _cost(cost: job_pb2.Cost) -> None:
    st.subheader("Cost", anchor=False)
    rows = {
        "Teacher positions": f"{cost.teacher_positions:,}",
        "Training tokens": f"{cost.training_tokens:,}",
        "Scoring": figures.duration(cost.scoring_s),
        "Training": figures.duration(cost.training_s),
        "Measuring": figures.duration(cost.evaluating_s),
        "Signal": figures.size(cost.signal_bytes),
        "Training FLOPs": f"{cost.training_flops:.2e}",
    } | _estimates(cost)
    tables.table([{"": what, "Used": used} for what, used in rows.items()])


def _estimates(cost: job_pb2.Cost) -> dict[str, str]:
    """What servers of before do not tell, or nobody knows."""
    known = {
        "teacher_tokens": ("Teacher tokens", f"{cost.teacher_tokens:,}"),
        "scoring_flops": ("Teacher FLOPs", f"{cost.scoring_flops:.2e}"),
        "wall_s": ("Wall time", figures.duration(cost.wall_s)),
        "energy_kwh": ("Energy", f"{cost.energy_kwh:.3g} kWh at {cost.watts:,.0f} W"),
        "price": ("Cost", f"{cost.price:,.2f} {cost.currency}".strip()),
    }
    return {name: used for field, (name, used) in known.items() if cost.HasField(field)}  # type: ignore[arg-type]


def _state(job: job_pb2.Job) -> str:
    return _STATES[job.state][0]


def _stage(progress: job_pb2.Progress) -> str:
    name = job_pb2.Progress.Stage.Name(progress.stage).removeprefix("STAGE_").lower()
    return "waiting" if name == "unspecified" else name


def _recipe(recipe: job_pb2.Recipe) -> str:
    name = job_pb2.Recipe.Kind.Name(recipe.kind).removeprefix("KIND_").lower().replace("_", " ")
    return "offline" if name == "unspecified" else name
