from itertools import islice

import numpy as np
import pytest

from seodang.distillation.data import Encoded
from seodang.distillation.training import collate, micro_batches, plan_steps


def encoded(count: int, seed: int = 0) -> Encoded:
    """Sequences whose tokens are all different, so that each can be told from the others."""
    rng = np.random.default_rng(seed)
    next_token, sequences = 1, []
    for _ in range(count):
        length = int(rng.integers(4, 30))
        sequences.append((list(range(next_token, next_token + length)), int(rng.integers(1, length - 1))))
        next_token += length
    return Encoded.of(sequences)


def test_every_epoch_reads_every_sequence_once() -> None:
    data = encoded(50)
    per_step = 100
    read = np.concatenate(list(islice(plan_steps(data.lengths, per_step, seed=1), 60)))
    epochs = len(read) // 50
    assert epochs >= 5
    for epoch in range(epochs):
        assert sorted(read[epoch * 50 : epoch * 50 + 50]) == list(range(50))
    assert list(read[:50]) != list(read[50:100])


def test_a_step_holds_about_the_tokens_it_should() -> None:
    data = encoded(50)
    for indices in islice(plan_steps(data.lengths, 100, seed=1), 30):
        tokens = data.lengths[indices].sum()
        assert 100 <= tokens < 100 + data.lengths.max()


def test_one_step_may_hold_the_data_several_times() -> None:
    data = encoded(3)
    indices = next(plan_steps(data.lengths, 10 * int(data.lengths.sum()), seed=1))
    assert np.bincount(indices).tolist() == [10, 10, 10]


def test_steps_depend_on_the_seed_alone() -> None:
    lengths = encoded(50).lengths
    first, again, other = (
        np.concatenate(list(islice(plan_steps(lengths, 100, seed), 20))).tolist() for seed in (1, 1, 2)
    )
    assert first == again != other


def test_micro_batches_keep_every_sequence_and_respect_the_limit() -> None:
    data = encoded(50)
    batches = micro_batches(data, np.arange(50), tokens=120)
    assert all(batch.ids_BT.numel() <= 120 for batch in batches)
    assert sum(batch.tokens for batch in batches) == len(data.tokens)
    padding = sum(batch.ids_BT.numel() for batch in batches) / len(data.tokens) - 1
    assert padding < 0.2


def test_positions_labels_and_rows_say_the_same() -> None:
    data = encoded(20)
    rows_seen = []
    for batch in micro_batches(data, np.arange(20), tokens=150):
        flat = batch.ids_BT.flatten().numpy()
        # Tokens count upwards within a sequence, so the right next token is the token plus one.
        assert (batch.labels_N.numpy() == flat[batch.at_N.numpy()] + 1).all()
        assert (data.labels[batch.rows_N] == batch.labels_N.numpy()).all()
        rows_seen += batch.rows_N.tolist()
    assert sorted(rows_seen) == list(range(int(data.positions.sum())))


def test_exactly_the_answers_and_their_ends_are_trained() -> None:
    data = Encoded.of([([5, 6, 7, 8, 9], 3), ([1, 2], 1)])
    batch = collate(data, [0, 1])
    assert batch.ids_BT.tolist() == [[5, 6, 7, 8, 9], [1, 2, 0, 0, 0]]
    assert batch.at_N.tolist() == [2, 3, 5]
    assert batch.labels_N.tolist() == [8, 9, 2]
    assert data.labels.tolist() == [8, 9, 2]


def test_of_a_conversation_only_the_answers_are_trained() -> None:
    flags = np.array([False, True, True, False, False, True])
    data = Encoded.of([([1, 2], 1), ([5, 6, 7, 8, 9, 10], flags)])
    batch = collate(data, [1, 0])
    assert batch.at_N.tolist() == [0, 1, 4, 6]
    assert batch.labels_N.tolist() == [6, 7, 10, 2]
    assert batch.rows_N.tolist() == [1, 2, 3, 0]
    assert data.answers(1) == [(1, 3), (5, 6)]


@pytest.mark.parametrize("indices", [[1], [1, 0], [0, 1, 0]])
def test_selecting_keeps_order_and_answers(indices: list[int]) -> None:
    data = Encoded.of([([5, 6, 7], 2), ([1, 2], 1)])
    chosen = data.select(indices)
    assert [chosen.ids(at).tolist() for at in range(len(chosen))] == [data.ids(index).tolist() for index in indices]
    assert chosen.sha256 != data.sha256
