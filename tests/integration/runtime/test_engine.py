"""What one engine promises to its callers, over a tiny A.X K1."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.tiny_engines import (
    GREEDY,
    complete,
    completion_of,
    drain,
    end_of,
    engine_of,
    prompt_of,
    reference,
    text_of,
    tokens_of,
)

from seodang.base.errors import AlreadyExists, Exhausted, InvalidInput, Unavailable
from seodang.runtime.engine import Engine
from seodang.worker.messages import (
    Accepted,
    ChatMessage,
    ChatPrompt,
    Embed,
    Embedded,
    Failed,
    FinishReason,
    Pooling,
    SamplingParams,
    Score,
    ScoreChunk,
    TextPrompt,
    TokenDelta,
    TokenPrompt,
)
from seodang.worker.tensor import Tensor

PROMPT = prompt_of(20)
SAMPLED = SamplingParams(temperature=1.0, top_p=0.95, seed=11)


def score_of(**fields: object) -> Score:
    settings = {"request_id": "s", "model_id": "tiny", "prompt": TokenPrompt(token_ids=PROMPT), **fields}
    return Score(**settings)  # type: ignore[arg-type]


def chunks_of(engine: Engine, command: Score) -> list[ScoreChunk]:
    engine.score(command, credits_=1000)
    return [event for event in drain(engine) if isinstance(event, ScoreChunk)]


# ── Generation ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_seed_gives_the_same_tokens_alone_and_in_a_crowd(engine: Engine) -> None:
    command = completion_of("x", PROMPT, 30, sampling=SAMPLED)
    alone = complete(engine, command)["x"]
    crowd = [completion_of(str(i), prompt_of(9 + i, i), 20 + i, sampling=SamplingParams(seed=i)) for i in range(7)]
    assert complete(engine, *crowd[:3], command, *crowd[3:])["x"] == alone
    assert complete(engine, completion_of("y", PROMPT, 30, sampling=SamplingParams(seed=12)))["y"] != alone


def test_without_a_seed_two_answers_differ(engine: Engine) -> None:
    free = SamplingParams(temperature=1.5)
    results = complete(engine, *(completion_of(name, PROMPT, 30, sampling=free) for name in "ab"))
    assert results["a"] != results["b"]


def test_events_come_as_accepted_deltas_finished(engine: Engine) -> None:
    accepted = engine.generate(completion_of("x", PROMPT, 3))
    events = drain(engine)
    assert accepted == Accepted(request_id="x", prompt_tokens=20)
    assert [type(event).__name__ for event in events] == ["TokenDelta"] * 3 + ["Finished"]
    end = end_of(events, "x")
    assert end.reason is FinishReason.LENGTH
    assert (end.usage.prompt_tokens, end.usage.cached_tokens, end.usage.completion_tokens) == (20, 0, 3)
    assert 0 <= end.usage.queue_s <= end.usage.first_token_s <= end.usage.total_s


def test_a_prefix_met_before_is_reported_as_cached(engine: Engine) -> None:
    complete(engine, completion_of("x", PROMPT, 3))
    engine.generate(completion_of("y", PROMPT, 3))
    assert end_of(drain(engine), "y").usage.cached_tokens == 16


def test_echo_returns_the_prompt_as_ids_and_text(engine: Engine) -> None:
    text = "안녕 서당"
    command = completion_of("x", PROMPT, 1, prompt=TextPrompt(text=text), echo_prompt=True)
    accepted = engine.generate(command)
    assert accepted.prompt_text == text
    assert len(accepted.prompt_token_ids) == accepted.prompt_tokens


def test_a_conversation_goes_through_the_chat_template(engine: Engine) -> None:
    prompt = ChatPrompt(messages=(ChatMessage(role="user", content="안녕"),))
    accepted = engine.generate(completion_of("x", PROMPT, 1, prompt=prompt, echo_prompt=True))
    assert accepted.prompt_text == "<|user|>안녕<eos><|assistant|>"


def test_a_stop_token_ends_without_its_text(engine: Engine) -> None:
    tokens = complete(engine, completion_of("x", PROMPT, 12))["x"]
    stop = next(token for token in tokens if tokens.index(token) >= 3)
    engine.generate(completion_of("y", PROMPT, 12, stop_token_ids=(stop,)))
    events = drain(engine)
    end = end_of(events, "y")
    assert (end.reason, end.stop_token_id) == (FinishReason.STOP_TOKEN, stop)
    assert tokens_of(events, "y") == tokens[: tokens.index(stop) + 1]
    assert text_of(events, "y") == engine.tokenizer.decode(tokens[: tokens.index(stop)], skip_special_tokens=True)


def test_a_stop_string_ends_before_it(engine: Engine) -> None:
    engine.generate(completion_of("x", PROMPT, 20))
    text = text_of(drain(engine), "x")
    stop = text[7:9]
    engine.generate(completion_of("y", PROMPT, 20, stop=("never this", stop)))
    events = drain(engine)
    end = end_of(events, "y")
    assert (end.reason, end.stop_string) == (FinishReason.STOP_STRING, stop)
    assert text_of(events, "y") == text[: text.index(stop)]


def test_the_texts_join_to_the_text_of_all_tokens(engine: Engine) -> None:
    engine.generate(completion_of("x", PROMPT, 60, stop=("\x00 never",)))
    events = drain(engine)
    expected = engine.tokenizer.decode(tokens_of(events, "x"), skip_special_tokens=True)
    assert text_of(events, "x") == expected


def test_the_context_ends_a_completion_without_a_limit(axk1_folder: Path) -> None:
    engine = engine_of(axk1_folder, max_context=32)
    engine.generate(completion_of("x", PROMPT, 5, max_new_tokens=None))
    end = end_of(drain(engine), "x")
    assert (end.reason, end.usage.completion_tokens) == (FinishReason.CONTEXT, 12)


def test_log_probabilities_are_the_models_own(engine: Engine, axk1_folder: Path) -> None:
    params = SamplingParams(temperature=0.3, top_k=5, seed=1)
    engine.generate(completion_of("x", PROMPT, 4, sampling=params, top_logprobs=3))
    deltas = [event for event in drain(engine) if isinstance(event, TokenDelta)]
    tokens = [delta.token_ids[0] for delta in deltas]
    with torch.inference_mode():
        logits = reference(axk1_folder)(torch.tensor([[*PROMPT, *tokens]])).logits[0, len(PROMPT) - 1 : -1]
    logprobs = logits.log_softmax(-1)
    for step, delta in enumerate(deltas):
        (entry,) = delta.logprobs
        assert entry.chosen.token_id == tokens[step]
        assert entry.chosen.logprob == pytest.approx(float(logprobs[step, tokens[step]]), abs=1e-4)
        assert [top.token_id for top in entry.top] == logprobs[step].topk(3).indices.tolist()
        assert entry.chosen.piece == engine.tokenizer.piece(tokens[step])


def test_zero_top_logprobs_reports_the_chosen_token_only(engine: Engine) -> None:
    engine.generate(completion_of("x", PROMPT, 1, top_logprobs=0))
    delta = drain(engine)[0]
    assert isinstance(delta, TokenDelta)
    assert delta.logprobs[0].top == ()


def test_a_cancelled_request_frees_its_blocks_at_once(engine: Engine) -> None:
    before = engine.scheduler.pool.available
    engine.generate(completion_of("x", PROMPT, 100))
    engine.step()
    assert engine.scheduler.pool.available < before
    end = engine.cancel("x")
    assert end is not None
    assert end.reason is FinishReason.CANCELLED
    assert engine.scheduler.pool.available == before
    assert not engine.busy
    assert engine.cancel("x") is None


def test_an_id_under_way_is_refused_and_free_again_afterwards(engine: Engine) -> None:
    engine.generate(completion_of("x", PROMPT, 2))
    with pytest.raises(AlreadyExists, match="request x is under way"):
        engine.generate(completion_of("x", PROMPT, 2))
    drain(engine)
    engine.generate(completion_of("x", PROMPT, 2))


def test_a_refused_request_leaves_nothing_behind(axk1_folder: Path) -> None:
    engine = engine_of(axk1_folder, max_waiting=1)
    with pytest.raises(InvalidInput):
        engine.generate(completion_of("x", PROMPT, 0))
    engine.generate(completion_of("a", PROMPT, 2))
    with pytest.raises(Exhausted):
        engine.generate(completion_of("b", PROMPT, 2))
    drain(engine)
    engine.generate(completion_of("b", PROMPT, 2))


def test_all_requests_can_be_ended_with_one_error(engine: Engine) -> None:
    engine.generate(completion_of("x", PROMPT, 50))
    engine.score(score_of(), credits_=0)
    events = engine.fail_all(Unavailable("unloading"))
    assert {event.request_id for event in events if isinstance(event, Failed)} == {"x", "s"}
    assert not engine.busy


# ── Scoring ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_scores_match_the_generated_log_probabilities(engine: Engine) -> None:
    (chunk,) = chunks_of(engine, score_of(top_k=1))
    engine.generate(completion_of("x", PROMPT, 1, sampling=GREEDY, top_logprobs=1))
    delta = drain(engine)[0]
    assert isinstance(delta, TokenDelta)
    assert chunk.top_logprobs is not None
    assert chunk.top_logprobs.to_numpy()[-1, 0] == pytest.approx(delta.logprobs[0].chosen.logprob, abs=1e-5)


def test_a_stream_resumes_where_it_broke(engine: Engine) -> None:
    options = {"top_k": 4, "tail_samples": 5, "seed": 3, "entropy": True, "hidden_states": True}
    (whole,) = chunks_of(engine, score_of(**options))
    (rest,) = chunks_of(engine, score_of(start=13, **options))
    assert (rest.start, rest.positions, rest.last) == (13, 7, True)
    for name in ("logsumexp", "next_logprobs", "top_logprobs", "tail_mass", "entropy", "sample_logprobs"):
        np.testing.assert_allclose(
            getattr(rest, name).to_numpy(), getattr(whole, name).to_numpy()[13:], atol=1e-5, err_msg=name
        )
    assert rest.sample_ids is not None
    assert whole.sample_ids is not None
    assert np.array_equal(rest.sample_ids.to_numpy(), whole.sample_ids.to_numpy()[13:])


def test_ids_named_for_each_position_are_scored_there(engine: Engine) -> None:
    named = np.arange(40, dtype=np.int32).reshape(20, 2)
    everything = chunks_of(engine, score_of(top_k=320, chunk_positions=6))
    chunks = chunks_of(engine, score_of(named_ids=Tensor.from_numpy(named), chunk_positions=6))
    for chunk, full in zip(chunks, everything, strict=True):
        assert chunk.named_logprobs is not None
        assert full.top_ids is not None
        assert full.top_logprobs is not None
        for row in range(chunk.positions):
            by_id = dict(zip(full.top_ids.to_numpy()[row], full.top_logprobs.to_numpy()[row], strict=True))
            expected = [by_id[index] for index in named[chunk.start + row]]
            np.testing.assert_allclose(chunk.named_logprobs.to_numpy()[row], expected, atol=1e-6)


def test_hidden_states_times_the_head_give_the_distribution(engine: Engine) -> None:
    (chunk,) = chunks_of(engine, score_of(hidden_states=True, top_k=320))
    assert chunk.hidden_states is not None
    assert chunk.hidden_states.dtype == "float32"
    head = engine.executor.head(slice(0, 320)).numpy()
    logits = torch.tensor(chunk.hidden_states.to_numpy() @ head.T)
    assert chunk.top_ids is not None
    assert chunk.top_logprobs is not None
    got = logits.log_softmax(-1).gather(1, torch.tensor(chunk.top_ids.to_numpy()).long())
    assert (got - torch.tensor(chunk.top_logprobs.to_numpy())).abs().max() < 1e-4


def test_a_stream_waits_for_its_reader(engine: Engine) -> None:
    engine.score(score_of(chunk_positions=5), credits_=2)
    assert [type(event).__name__ for event in drain(engine)] == ["ScoreChunk"] * 2
    engine.add_credit("s", 1)
    (third,) = drain(engine)
    engine.add_credit("s", 5)
    (last,) = drain(engine)
    assert isinstance(third, ScoreChunk)
    assert isinstance(last, ScoreChunk)
    assert (third.start, last.start, last.last) == (10, 15, True)
    assert engine.cancel("s") is None


def test_scoring_and_generating_share_steps(engine: Engine) -> None:
    alone = complete(engine, completion_of("x", PROMPT, 10))["x"]
    (expected,) = chunks_of(engine, score_of(prompt=TokenPrompt(token_ids=prompt_of(30, 4))))
    engine.generate(completion_of("y", PROMPT, 10))
    engine.step()
    engine.score(score_of(prompt=TokenPrompt(token_ids=prompt_of(30, 4)), chunk_positions=4), credits_=100)
    events = drain(engine)
    assert alone[1:] == tokens_of(events, "y")
    got = np.concatenate([e.logsumexp.to_numpy() for e in events if isinstance(e, ScoreChunk)])
    np.testing.assert_allclose(got, expected.logsumexp.to_numpy(), atol=1e-5)


# ── Embedding ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("pooling", list(Pooling))
def test_vectors_are_pooled_from_the_final_hidden_states(axk1_folder: Path, pooling: Pooling) -> None:
    engine = engine_of(axk1_folder, prefill_tokens=8)
    prompts = (TokenPrompt(token_ids=PROMPT), TokenPrompt(token_ids=prompt_of(3, 8)))
    engine.embed(Embed(request_id="e", model_id="tiny", prompts=prompts, pooling=pooling, normalize=False))
    (reply,) = drain(engine)
    assert isinstance(reply, Embedded)
    assert reply.prompt_tokens == (20, 3)
    model = reference(axk1_folder)
    for vector, prompt in zip(reply.vectors.to_numpy(), prompts, strict=True):
        with torch.inference_mode():
            hidden = model.model(torch.tensor([prompt.token_ids])).last_hidden_state[0]
        expected = hidden.mean(0) if pooling is Pooling.MEAN else hidden[-1]
        np.testing.assert_allclose(vector, expected.numpy(), atol=1e-4)


def test_normalized_vectors_have_length_one(engine: Engine) -> None:
    engine.embed(Embed(request_id="e", model_id="tiny", prompts=(TextPrompt(text="글"), TextPrompt(text="teacher"))))
    (reply,) = drain(engine)
    assert isinstance(reply, Embedded)
    np.testing.assert_allclose(np.linalg.norm(reply.vectors.to_numpy(), axis=1), 1.0, atol=1e-5)
