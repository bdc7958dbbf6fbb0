"""Telling a tool call from text while it is being written."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seodang.gateway.openai.tool_answer import Outcome, ToolAnswer
from seodang.tasks import assistant

QUICK = settings(derandomize=True, deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
SCALARS = st.one_of(st.text(max_size=8), st.integers(-9, 9), st.booleans())


def _answer(text: str, names: set[str], cuts: list[int]) -> tuple[str, list[tuple[str, object]], Outcome]:
    answer, written, start = ToolAnswer(names), "", 0
    for end in [*sorted(cut % (len(text) + 1) for cut in cuts), len(text)]:
        written += answer.add(text[start:end])
        start = end
    settled = answer.settle()
    return written + settled.text, [(call.name, json.loads(call.arguments)) for call in settled.calls], settled.outcome


@QUICK
@given(
    name=st.text(min_size=1, max_size=8),
    arguments=st.dictionaries(st.text(max_size=5), SCALARS, max_size=3),
    cuts=st.lists(st.integers(0, 200), max_size=6),
    tagged=st.booleans(),
)
def test_every_call_that_the_assistants_write_is_understood_however_it_is_cut(
    name: str, arguments: dict[str, assistant.ArgumentValue], cuts: list[int], tagged: bool
) -> None:
    text = assistant.render(assistant.ToolCall(name, arguments))
    wrapped = f"<tool_call>\n{text}\n</tool_call>" if tagged and "</tool_call>" not in text else text
    assert _answer(wrapped, {name}, cuts) == ("", [(name, arguments)], Outcome.CALL)


@QUICK
@given(text=st.text(alphabet='{}<>"tool_cal: \n가', max_size=30), cuts=st.lists(st.integers(0, 40), max_size=6))
def test_text_that_is_no_call_is_neither_lost_nor_changed(text: str, cuts: list[int]) -> None:
    written, calls, outcome = _answer(text, {"f"}, cuts)
    assert (written, calls) == (text, [])
    assert outcome in (Outcome.TEXT, Outcome.INVALID_JSON)


def test_arguments_of_other_models_may_be_nested() -> None:
    text = '{"name": "f", "arguments": {"rooms": ["거실", {"floor": 2}]}}'
    assert _answer(text, {"f"}, [])[1] == [("f", {"rooms": ["거실", {"floor": 2}]})]


@pytest.mark.parametrize("text", ['{"name": "f"}', '{"name": 1, "arguments": {}}', '{"name": "f", "arguments": []}'])
def test_json_of_another_form_is_no_call(text: str) -> None:
    assert _answer(text, {"f"}, []) == (text, [], Outcome.INVALID_JSON)
