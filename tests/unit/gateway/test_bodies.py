"""Whatever JSON comes in, a body is either understood or refused with a message; nothing else is ever raised."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from seodang.base.errors import InvalidInput
from seodang.gateway.openai.chat_body import ChatBody

TEXT = st.text(alphabet=st.characters(exclude_categories=()), max_size=4)  # surrogates too
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
QUICK = settings(derandomize=True, deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
FIELDS = sorted(set(ChatBody.model_fields) - {"model", "messages"})
GOOD: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def _is_understood(body: dict[str, Any]) -> bool:
    try:
        request = ChatBody.model_validate(body).request("r")
    except (ValidationError, InvalidInput):
        return False
    assert type(request).FromString(request.SerializeToString()) == request
    return True


@QUICK
@given(changes=st.dictionaries(st.sampled_from(FIELDS), VALUE, max_size=3))
def test_any_value_of_any_field_is_taken_or_refused(changes: dict[str, Any]) -> None:
    _is_understood(GOOD | changes)


@QUICK
@given(
    message=st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "tool"])}, optional={"content": VALUE})
)
def test_any_message_is_taken_or_refused(message: dict[str, Any]) -> None:
    _is_understood({"model": "m", "messages": [message]})


@QUICK
@given(parameters=st.dictionaries(TEXT, VALUE, max_size=3), arguments=VALUE, name=TEXT)
def test_any_tool_is_taken_or_refused(parameters: dict[str, Any], arguments: Any, name: str) -> None:
    tool = {"type": "function", "function": {"name": name, "parameters": parameters}}
    call = {"id": name, "type": "function", "function": {"name": name, "arguments": arguments}}
    turn = {"role": "assistant", "tool_calls": [call]}
    _is_understood({"model": name, "messages": [turn], "tools": [tool], "tool_choice": "required"})


def test_the_plain_body_is_understood() -> None:
    assert _is_understood(GOOD)
