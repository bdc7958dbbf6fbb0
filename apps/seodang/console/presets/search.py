"""Search: a question and passages become an answer with its quote, both checked against the passage."""

import streamlit as st

from seodang.client import complete
from seodang.console import failures
from seodang.console.asking import prompt_of
from seodang.console.controls import Sampling
from seodang.console.servers import Held, Mesh
from seodang.tasks import InvalidAnswer, search

_PASSAGES = """한빛 도서관은 월요일에 쉬고, 화요일부터 일요일까지 오전 9시에 문을 연다.
The east gate of the park closes at 22:00 in summer and at 20:00 in winter.
회의실 3은 김하늘이 목요일 오후 2시에 예약했다."""


def show(mesh: Mesh, model: Held, how: Sampling) -> None:
    """Draws the widgets, and the answer once it is asked for."""
    with st.form("search", border=True):
        question = st.text_input("Question", "한빛 도서관은 언제 쉬어?")
        text = st.text_area("Passages, one a line", _PASSAGES, height=120)
        asked = st.form_submit_button("Ask", type="primary", icon=":material/send:")
    passages = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not asked:
        return
    with failures.shown(model.server), st.spinner("Asking …"):
        request = how.request(model.model.name, prompt_of(search.messages(search.SearchRequest(question, passages))))
        _draw(complete(model.server.client, request, mesh.settings.answer_timeout_s).text, passages)


def _draw(text: str, passages: tuple[str, ...]) -> None:
    try:
        answer = search.parse(text)
    except InvalidAnswer as error:
        st.warning(f"This is no answer: `{error.message.replace('`', chr(39))}`", icon=":material/help:")
        return
    if isinstance(answer, search.NoAnswer):
        st.info("The passages do not answer this, says the model.", icon=":material/search_off:")
        return
    st.metric("Answer", answer.text, border=True)
    if search.supported(answer, passages):
        st.success(f"The quote stands word for word in passage {answer.citation}.", icon=":material/verified:")
    else:
        st.error(f"The quote does not stand in passage {answer.citation}: do not trust this.", icon=":material/report:")
    st.code(answer.quote, language=None, wrap_lines=True)
