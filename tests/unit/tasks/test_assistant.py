import pytest

from seodang.tasks import InvalidAnswer, Message, Role
from seodang.tasks.assistant import AssistantRequest, ToolCall, messages, parse, render, score


def test_the_system_message_names_the_catalogue() -> None:
    assert messages(AssistantRequest("불 켜줘", "home")) == [
        Message(Role.SYSTEM, "tools: home"),
        Message(Role.USER, "불 켜줘"),
    ]


def test_a_rendered_call_is_compact_and_parses_back() -> None:
    call = ToolCall("HassTurnOn", {"area": "거실", "brightness": 40})
    text = render(call)
    assert text == '{"name":"HassTurnOn","arguments":{"area":"거실","brightness":40}}'
    assert parse(text) == call


@pytest.mark.parametrize(
    "text",
    [
        "",
        "turn on the light",
        '{"name":"x"}',
        '{"name":"","arguments":{}}',
        '{"name":3,"arguments":{}}',
        '{"name":"x","arguments":[]}',
        '{"name":"x","arguments":{"a":null}}',
        '{"name":"x","arguments":{"a":{"b":1}}}',
        '{"name":"x","arguments":{},"more":1}',
        '[{"name":"x","arguments":{}}]',
        '{"name":"x","arguments":{"a":NaN}}',
        "[" * 100_000,
    ],
)
def test_text_that_is_no_call_is_refused(text: str) -> None:
    with pytest.raises(InvalidAnswer):
        parse(text)


def test_the_order_of_arguments_does_not_matter_but_their_values_do() -> None:
    expected = '{"name":"x","arguments":{"a":1,"b":"2"}}'
    assert score('{"name":"x","arguments":{"b":"2","a":1}}', expected) == {"name": 1.0, "exact": 1.0}
    assert score('{"name":"x","arguments":{"a":1,"b":"3"}}', expected) == {"name": 1.0, "exact": 0.0}
    assert score('{"name":"y","arguments":{"a":1,"b":"2"}}', expected) == {"name": 0.0, "exact": 0.0}
    assert score("nothing", expected) == {"name": 0.0, "exact": 0.0}
