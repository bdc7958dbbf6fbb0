"""Assistant: a request becomes a tool call."""

import streamlit as st

from seodang.client import complete
from seodang.console import failures, tables
from seodang.console.asking import prompt_of
from seodang.console.controls import Sampling
from seodang.console.servers import Held, Mesh
from seodang.tasks import InvalidAnswer, assistant


def show(mesh: Mesh, model: Held, how: Sampling) -> None:
    """Draws the widgets, and the call once it is asked for."""
    with st.form("assistant", border=True):
        text = st.text_input("Request", "거실 불 켜 줘")
        catalogue = st.selectbox("Tools", [assistant.HOME, assistant.CLINC150, assistant.HWU64])
        asked = st.form_submit_button("Ask", type="primary", icon=":material/send:")
    if not asked:
        return
    with failures.shown(model.server), st.spinner("Asking …"):
        request = how.request(
            model.model.name, prompt_of(assistant.messages(assistant.AssistantRequest(text, catalogue)))
        )
        answer = complete(model.server.client, request, mesh.settings.answer_timeout_s).text
        _draw(answer)


def _draw(answer: str) -> None:
    try:
        call = assistant.parse(answer)
    except InvalidAnswer as error:
        st.warning(f"This is no tool call: `{error.message.replace('`', chr(39))}`", icon=":material/help:")
        st.code(answer, language=None, wrap_lines=True)
        return
    st.metric("Tool", call.name, border=True)
    if call.arguments:
        tables.table([{"Argument": name, "Value": str(value)} for name, value in call.arguments.items()])
    st.caption("As the model wrote it")
    st.code(answer, language="json", wrap_lines=True)
