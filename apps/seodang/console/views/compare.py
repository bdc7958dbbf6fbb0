"""Compare: one question, teacher and student side by side, as they write."""

from collections.abc import Sequence
from typing import Any, Final

import streamlit as st

from seodang.api.inference.v1 import chat_pb2
from seodang.console import controls, failures, figures
from seodang.console.asking import REDRAW_S, Answer, asking, spoken
from seodang.console.servers import Held, Mesh

_QUESTIONS: Final = {
    "거실 불 켜 줘": "tools: home",
    "Set the kitchen lights to 40 percent": "tools: home",
    "오늘 기분이 좀 안 좋아": "chat: ko",
    "what is the weather in Busan": "tools: clinc150",
}


def show(mesh: Mesh) -> None:
    """Draws the page."""
    st.title("Compare")
    held, failed = mesh.models()
    for server, error in failed:
        failures.show(server, error)
    if not held:
        st.info("There is no model to ask.", icon=":material/info:")
        return
    question, system, how = _question()
    left, right = st.columns(2, gap="large")
    with left:
        first = controls.model("Left", held, "left", prefer="teacher")
    with right:
        second = controls.model("Right", held, "right", prefer="student")
    asked = st.button("Ask both", type="primary", icon=":material/send:", disabled=not question.strip())
    if asked:
        places = st.columns(2, gap="large")
        prompt = spoken(system, [("user", question)])
        _ask(mesh, list(zip((first, second), places, strict=True)), prompt, how)


def _question() -> tuple[str, str, controls.Sampling]:
    text, side = st.columns([3, 2], gap="large")
    with text:
        example = st.pills("Examples", list(_QUESTIONS), key="example", wrap=True)
        question = st.text_area("Question", example or next(iter(_QUESTIONS)), height=90)
    with side:
        system = st.text_input("System message", _QUESTIONS.get(example or next(iter(_QUESTIONS)), ""))
        with st.expander("Sampling"):
            how = controls.sampling("compare")
    return question, system, how


def _ask(mesh: Mesh, sides: Sequence[tuple[Held, Any]], prompt: chat_pb2.Prompt, how: controls.Sampling) -> None:
    places = [column.empty() for _, column in sides]
    questions = [(held, how.request(held.model.name, prompt)) for held, _ in sides]
    with asking(questions, mesh.settings.answer_timeout_s) as answers:
        for answer in answers:
            while not answer.ended.wait(REDRAW_S):
                _draw(places, answers)
        _draw(places, answers)
    _verdict(answers)


def _draw(places: Sequence[Any], answers: Sequence[Answer]) -> None:
    for place, answer in zip(places, answers, strict=True):
        with place.container(border=True):
            _one(answer)


def _one(answer: Answer) -> None:
    if answer.error is not None:
        failures.show(answer.asked.server, answer.error)
    st.code(answer.text or ("…" if not answer.ended.is_set() else "(nothing)"), language=None, wrap_lines=True)
    speed, first, length = st.columns(3)
    speed.metric("Tokens/s", f"{answer.tokens_per_s:.1f}" if answer.tokens_per_s else "–")
    first.metric("First token", f"{1000 * answer.first_token_s:.0f} ms" if answer.first_token_s else "–")
    length.metric("Tokens", answer.tokens)
    if answer.ended.is_set() and answer.error is None:
        st.caption(f"ended by {answer.reason}; prompt of {answer.usage.prompt_tokens} tokens")


def _verdict(answers: Sequence[Answer]) -> None:
    first, second = answers
    if first.error or second.error:
        return
    sizes = [answer.asked.model.total_parameters for answer in answers]
    share = f"{figures.count(sizes[1])} against {figures.count(sizes[0])} parameters"
    if first.text == second.text:
        st.success(f"Both wrote the same, with {share}.", icon=":material/equal:")
    else:
        st.warning(f"They wrote different texts, with {share}.", icon=":material/difference:")
