"""Playground: chat with any model, or give one the job of an adapter: assistant, search, robot."""

from typing import Final

import streamlit as st

from seodang.api.inference.v1 import generate_pb2
from seodang.console import controls, failures
from seodang.console.asking import REDRAW_S, Turns, asking, spoken
from seodang.console.presets import assistant, robot, search
from seodang.console.servers import Held, Mesh

_PRESETS: Final = {"Chat": "", "Assistant": "assistant", "Search": "search", "Robot": "robot"}
_AVATARS: Final = {"user": ":material/person:", "assistant": ":material/school:"}


def show(mesh: Mesh) -> None:
    """Draws the page."""
    st.title("Playground")
    held, failed = mesh.models()
    for server, error in failed:
        failures.show(server, error)
    if not held:
        st.info("There is no model to ask.", icon=":material/info:")
        return
    preset = st.segmented_control("Job", list(_PRESETS), default="Chat", required=True, key="preset")
    main, side = st.columns([5, 2], gap="large")
    with side, st.container(border=True):
        model = controls.model("Model", held, f"model for {preset}", prefer=_PRESETS[preset] or "teacher")
        how = controls.sampling(f"playground {preset}")
    with main:
        match preset:
            case "Assistant":
                assistant.show(mesh, model, how)
            case "Search":
                search.show(mesh, model, how)
            case "Robot":
                robot.show(mesh, model, how)
            case _:
                _chat(mesh, model, how)


def _chat(mesh: Mesh, model: Held, how: controls.Sampling) -> None:
    turns: Turns = st.session_state.setdefault("turns", [])
    system, clear = st.columns([5, 1], vertical_alignment="bottom")
    said = system.text_input("System message", "chat: ko")
    if clear.button("Clear", icon=":material/delete:", width="stretch"):
        turns.clear()
    log = st.container(height=430, border=True)
    for role, text in turns:
        log.chat_message(role, avatar=_AVATARS[role]).text(text)
    text = st.chat_input("Say something")
    if text:
        turns.append(("user", text))
        log.chat_message("user", avatar=_AVATARS["user"]).text(text)
        with log.chat_message("assistant", avatar=_AVATARS["assistant"]):
            answer = _stream(mesh, model, how.request(model.model.name, spoken(said, turns)))
        if answer is not None:
            turns.append(("assistant", answer))


def _stream(mesh: Mesh, model: Held, request: generate_pb2.GenerateRequest) -> str | None:
    """Writes the answer as it comes; returns it, or None if there was none."""
    place = st.empty()
    with asking([(model, request)], mesh.settings.answer_timeout_s) as (answer,):
        while not answer.ended.wait(REDRAW_S):
            place.text(answer.text or "…")
    place.text(answer.text)
    if answer.error is not None:
        failures.show(model.server, answer.error)
        return None
    speed = f"{answer.tokens_per_s:.1f} tokens/s, " if answer.tokens_per_s else ""
    st.caption(f"{answer.tokens} tokens, {speed}ended by {answer.reason}")
    return answer.text
