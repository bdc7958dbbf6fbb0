"""New job: from a form, or from pasted JSON."""

import uuid
from typing import Final

import streamlit as st

from seodang.api.capture.v1 import capture_pb2
from seodang.api.distill.v1 import distill_pb2, job_pb2
from seodang.console import failures
from seodang.console.job_spec import DIVERGENCES, RECIPES, JobForm, read_json, write_json
from seodang.console.servers import Mesh, Server

_CHECK_TIMEOUT_S: Final = 60.0
_SHOWN_VERSIONS: Final = 50


def show(mesh: Mesh) -> None:
    """Draws the page."""
    st.title("New job")
    st.caption("A teacher, data and a recipe become a student that is measured, gated and published.")
    server = mesh["distill"]
    form, pasted = st.tabs(["Form", "JSON"])
    with pasted, failures.shown(server):
        _pasted(server)
    with form, failures.shown(server):
        _form(mesh, server)


def _form(mesh: Mesh, server: Server) -> None:
    corpora, captured = _corpora(server), _captured(server, mesh.settings.timeout_s)
    teachers = [entry.model.name for entry in mesh.models()[0] if entry.server.name == "teacher"]
    with st.form("job", border=True):
        what, how, limits = st.columns(3, gap="large")
        fields: dict[str, object] = {}
        with what:
            fields |= _what(corpora, captured, teachers or ["models/teacher-mini"])
        with how:
            fields |= _how()
        with limits:
            fields |= _limits()
        spec = JobForm(**fields).spec()  # type: ignore[arg-type]
        _submit(server, spec, st.form_submit_button)
    _missing(corpora)
    with st.expander("The same as JSON, as of the last check"):
        st.code(write_json(spec), language="json")


def _corpora(server: Server) -> list[distill_pb2.Corpus]:
    """What data there is; asked once a session, because the server opens every source to see whether it is at hand."""
    if "corpora" not in st.session_state:
        with st.spinner("Looking which data is at hand …"):
            request = distill_pb2.ListCorporaRequest()
            answer = server.client.distillation.ListCorpora(request, timeout=_CHECK_TIMEOUT_S)
        st.session_state["corpora"] = list(answer.corpora)
    corpora: list[distill_pb2.Corpus] = st.session_state["corpora"]
    return corpora


def _captured(server: Server, timeout_s: float) -> list[capture_pb2.DatasetVersion]:
    """The newest frozen versions of captured traffic that a job may use."""
    request = capture_pb2.ListDatasetVersionsRequest(page_size=_SHOWN_VERSIONS)
    answer = server.client.capture.ListDatasetVersions(request, timeout=timeout_s)
    return [version for version in answer.versions if not version.withdrawn]


def _what(
    corpora: list[distill_pb2.Corpus], captured: list[capture_pb2.DatasetVersion], teachers: list[str]
) -> dict[str, object]:
    st.markdown("**What**")
    about = {each.name: f"{each.name} · {each.metric} · {each.license}" for each in corpora if each.available}
    about |= {
        each.name: f"captured: {each.name.removeprefix('datasets/')} · {each.prompts:,} prompts" for each in captured
    }
    return {
        "student": st.text_input("Student", "robot", help="Letters, digits and hyphens: models/<student>."),
        "teacher": st.selectbox("Teacher", teachers, format_func=lambda name: name.removeprefix("models/")),
        "data": st.selectbox("Data", list(about), format_func=lambda name: about[name]) or "",
        "language": {"all": "", "Korean": "ko", "English": "en"}[
            st.selectbox("Language", ["all", "Korean", "English"])
        ],
        "train_examples": int(st.number_input("Training examples", 0, step=500, help="0 takes all.")),
        "eval_examples": int(st.number_input("Held-out examples", 0, step=100, help="0 takes the data's default.")),
    }


def _how() -> dict[str, object]:
    st.markdown("**How**")
    recipe = st.selectbox("Recipe", list(RECIPES))
    divergence = st.selectbox("Divergence", list(DIVERGENCES))
    beta = st.slider("β of generalised JSD", 0.0, 1.0, 0.5, help="0 leans to forward KL, 1 to reverse KL.")
    tokenizer = st.text_input("Own tokenizer", help="Of cross-tokenizer: a folder below the server's data roots.")
    base = st.text_input("Base", help="A model's folder below the server's data roots; adapters on it are trained.")
    hidden = st.number_input("Hidden size", 16, value=128, step=16)
    layers, heads = st.columns(2)
    steps, rate = st.columns(2)
    return {
        "recipe": RECIPES[recipe],
        "divergence": DIVERGENCES[divergence],
        "beta": beta,
        "tokenizer": tokenizer,
        "base": base,
        "hidden_size": int(hidden),
        "layers": int(layers.number_input("Layers", 1, value=4)),
        "heads": int(heads.number_input("Heads", 1, value=4)),
        "steps": int(steps.number_input("Steps", 1, value=400, step=50)),
        "learning_rate": float(rate.number_input("Learning rate", 0.0, value=3e-3, step=1e-4, format="%.4f")),
        "seed": int(st.number_input("Seed", 0, step=1)),
    }


def _limits() -> dict[str, object]:
    st.markdown("**Measured against**")
    return {
        "without_teacher": st.checkbox("An equal student without a teacher", value=True),
        "beat_baselines": st.checkbox("Must beat it to pass the gate", value=True),
        "points_below_teacher": float(
            st.number_input("At most this many points below the teacher", 0.0, 100.0, value=5.0, step=0.5)
        ),
        "promote_to": st.text_input("Alias to set when it passes", placeholder="production"),
    }


def _pasted(server: Server) -> None:
    text = st.text_area(
        "Specification",
        height=360,
        placeholder='{"student": "robot", "teachers": [{"model": "models/teacher-mini"}], "data": {"corpus": "robot"}}',
        help="A seodang.api.distill.v1.JobSpec, as JSON.",
    )
    spec = job_pb2.JobSpec() if not text.strip() else read_json(text)
    _submit(server, spec, st.button)


def _submit(server: Server, spec: job_pb2.JobSpec, button: object) -> None:
    assert callable(button)
    kind = "form" if button is st.form_submit_button else "pasted"
    with st.container(horizontal=True):
        checks = button("Check only", icon=":material/rule:", key=f"check {kind}")
        starts = button("Start", icon=":material/play_circle:", type="primary", key=f"start {kind}")
    if checks or starts:
        with failures.shown(server):
            _create(server, spec, validate_only=not starts)


def _create(server: Server, spec: job_pb2.JobSpec, *, validate_only: bool) -> None:
    # The same specification keeps its id until it has started, so that a second click, or another try after a broken
    # connection, starts nothing twice.
    round_id = st.session_state.setdefault("new job", uuid.uuid4())
    request_id = str(uuid.uuid5(round_id, spec.SerializeToString(deterministic=True).hex()))
    request = distill_pb2.CreateJobRequest(request_id=request_id, spec=spec, validate_only=validate_only)
    job = server.client.distillation.CreateJob(request, timeout=_CHECK_TIMEOUT_S).job
    if validate_only:
        st.success("Everything fits: the job can start.", icon=":material/check_circle:")
        return
    del st.session_state["new job"]
    st.success(f"`{job.name}` has started. **Jobs**, in the sidebar, follows it.", icon=":material/check_circle:")


def _missing(corpora: list[distill_pb2.Corpus]) -> None:
    missing = [corpus for corpus in corpora if not corpus.available]
    if missing:
        with st.expander(f"Not at hand: {', '.join(corpus.name for corpus in missing)}"):
            for corpus in missing:
                st.markdown(f"**{corpus.name}**: {corpus.missing}")
