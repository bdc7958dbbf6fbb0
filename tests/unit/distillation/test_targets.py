"""The target store: what is written comes back, and what does not belong together is refused by name."""

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from tests.unit.distillation.systematic import entries

from seodang.distillation.data import Encoded
from seodang.distillation.loss import DenseSignal, HiddenSignal, Objective, SampledSignal, TruncatedSignal
from seodang.distillation.spec import HiddenTarget, SampledTarget, Target, TopKTarget
from seodang.distillation.targets import (
    Shard,
    ShardSignals,
    TargetIdentity,
    TargetMismatch,
    TargetStore,
    plan_units,
    read_ledger,
)
from seodang.distillation.targets.journal import Journal

V = 50
DATA = Encoded.of([([3, 4, 5, 6, 7], 2), ([9, 8, 7], 1), ([1, 2, 3, 4], 3)])


def identity(target: Target, *, packed: bool = True) -> TargetIdentity:
    return TargetIdentity(
        model="models/t",
        weights_sha256="w" * 64,
        tokenizer_sha256="t" * 64,
        vocabulary_size=V,
        engine_dtype="float32",
        temperature=1.0,
        target=target,
        seed=0,
        packed=packed,
        data_sha256=DATA.sha256,
    )


def log_probs() -> np.ndarray:
    rng = np.random.default_rng(0)
    logits = 3 * rng.standard_normal((len(DATA.labels), V)).astype(np.float32)
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))


def label_log_probs(logits: np.ndarray) -> np.ndarray:
    """Of the right next tokens, float32 [P]."""
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    return np.take_along_axis(log_p, DATA.labels[:, None], 1)[:, 0].astype(np.float32)


def sampled_shard(log_p: np.ndarray) -> Shard:
    """The three likeliest exactly, and four draws."""
    counts, ids, draws = entries(log_p, 3, 4)
    row_E = np.repeat(np.arange(len(counts)), counts)
    rising = np.lexsort((ids, row_E))
    log_probs_E = log_p[row_E, ids]
    inside = np.bincount(row_E, np.where(draws == 0, np.exp(log_probs_E), 0.0))
    return Shard(
        positions=DATA.positions,
        next_log_probs=np.take_along_axis(log_p, DATA.labels[:, None], 1)[:, 0],
        entropy=-(np.exp(log_p) * log_p).sum(1),
        counts=counts.astype(np.uint16),
        ids=ids[rising].astype(np.int32),
        log_probs=log_probs_E[rising],
        draws=draws[rising].astype(np.uint16),
        outside=(1 - inside).astype(np.float32),
    )


def test_a_sampled_shard_comes_back_as_it_was(tmp_path: Path) -> None:
    target = SampledTarget(head=3, tail_draws=4)
    store = TargetStore(tmp_path, identity(target, packed=False))
    shard = sampled_shard(log_probs())
    store.add("0", DATA, shard, signal_bytes=100, seconds=0.5)
    again = TargetStore(tmp_path, identity(target, packed=False)).read("0", DATA)
    for name in ("positions", "next_log_probs", "entropy", "counts", "ids", "log_probs", "draws", "outside"):
        np.testing.assert_array_equal(again.column(name), shard.column(name))
    assert [record.positions for record in read_ledger(tmp_path)] == [len(DATA.labels)]


def test_a_packed_store_keeps_no_log_probabilities_of_draws(tmp_path: Path) -> None:
    target = SampledTarget(head=3, tail_draws=4)
    shard = sampled_shard(log_probs())
    stores = [TargetStore(tmp_path / str(packed), identity(target, packed=packed)) for packed in (False, True)]
    for store in stores:
        store.add("0", DATA, shard, signal_bytes=100, seconds=0.5)
    whole, lean = (store.read("0", DATA) for store in stores)
    assert np.isnan(lean.column("log_probs")[lean.column("draws") > 0]).all()
    rows = np.arange(len(DATA.labels))
    one, other = (ShardSignals(each, target).at(rows) for each in (whole, lean))
    assert isinstance(one, SampledSignal)
    assert isinstance(other, SampledSignal)
    torch.testing.assert_close(one.ids_NK, other.ids_NK)
    torch.testing.assert_close(one.probs_NK, other.probs_NK, rtol=1e-4, atol=0)


def test_rounding_moves_a_number_by_less_than_a_packed_step() -> None:
    shard = sampled_shard(log_probs())
    odd = np.array([-31.9, -np.inf, 0.0, np.nan], np.float32)
    near = replace(shard, next_log_probs=odd).lean()
    np.testing.assert_allclose(near.next_log_probs, odd, atol=1e-3)
    for name in ("entropy", "outside"):
        np.testing.assert_allclose(near.column(name), shard.column(name), rtol=2**-15)
    exact = shard.column("draws") == 0
    np.testing.assert_array_equal(near.column("log_probs")[exact], shard.column("log_probs")[exact])


def test_sampled_signals_weigh_draws_by_the_tail() -> None:
    log_p = log_probs()[[4, 0]]
    order = np.argsort(-log_p, axis=1)
    ids = np.concatenate([order[:, :3], order[:, -2:]], 1)
    kept = np.take_along_axis(log_p, ids, 1)
    shard = Shard(
        positions=np.array([2]),
        next_log_probs=log_p[:, 0],
        entropy=-(np.exp(log_p) * log_p).sum(1),
        counts=np.full(2, 5, np.uint16),
        ids=ids.reshape(-1).astype(np.int32),
        log_probs=kept.reshape(-1),
        draws=np.tile(np.array([0, 0, 0, 1, 3], np.uint16), 2),
        outside=(1 - np.exp(kept[:, :3]).sum(1)).astype(np.float32),
    )
    signal = ShardSignals(shard, SampledTarget(head=3, tail_draws=4)).at(np.array([0, 1]))
    assert isinstance(signal, SampledSignal)
    torch.testing.assert_close(signal.probs_NK.sum(1), torch.ones(2))
    tail = 1 - signal.probs_NK[:, :3].sum(1)
    torch.testing.assert_close(signal.probs_NK[:, 3:], tail[:, None] * torch.tensor([[0.25, 0.75]]))
    expected = torch.from_numpy(log_p).exp().gather(1, signal.ids_NK[:, :3])
    torch.testing.assert_close(signal.probs_NK[:, :3], expected)


def test_rows_of_unequal_length_are_filled_up_with_nothing() -> None:
    shard = Shard(
        positions=np.array([2]),
        next_log_probs=np.zeros(2, np.float32),
        entropy=np.zeros(2, np.float32),
        counts=np.array([1, 3], np.uint16),
        ids=np.array([7, 1, 2, 3], np.int32),
        log_probs=np.log(np.array([1.0, 0.5, 0.25, 0.25], np.float32)),
        draws=np.zeros(4, np.uint16),
        outside=np.zeros(2, np.float32),
    )
    signal = ShardSignals(shard, SampledTarget(head=3, tail_draws=1)).at(np.array([0, 1]))
    assert isinstance(signal, SampledSignal)
    assert signal.probs_NK.tolist() == [[1.0, 0.0, 0.0], [0.5, 0.25, 0.25]]


@pytest.mark.parametrize("int8", [False, True])
def test_hidden_states_come_back_and_give_the_distribution(tmp_path: Path, int8: bool) -> None:
    rng = np.random.default_rng(1)
    hidden = rng.standard_normal((len(DATA.labels), 6)).astype(np.float32)
    bits = (hidden.view("<u4") >> 16).astype("<u2")
    scales = np.abs(hidden).max(1) / 127
    head = rng.standard_normal((V, 6)).astype(np.float32)
    shard = Shard(
        positions=DATA.positions,
        next_log_probs=label_log_probs(hidden @ head.T),
        hidden=np.rint(hidden / scales[:, None]).astype(np.int8) if int8 else bits,
        hidden_scales=scales.astype(np.float32) if int8 else None,
    )
    store = TargetStore(tmp_path, identity(HiddenTarget(int8=int8)))
    store.keep_head(head)
    store.add("0", DATA, shard, 0, 0.0)
    signal = ShardSignals(store.read("0", DATA), HiddenTarget(int8=int8), store.head_to_multiply()).at(np.array([3, 1]))
    assert isinstance(signal, HiddenSignal)
    np.testing.assert_allclose(signal.hidden_NH, hidden[[3, 1]], atol=0.02)
    np.testing.assert_array_equal(signal.head_VH, head)


@pytest.mark.parametrize(
    ("int8", "exact", "expected"),
    [(False, True, torch.bfloat16), (False, False, torch.float32), (True, True, torch.float32)],
)
def test_a_head_is_multiplied_in_bfloat16_only_where_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, int8: bool, exact: bool, expected: torch.dtype
) -> None:
    monkeypatch.setattr("seodang.distillation.targets.store.has_exact_bfloat16", lambda: True)
    random = torch.Generator().manual_seed(0)
    hidden_NH, head_VH = (torch.randn(size, 64, generator=random).bfloat16().float() for size in (5, 40))
    if not exact:
        head_VH *= 1 + 2**-12
    store = TargetStore(tmp_path, identity(HiddenTarget(int8=int8)))
    store.keep_head(head_VH.numpy())
    made = store.head_to_multiply()
    assert made is not None
    assert made.dtype == expected
    log_q_NV = torch.randn(5, 40, generator=random).log_softmax(-1)
    for objective in (Objective(), Objective("reverse_kl")):
        value, gradient = HiddenSignal(hidden_NH, made).divergence(objective, log_q_NV.clone())
        wide = DenseSignal((hidden_NH @ head_VH.T).log_softmax(-1)).divergence(objective, log_q_NV.clone())
        torch.testing.assert_close((value, gradient), wide, rtol=1e-5, atol=1e-5)


def test_top_k_signals_keep_the_rest_in_one_bucket() -> None:
    log_p = log_probs()
    top = np.sort(np.argsort(-log_p, axis=1)[:, :4], axis=1).astype(np.int32)
    values = np.take_along_axis(log_p, top, 1)
    shard = Shard(
        positions=DATA.positions,
        next_log_probs=np.zeros(len(log_p), np.float32),
        counts=np.full(len(log_p), 4, np.uint16),
        ids=top.reshape(-1),
        log_probs=values.reshape(-1),
        draws=np.zeros(top.size, np.uint16),
        outside=(1 - np.exp(values).sum(1)).astype(np.float32),
    )
    signal = ShardSignals(shard, TopKTarget(k=4)).at(np.array([1]))
    assert isinstance(signal, TruncatedSignal)
    total = signal.log_probs_NK.exp().sum(1) + signal.log_tail_N.exp()
    torch.testing.assert_close(total, torch.ones(1))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("weights_sha256", "x" * 64),
        ("tokenizer_sha256", "x" * 64),
        ("temperature", 2.0),
        ("target", TopKTarget(k=3)),
        ("data_sha256", "x" * 64),
        ("engine_dtype", "bfloat16"),
        ("vocabulary_size", V + 2),
        ("seed", 1),
        ("packed", False),
        ("format_version", 1),
    ],
)
def test_a_store_of_something_else_is_refused_by_name(tmp_path: Path, field: str, value: object) -> None:
    made = identity(SampledTarget())
    TargetStore(tmp_path, made)
    with pytest.raises(TargetMismatch, match=f"{field} is ") as refusal:
        TargetStore(tmp_path, msgspec.structs.replace(made, **{field: value}))
    assert list(refusal.value.metadata) == [field]


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    store = TargetStore(tmp_path, identity(SampledTarget(head=3, tail_draws=4)))
    store.add("0", DATA, sampled_shard(log_probs()), 0, 0.0)
    content = bytearray((tmp_path / "0.parquet").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "0.parquet").write_bytes(content)
    with pytest.raises(TargetMismatch, match="not the file that was written"):
        store.read("0", DATA)


def test_the_signal_of_other_sequences_is_refused(tmp_path: Path) -> None:
    store = TargetStore(tmp_path, identity(SampledTarget(head=3, tail_draws=4)))
    store.add("0", DATA, sampled_shard(log_probs()), 0, 0.0)
    with pytest.raises(TargetMismatch, match="other sequences"):
        store.read("0", DATA.select([0, 2, 1]))


def test_units_hold_every_sequence_once_and_about_the_tokens_they_should() -> None:
    rng = np.random.default_rng(0)
    data = Encoded.of([(list(range(int(length))), 1) for length in rng.integers(2, 20, 100)])
    units = list(plan_units(data, tokens=50))
    assert sum(len(unit.sequences) for unit in units) == 100
    np.testing.assert_array_equal(np.concatenate([unit.sequences.tokens for unit in units]), data.tokens)
    assert max(len(unit.sequences.tokens) for unit in units) <= 50
    assert len({unit.name for unit in units}) == len(units)


def test_a_sequence_longer_than_a_unit_is_a_unit() -> None:
    data = Encoded.of([(list(range(30)), 1), ([1, 2], 1)])
    assert [len(unit.sequences) for unit in plan_units(data, tokens=10)] == [1, 1]


def test_a_journal_goes_on_after_a_torn_frame(tmp_path: Path) -> None:
    path = tmp_path / "0.journal"
    with Journal(path, "a" * 64) as journal:
        journal.append(b"one")
        journal.append(b"two" * 100)
    whole = path.read_bytes()
    for cut in range(len(whole) - 290, len(whole)):
        path.write_bytes(whole[:cut])
        with Journal(path, "a" * 64) as journal:
            assert journal.frames == [b"one"]
    with Journal(path, "a" * 64) as journal:
        journal.append(b"three")
    with Journal(path, "a" * 64) as journal:
        assert journal.frames == [b"one", b"three"]


def test_a_journal_of_another_request_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "0.journal"
    with Journal(path, "a" * 64) as journal:
        journal.append(b"one")
    with Journal(path, "b" * 64) as journal:
        assert journal.frames == []


def test_a_damaged_frame_ends_what_counts(tmp_path: Path) -> None:
    path = tmp_path / "0.journal"
    with Journal(path, "a" * 64) as journal:
        for frame in (b"one", b"two", b"three"):
            journal.append(frame)
    content = bytearray(path.read_bytes())
    content[content.index(b"two")] ^= 1
    path.write_bytes(content)
    with Journal(path, "a" * 64) as journal:
        assert journal.frames == [b"one"]


def test_a_torn_ledger_line_does_not_count(tmp_path: Path) -> None:
    store = TargetStore(tmp_path, identity(SampledTarget(head=3, tail_draws=4)))
    for name in ("0", "1"):
        store.add(name, DATA, sampled_shard(log_probs()), 0, 0.0)
    ledger = tmp_path / "ledger.jsonl"
    ledger.write_bytes(ledger.read_bytes()[:-7])
    assert list(TargetStore(tmp_path, identity(SampledTarget(head=3, tail_draws=4))).records) == ["0"]
