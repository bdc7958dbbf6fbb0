"""Score: the signal is the model's own distribution, as transformers computes it from the same files."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tests.contract.inference.asking import MODEL, as_prompt, chunks_of, ids_of, score

from seodang.api.inference.v1 import chat_pb2, score_pb2
from seodang.api.types.v1 import tensor_pb2
from seodang.base.errors import Conflict
from seodang.client import Client
from seodang.inference import SparseRows, to_array, unpack

pytestmark = pytest.mark.own_engine

VOCABULARY = 320
IDS = [int(n) for n in np.random.default_rng(3).integers(7, VOCABULARY, 40)]
Floats = npt.NDArray[np.float64]


@pytest.fixture(scope="session")
def oracle(checkpoints: Path) -> Floats:
    """float64 log-probabilities [T, V] of ``IDS``, from transformers."""
    return log_softmax(logits_of(checkpoints))


@pytest.fixture(scope="session")
def oracle_logits(checkpoints: Path) -> Floats:
    return logits_of(checkpoints)


def logits_of(checkpoints: Path) -> Floats:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(checkpoints / "tiny", dtype=torch.float32).eval()
    with torch.inference_mode():
        logits: Floats = model(torch.tensor([IDS])).logits[0].double().numpy()
    return logits


def log_softmax(logits: Floats) -> Floats:
    shifted = logits - logits.max(-1, keepdims=True)
    result: Floats = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return result


def signal(client: Client, *sequences: Any, **fields: Any) -> list[score_pb2.ScoreChunk]:
    signals = score_pb2.ScoreSignals(**fields)
    return chunks_of(client.inference.Score(score(*(sequences or (IDS,)), signals=signals), timeout=60))


def joined(chunks: list[score_pb2.ScoreChunk], name: str) -> npt.NDArray[Any]:
    return np.concatenate([to_array(getattr(chunk, name)) for chunk in chunks])


def rows(message: score_pb2.SparseRows, ids: npt.NDArray[Any] | None = None) -> SparseRows:
    if message.encoding == score_pb2.SPARSE_ENCODING_PACKED:
        return unpack(message.packed, ids)
    draws = to_array(message.draws) if message.HasField("draws") else None
    return SparseRows(to_array(message.counts), to_array(message.ids), to_array(message.logprobs), draws)


def test_every_position_has_its_normaliser_and_its_next_token(
    client: Client, oracle: Floats, oracle_logits: Floats
) -> None:
    chunks = signal(client)
    assert [chunk.offset for chunk in chunks] == [0]
    np.testing.assert_allclose(joined(chunks, "next_logprobs"), oracle[range(39), IDS[1:]], atol=1e-4)
    np.testing.assert_allclose(joined(chunks, "logsumexp"), np.log(np.exp(oracle_logits[:39]).sum(-1)), atol=1e-4)


def test_the_last_position_has_no_next_token(client: Client) -> None:
    whole = score_pb2.ScoreSequence(token_ids=chat_pb2.TokenIds(ids=IDS), end_position=40)
    next_logprobs = joined(signal(client, whole), "next_logprobs")
    assert len(next_logprobs) == 40
    assert np.isnan(next_logprobs).tolist() == [False] * 39 + [True]


def test_a_temperature_flattens_everything_alike(client: Client, oracle_logits: Floats) -> None:
    flat = log_softmax(oracle_logits / 2.5)
    chunks = signal(client, temperature=2.5, entropy=True)
    np.testing.assert_allclose(joined(chunks, "next_logprobs"), flat[range(39), IDS[1:]], atol=1e-4)
    np.testing.assert_allclose(joined(chunks, "entropy"), -(np.exp(flat) * flat).sum(-1)[:39], atol=1e-4)


def test_the_top_is_exact_and_tells_what_lies_outside(client: Client, oracle: Floats) -> None:
    (chunk,) = signal(client, top_k=10)
    found = rows(chunk.top)
    best = np.argsort(-oracle[:39], axis=1)[:, :10]
    assert found.counts.tolist() == [10] * 39
    assert found.ids.reshape(39, 10).tolist() == best.tolist()
    logprobs = np.take_along_axis(oracle[:39], best, 1)
    np.testing.assert_allclose(found.logprobs.reshape(39, 10), logprobs, atol=1e-4)
    np.testing.assert_allclose(to_array(chunk.tail_mass), 1 - np.exp(logprobs).sum(1), atol=1e-4)


def test_candidates_may_be_the_same_for_every_position(client: Client, oracle: Floats) -> None:
    named = [5, 300, 7, 7]
    sequence = score_pb2.ScoreSequence(
        token_ids=chat_pb2.TokenIds(ids=IDS), candidates=score_pb2.CandidateIds(ids=named)
    )
    (chunk,) = signal(client, sequence)
    found = rows(chunk.candidates)
    assert found.ids.reshape(39, 4).tolist() == [named] * 39
    np.testing.assert_allclose(found.logprobs.reshape(39, 4), oracle[:39][:, named], atol=1e-4)


@pytest.mark.parametrize("encoding", [score_pb2.SPARSE_ENCODING_PLAIN, score_pb2.SPARSE_ENCODING_PACKED])
def test_candidates_may_be_a_list_for_each_position(client: Client, oracle: Floats, encoding: Any) -> None:
    lengths = [n % 4 for n in range(39)]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    named = np.random.default_rng(5).integers(0, VOCABULARY, offsets[-1])
    sequence = score_pb2.ScoreSequence(
        token_ids=chat_pb2.TokenIds(ids=IDS), candidates=score_pb2.CandidateIds(ids=named, offsets=offsets)
    )
    (chunk,) = signal(client, sequence, encoding=encoding)
    found = rows(chunk.candidates, named.astype(np.uint32))
    expected = oracle[np.repeat(range(39), lengths), named]
    assert found.counts.tolist() == lengths
    assert found.ids.tolist() == named.tolist()
    np.testing.assert_allclose(found.logprobs, expected, atol=1e-4 if encoding == 1 else 0.15)


@pytest.mark.parametrize("encoding", [score_pb2.SPARSE_ENCODING_PLAIN, score_pb2.SPARSE_ENCODING_PACKED])
def test_a_sample_is_an_exact_head_and_weighted_draws(client: Client, oracle: Floats, encoding: Any) -> None:
    sampled = score_pb2.SampledTarget(head=4, tail_draws=16, seed=1)
    (chunk,) = signal(client, sampled=sampled, encoding=encoding)
    found = rows(chunk.sampled)
    assert found.draws is not None
    row_of = np.repeat(range(39), found.counts)
    exact = found.draws == 0
    best = np.argsort(-oracle[:39], axis=1)[:, :4]
    assert [set(ids) for ids in found.ids[exact].reshape(39, 4).tolist()] == [set(ids) for ids in best.tolist()]
    assert np.bincount(row_of, found.draws).tolist() == [16] * 39
    step = 1e-4 if encoding == score_pb2.SPARSE_ENCODING_PLAIN else 0.15
    np.testing.assert_allclose(found.logprobs, oracle[row_of, found.ids], atol=step)
    outside = 1 - np.exp(np.take_along_axis(oracle[:39], best, 1)).sum(1)
    np.testing.assert_allclose(to_array(chunk.sampled_tail_mass), outside, atol=1e-4)


def test_one_pass_serves_a_top_within_the_sample_s_head(client: Client, oracle: Floats) -> None:
    (chunk,) = signal(client, top_k=2, sampled=score_pb2.SampledTarget(head=6, tail_draws=3))
    best = -np.sort(-oracle[:39], axis=1)
    np.testing.assert_allclose(to_array(chunk.tail_mass), 1 - np.exp(best[:, :2]).sum(1), atol=1e-4)
    np.testing.assert_allclose(to_array(chunk.sampled_tail_mass), 1 - np.exp(best[:, :6]).sum(1), atol=1e-4)
    assert rows(chunk.top).counts.tolist() == [2] * 39


def test_the_same_seed_gives_the_same_draws_wherever_the_stream_begins(client: Client) -> None:
    signals = score_pb2.ScoreSignals(sampled=score_pb2.SampledTarget(tail_draws=8, seed=9))
    whole = chunks_of(client.inference.Score(score(IDS, signals=signals), timeout=60))
    rest = chunks_of(client.inference.Score(score(IDS, signals=signals, start_offset=30), timeout=60))
    ids, late_ids = rows(whole[0].sampled), rows(rest[0].sampled)
    begin = int(ids.counts[:30].sum())
    assert ids.ids[begin:].tolist() == late_ids.ids.tolist()


def test_one_seed_draws_for_every_sequence_anew(client: Client, oracle: Floats) -> None:
    """What one sequence misses, others hit: over sequences that begin alike the draws are the distribution again."""
    beginnings = [[IDS[0], 7 + n] for n in range(200)]
    chunks = signal(client, *beginnings, sampled=score_pb2.SampledTarget(tail_draws=1, seed=9))
    drawn = [int(rows(chunk.sampled).ids[0]) for chunk in chunks]
    shares = np.bincount(drawn, minlength=VOCABULARY) / len(drawn)
    best = np.argsort(-oracle[0])[:20]
    expected = np.exp(oracle[0, best]).sum()
    assert abs(shares[best].sum() - expected) < 4 * np.sqrt(expected * (1 - expected) / len(drawn))
    assert len(set(drawn)) > 20


def head_of(client: Client, **fields: Any) -> list[score_pb2.GetOutputHeadResponse]:
    return list(client.inference.GetOutputHead(score_pb2.GetOutputHeadRequest(model=MODEL, **fields), timeout=60))


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(tensor_pb2.D_TYPE_FLOAT32, 1e-4), (tensor_pb2.D_TYPE_BFLOAT16, 0.2), (tensor_pb2.D_TYPE_INT8, 0.4)],
    ids=["float32", "bfloat16", "int8"],
)
def test_hidden_states_and_head_are_the_whole_distribution(
    client: Client, oracle_logits: Floats, dtype: Any, tolerance: float
) -> None:
    chunks = signal(client, hidden_states=dtype)
    hidden = joined(chunks, "hidden_states").astype(np.float64)
    if dtype == tensor_pb2.D_TYPE_INT8:
        hidden *= joined(chunks, "hidden_scales")[:, None]
    head = np.concatenate([to_array(part.rows) for part in head_of(client)])
    assert chunks[0].hidden_states.dtype == dtype
    np.testing.assert_allclose(hidden @ head.T, oracle_logits[:39], atol=tolerance)


def test_a_head_is_resumed_at_any_row_under_the_same_digest(client: Client) -> None:
    whole = head_of(client, dtype=tensor_pb2.D_TYPE_BFLOAT16)
    rest = head_of(client, dtype=tensor_pb2.D_TYPE_BFLOAT16, start_row=301)
    assert (rest[0].first_row, rest[0].total_rows) == (301, VOCABULARY)
    assert b"".join(part.rows.data for part in whole)[301 * 64 * 2 :] == b"".join(part.rows.data for part in rest)
    assert whole[0].sha256 == rest[0].sha256 != head_of(client)[0].sha256


def test_positions_are_numbered_through_all_sequences(client: Client) -> None:
    middle = score_pb2.ScoreSequence(token_ids=chat_pb2.TokenIds(ids=IDS), first_position=10, end_position=20)
    chunks = signal(client, IDS[:5], middle, IDS[:3])
    places = [(chunk.sequence, chunk.offset, chunk.first_position) for chunk in chunks]
    assert places == [(0, 0, 0), (1, 4, 10), (2, 14, 0)]
    alone = joined(signal(client), "next_logprobs")
    np.testing.assert_allclose(joined(chunks[1:2], "next_logprobs"), alone[10:20], atol=1e-4)


@pytest.mark.parametrize("start", [0, 3, 4, 9, 14, 16])
def test_an_interrupted_stream_goes_on_where_it_broke(client: Client, start: int) -> None:
    sequences = [IDS[:5], IDS[5:16], IDS[:3]]
    whole = joined(chunks_of(client.inference.Score(score(*sequences), timeout=60)), "next_logprobs")
    events = list(client.inference.Score(score(*sequences, start_offset=start), timeout=60))
    assert events[0].accepted.total_positions == 16
    chunks = chunks_of(events)
    rest = joined(chunks, "next_logprobs") if chunks else np.empty(0)
    np.testing.assert_allclose(rest, whole[start:], atol=1e-5)
    assert events[-1].finished.usage.completion_tokens == 16 - start


def test_many_sequences_come_in_order(client: Client) -> None:
    sequences = [IDS[: 2 + n % 7] for n in range(40)]
    chunks = chunks_of(client.inference.Score(score(*sequences), timeout=60))
    assert [chunk.sequence for chunk in chunks] == list(range(40))


def test_the_stream_tells_its_own_size(client: Client) -> None:
    events = list(client.inference.Score(score(IDS, signals=score_pb2.ScoreSignals(top_k=8)), timeout=60))
    finished = events[-1].finished
    assert finished.signal_bytes == sum(event.chunk.ByteSize() for event in events[1:-1])
    assert finished.bytes_per_position == pytest.approx(finished.signal_bytes / 39)


def test_packed_rows_are_a_third_of_plain_ones(client: Client) -> None:
    plain, packed = (
        signal(client, top_k=64, encoding=encoding)
        for encoding in (score_pb2.SPARSE_ENCODING_PLAIN, score_pb2.SPARSE_ENCODING_PACKED)
    )
    assert packed[0].top.ByteSize() < plain[0].top.ByteSize() / 3


def test_a_conversation_is_scored_as_the_template_writes_it(client: Client) -> None:
    turns = [
        chat_pb2.Message(role=chat_pb2.ROLE_USER, content="안녕"),
        chat_pb2.Message(role=chat_pb2.ROLE_ASSISTANT, content="네"),
    ]
    answered = score_pb2.ScoreSequence(chat=chat_pb2.ChatPrompt(messages=turns))
    waiting = score_pb2.ScoreSequence(chat=chat_pb2.ChatPrompt(messages=turns[:1]))
    chunks = signal(client, answered, waiting, IDS)
    whole = ids_of(client, as_prompt("<|user|>안녕<eos><|assistant|>네<eos>"))
    asked = ids_of(client, as_prompt("<|user|>안녕<eos><|assistant|>"))
    assert to_array(chunks[0].token_ids).tolist() == whole
    assert to_array(chunks[1].token_ids).tolist() == asked
    assert not chunks[2].HasField("token_ids")


def test_another_model_s_signal_is_refused(client: Client) -> None:
    events = list(client.inference.Score(score(IDS), timeout=60))
    accepted = events[0].accepted
    same = score(
        IDS,
        expected_weights_sha256=accepted.weights_sha256,
        expected_tokenizer_sha256=accepted.tokenizer_sha256,
    )
    assert chunks_of(client.inference.Score(same, timeout=60))
    other = score(IDS, expected_weights_sha256="0" * 64, expected_tokenizer_sha256=accepted.tokenizer_sha256)
    with pytest.raises(Conflict) as caught:
        list(client.inference.Score(other, timeout=60))
    assert caught.value.reason == "FINGERPRINT_MISMATCH"
    assert caught.value.metadata == {"weights_sha256": accepted.weights_sha256}
