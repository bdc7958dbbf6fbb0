"""Generate: what comes, in which order, and what each field does."""

import json
import re
from collections.abc import Callable

import pytest
from tests.contract.inference.asking import MODEL, ask, generate, ids_of, token_ids

from seodang.api.inference.v1 import chat_pb2, generate_pb2
from seodang.client import Client


def test_it_says_what_it_accepted_and_what_it_used(client: Client) -> None:
    answer = ask(client, generate("서당 훈장님", new=6, request_id="r-1"))
    assert (answer.accepted.request_id, answer.accepted.model) == ("r-1", MODEL)
    prompt_tokens = len(ids_of(client, chat_pb2.Prompt(text="서당 훈장님")))
    assert answer.accepted.prompt_tokens == answer.usage.prompt_tokens == prompt_tokens
    assert len(answer.tokens) == answer.usage.completion_tokens == 6
    assert answer.finished.reason == generate_pb2.FINISH_REASON_LENGTH
    assert 0 <= answer.usage.queue_ms <= answer.usage.first_token_ms <= answer.usage.total_ms


def test_a_request_without_an_id_gets_one(client: Client) -> None:
    assert len(ask(client, generate(new=1)).accepted.request_id) >= 32


def test_greedy_tokens_do_not_depend_on_how_the_prompt_is_written(client: Client) -> None:
    ids = ids_of(client, chat_pb2.Prompt(text="students listen"))
    assert ask(client, generate("students listen")).ids == ask(client, generate(ids)).ids


def test_a_seed_decides_the_draws(client: Client) -> None:
    def draw(seed: int) -> list[int]:
        return ask(client, generate(greedy=False, sampling=generate_pb2.Sampling(seed=seed, temperature=2.0))).ids

    assert draw(7) == draw(7)
    assert draw(7) != draw(8)


def test_an_unset_temperature_samples_as_the_model_does(client: Client) -> None:
    drawn = [ask(client, generate(greedy=False, sampling=generate_pb2.Sampling(seed=seed))).ids for seed in range(3)]
    assert len({tuple(ids) for ids in drawn}) > 1


def test_top_k_of_one_is_greedy_whatever_the_temperature(client: Client) -> None:
    sampling = generate_pb2.Sampling(temperature=10.0, top_k=1)
    assert ask(client, generate(greedy=False, sampling=sampling)).ids == ask(client, generate()).ids


def test_a_bias_decides_the_token(client: Client) -> None:
    answer = ask(client, generate(new=3, sampling=generate_pb2.Sampling(logit_bias={77: 100.0})))
    assert answer.ids == [77, 77, 77]


def test_a_presence_penalty_avoids_what_was_said(client: Client) -> None:
    """Of many tokens that come second by about one, the penalty of two brings some to the front."""

    def said(second: int, penalty: float) -> list[int]:
        sampling = generate_pb2.Sampling(logit_bias={77: 20.0, second: 19.0}, presence_penalty=penalty)
        return ask(client, generate(new=2, sampling=sampling)).ids

    repeated = [second for second in range(78, 98) if said(second, 0.0) == [77, 77]]
    assert {tuple(said(second, 2.0)) for second in repeated} <= {(77, 77), *((77, second) for second in repeated)}
    assert any(said(second, 2.0) == [77, second] for second in repeated)


def test_it_ends_before_a_stop_string(client: Client) -> None:
    text = ask(client, generate("The teacher", new=12)).text
    stop = text[4:6]
    answer = ask(client, generate("The teacher", new=12, stopping=generate_pb2.Stopping(strings=["never", stop])))
    assert answer.finished.reason == generate_pb2.FINISH_REASON_STOP_STRING
    assert answer.finished.matched_stop == stop
    assert answer.text == text[: text.index(stop)]


def test_it_ends_after_a_stop_token(client: Client) -> None:
    ids = ask(client, generate(new=6)).ids
    answer = ask(client, generate(new=6, stopping=generate_pb2.Stopping(token_ids=[ids[3]])))
    assert answer.finished.reason == generate_pb2.FINISH_REASON_STOP_TOKEN
    assert answer.finished.matched_stop == str(ids[3])
    assert answer.ids == ids[: ids.index(ids[3]) + 1]


def test_it_ends_at_the_end_of_the_context(client: Client) -> None:
    answer = ask(client, generate([5] * 4090, new=None, stopping=generate_pb2.Stopping(ignore_end_tokens=True)))
    assert answer.finished.reason == generate_pb2.FINISH_REASON_LENGTH
    assert len(answer.ids) == 6


def test_log_probabilities_come_when_they_are_asked_for(client: Client) -> None:
    plain = ask(client, generate(new=2)).tokens
    assert not plain[0].HasField("logprob")
    chosen = ask(client, generate(new=2, logprobs=True)).tokens
    assert chosen[0].logprob < 0
    assert not chosen[0].alternatives
    ranked = ask(client, generate(new=2, top_logprobs=64)).tokens
    logprobs = [alternative.logprob for alternative in ranked[0].alternatives]
    assert len(logprobs) == 64
    assert logprobs == sorted(logprobs, reverse=True)
    best = ranked[0].alternatives[0]
    assert (best.id, best.logprob, best.piece) == (ranked[0].id, ranked[0].logprob, ranked[0].piece)
    assert best.text == best.piece.decode(errors="replace")


def test_the_texts_of_all_deltas_are_the_bytes_of_all_tokens(client: Client) -> None:
    answer = ask(client, generate("감사합니다", new=40, logprobs=True))
    special = range(7)
    spoken = b"".join(token.piece for token in answer.tokens if token.id not in special)
    assert answer.text == spoken.decode(errors="replace")


def test_a_known_prefix_is_not_computed_again(client: Client) -> None:
    ids = [11 + n % 200 for n in range(64)]
    ask(client, generate(ids, new=1))
    again = ask(client, generate(ids, new=1))
    assert 0 < again.usage.cached_prompt_tokens < 64


def test_special_tokens_can_be_shown(client: Client) -> None:
    bias = generate_pb2.Sampling(logit_bias={3: 100.0})
    request = generate(new=1, sampling=bias)
    assert ask(client, request).text == ""
    request.extra["skip_special_tokens"] = False
    assert ask(client, request).text == "<|user|>"


def test_a_stop_string_can_be_kept(client: Client) -> None:
    text = ask(client, generate("The teacher", new=12)).text
    request = generate("The teacher", new=12, stopping=generate_pb2.Stopping(strings=[text[4:6]]))
    request.extra["include_stop"] = True
    assert ask(client, request).text == text[: text.index(text[4:6]) + 2]


def test_two_requests_run_together_as_each_would_alone(client: Client) -> None:
    prompts = ["서당", "The teacher reads"]
    alone = [ask(client, generate(prompt, new=20)).ids for prompt in prompts]
    streams = [client.inference.Generate(generate(prompt, new=20), timeout=60) for prompt in prompts]
    together = [[token.id for event in stream for token in event.delta.tokens] for stream in streams]
    assert together == alone


def test_every_part_of_a_conversation_reaches_the_template(client: Client) -> None:
    call = chat_pb2.ToolCall(id="c1", name="turn_on")
    call.arguments.update({"room": "거실", "level": 3, "share": 0.5})
    tool = chat_pb2.Tool(name="turn_on", description="Turns it on")
    tool.parameters.update({"type": "object", "properties": {"room": {"type": "string"}}})
    turns = [
        chat_pb2.Message(role=chat_pb2.ROLE_SYSTEM, content="tools"),
        chat_pb2.Message(role=chat_pb2.ROLE_USER, content="불 켜 줘"),
        chat_pb2.Message(role=chat_pb2.ROLE_ASSISTANT, tool_calls=[call]),
        chat_pb2.Message(role=chat_pb2.ROLE_TOOL, tool_call_id="c1", content="done"),
    ]
    chat = chat_pb2.Prompt(chat=chat_pb2.ChatPrompt(messages=turns, tools=[tool], enable_thinking=False))
    written = (
        '<|system|>{"name": "turn_on", "description": "Turns it on", "parameters": '
        '{"properties": {"room": {"type": "string"}}, "type": "object"}}<eos>'
        "<|system|>tools<eos><|user|>불 켜 줘<eos>"
        '<|assistant|>{"name": "turn_on", "arguments": {"level": 3, "room": "거실", "share": 0.5}}<eos>'
        "<|tool|>[c1]done<eos><|assistant|>(False)"
    )
    assert ids_of(client, chat) == ids_of(client, chat_pb2.Prompt(text=written))
    assert ask(client, generate(prompt=chat)).ids == ask(client, generate(written)).ids


@pytest.mark.parametrize("ids", [[319], [0]], ids=["last", "first"])
def test_the_ends_of_the_vocabulary_are_tokens_like_others(client: Client, ids: list[int]) -> None:
    assert ids_of(client, token_ids(ids)) == ids
    assert len(ask(client, generate(ids, new=1)).ids) == 1


Constraint = generate_pb2.Constraint
SCHEMA = (
    '{"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"], "additionalProperties": false}'
)
ODD_WORDS = ["켜 줘.", "a+b|(c)", "[x]\\n-{y}^$"]
SHAPES = {
    "schema": (Constraint(json_schema=SCHEMA), lambda text: isinstance(json.loads(text)["on"], bool)),
    "regex": (Constraint(regex="[가-힣]{2}-[0-9]{3}"), lambda text: re.fullmatch("[가-힣]{2}-[0-9]{3}", text)),
    "grammar": (
        Constraint(lark_grammar='start: "go " ("left" | "right")'),
        lambda text: text in ("go left", "go right"),
    ),
    "choice": (Constraint(choice=Constraint.Choice(options=ODD_WORDS)), lambda text: text in ODD_WORDS),
}


@pytest.mark.parametrize(("constraint", "fits"), SHAPES.values(), ids=SHAPES.keys())
def test_a_constraint_shapes_the_output(client: Client, constraint: Constraint, fits: Callable[[str], object]) -> None:
    for seed in range(3):
        sampling = generate_pb2.Sampling(temperature=1.0, seed=seed)
        answer = ask(client, generate(new=200, greedy=False, sampling=sampling, constraint=constraint))
        ends = (generate_pb2.FINISH_REASON_CONSTRAINT, generate_pb2.FINISH_REASON_STOP_TOKEN)
        assert answer.finished.reason in ends
        assert fits(answer.text)


def test_any_json_object_will_do_if_none_is_described(client: Client) -> None:
    request = generate(new=60, constraint=Constraint(json_object=Constraint.JsonObject()))
    assert ask(client, request).text.lstrip().startswith("{")
