"""A signal's own numbers give it away: what cannot be is refused whatever its digests say, and what is right is not."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.unit.distillation.systematic import entries

from seodang.distillation.data import Encoded
from seodang.distillation.spec import HiddenTarget, SampledTarget, Target, TopKTarget
from seodang.distillation.targets import Shard, TargetIdentity, TargetMismatch
from seodang.distillation.targets.soundness import check_signal
from seodang.inference import SparseRows
from seodang.inference.packed import pack, unpack

V, H, P, HEAD, DRAWS = 60, 12, 40, 4, 6
RNG = np.random.default_rng(7)
DATA = Encoded.of([(RNG.integers(0, V, P + 1).tolist(), 1)])
STATES = 2 * RNG.standard_normal((P, H)).astype(np.float32)
HEAD_VH = RNG.standard_normal((V, H)).astype(np.float32)


def log_probs(temperature: float = 1.0) -> np.ndarray:
    """[P, V] float64; the label often among the likeliest, as with a teacher that knows its data."""
    logits = (STATES @ HEAD_VH.T).astype(np.float64) / temperature
    logits[: P // 2][np.arange(P // 2), DATA.labels[: P // 2]] += 6
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))


def identity(target: Target, **changes: Any) -> TargetIdentity:
    facts: dict[str, Any] = {
        "model": "models/t",
        "weights_sha256": "w" * 64,
        "tokenizer_sha256": "t" * 64,
        "vocabulary_size": V,
        "engine_dtype": "float32",
        "temperature": 1.0,
        "target": target,
        "seed": 0,
        "packed": False,
        "data_sha256": DATA.sha256,
    }
    return TargetIdentity(**(facts | changes))


def of_labels(log_p: np.ndarray) -> np.ndarray:
    return np.take_along_axis(log_p, DATA.labels[:, None], 1)[:, 0].astype(np.float32)


def sparse(log_p: np.ndarray, draws: int, *, head: int = HEAD, packed: bool = False) -> Shard:
    """The likeliest exactly, and draws from the others, as a teacher sends them."""
    counts, ids, drawn = entries(log_p, head, draws)
    row_E = np.repeat(np.arange(P), counts)
    values = log_p[row_E, ids].astype(np.float32)
    if packed:
        rows = SparseRows(counts.astype(np.uint32), ids.astype(np.uint32), values, drawn.astype(np.uint32))
        values = unpack(pack(rows)).logprobs
    inside = np.bincount(row_E, np.where(drawn == 0, np.exp(log_p[row_E, ids]), 0.0), minlength=P)
    return Shard(
        positions=DATA.positions,
        next_log_probs=of_labels(log_p),
        entropy=-(np.exp(log_p) * log_p).sum(1).astype(np.float32),
        counts=counts.astype(np.uint16),
        ids=ids.astype(np.int32),
        log_probs=values,
        draws=drawn.astype(np.uint16),
        outside=(1 - inside).astype(np.float32),
    )


def hidden(*, int8: bool) -> Shard:
    scales = np.abs(STATES).max(1) / 127
    logits = (STATES @ HEAD_VH.T).astype(np.float64)
    return Shard(
        positions=DATA.positions,
        next_log_probs=of_labels(logits - np.log(np.exp(logits).sum(1, keepdims=True))),
        hidden=np.rint(STATES / scales[:, None]).astype(np.int8) if int8 else (STATES.view("<u4") >> 16).astype("<u2"),
        hidden_scales=scales.astype(np.float32) if int8 else None,
    )


def rolled(shard: Shard, *names: str) -> Shard:
    """Columns of one row a position, moved on by a position."""
    moved = {name: np.roll(shard.column(name).reshape(P, -1), 1, axis=0) for name in names}
    return replace(shard, **{name: column.reshape(shard.column(name).shape) for name, column in moved.items()})


def entries_rolled(shard: Shard, *names: str) -> Shard:
    """Entries moved on by a position, and columns of one number a position with them."""
    counts = shard.column("counts").astype(np.int64)
    order_E = np.concatenate(np.roll(np.array(np.split(np.arange(counts.sum()), np.cumsum(counts)[:-1]), object), 1))
    columns = {name: shard.column(name)[order_E.astype(np.int64)] for name in ("ids", "log_probs", "draws")}
    return rolled(replace(shard, **columns), "counts", *names)


DRAWN = SampledTarget(head=0, tail_draws=30)
SAMPLED, TOP = SampledTarget(head=HEAD, tail_draws=DRAWS), TopKTarget(k=HEAD)
GOOD = sparse(log_probs(), DRAWS)
LEAN = sparse(log_probs(), DRAWN.tail_draws, head=0).lean()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_a_right_signal_is_taken(packed: bool, temperature: float) -> None:
    facts = {"packed": packed, "temperature": temperature}
    log_p = log_probs(temperature)
    check_signal(sparse(log_p, DRAWS, packed=packed), DATA, identity(SAMPLED, **facts), None, "it")
    check_signal(sparse(log_p, 30, head=0, packed=packed), DATA, identity(DRAWN, **facts), None, "it")
    if packed:
        check_signal(sparse(log_p, DRAWS, packed=True).lean(), DATA, identity(SAMPLED, **facts), None, "it")
        check_signal(sparse(log_p, 30, head=0, packed=True).lean(), DATA, identity(DRAWN, **facts), None, "it")
    check_signal(sparse(log_p, 0, packed=packed), DATA, identity(TOP, **facts), None, "it")


@pytest.mark.parametrize("int8", [False, True])
def test_right_hidden_states_are_taken(int8: bool) -> None:
    check_signal(hidden(int8=int8), DATA, identity(HiddenTarget(int8=int8)), HEAD_VH, "it")


def renormalised() -> Shard:
    top = sparse(log_probs(), 0)
    log_p = top.column("log_probs").reshape(P, HEAD)
    whole = np.log(np.exp(log_p).sum(1, keepdims=True))
    return replace(top, log_probs=(log_p - whole).reshape(-1), outside=np.zeros(P, np.float32))


def without_draws() -> Shard:
    """The head alone, in the form of a sampled signal."""
    return sparse(log_probs(), 0)


def of_ids(change: np.ndarray) -> Shard:
    return replace(GOOD, ids=change.astype(np.int32))


WRONG: dict[str, tuple[Shard, Target, str]] = {
    "entries shifted": (entries_rolled(GOOD), SAMPLED, "shifted, renormalised"),
    "all but the labels shifted": (
        entries_rolled(GOOD, "outside", "entropy", "next_log_probs"),
        SAMPLED,
        "shifted, ",
    ),
    "ids of a tokenizer of equal width": (of_ids((GOOD.column("ids") + 1) % V), SAMPLED, "of another tokenizer"),
    "ids of a padded vocabulary": (
        of_ids(GOOD.column("ids") + (GOOD.column("ids") > 50) * 10),
        SAMPLED,
        "vocabulary of 60",
    ),
    "the likeliest tokens sold as all, renormalised": (renormalised(), TOP, "renormalised"),
    "the likeliest tokens sold as samples": (without_draws(), SAMPLED, "other than 6 draws"),
    "fewer entries than asked for": (sparse(log_probs(), 0), TopKTarget(k=HEAD + 1), "other than 5 exact entries"),
    "a rest of nothing": (replace(GOOD, outside=np.zeros(P, np.float32)), SAMPLED, "do not sum to one"),
    "draws without their probabilities, shifted": (entries_rolled(LEAN), DRAWN, "more or less often"),
    "draws without their probabilities and all but the labels shifted": (
        entries_rolled(LEAN, "outside", "entropy", "next_log_probs"),
        DRAWN,
        "more or less often",
    ),
    "draws of another temperature": (
        replace(sparse(log_probs(3.0), DRAWN.tail_draws, head=0).lean(), next_log_probs=LEAN.next_log_probs),
        DRAWN,
        "more or less often",
    ),
    "entropy of another temperature": (
        replace(GOOD, entropy=sparse(log_probs(4.0), DRAWS).entropy),
        SAMPLED,
        "entropy that the entries cannot have",
    ),
    "not a number": (
        replace(GOOD, next_log_probs=np.full(P, np.nan, np.float32)),
        SAMPLED,
        "a probability that is none",
    ),
    "a position too few": (replace(GOOD, next_log_probs=GOOD.next_log_probs[1:]), SAMPLED, "39 positions where"),
    "no entries at all": (hidden(int8=False), SAMPLED, "has no entries"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_what_cannot_be_is_refused(fault: str) -> None:
    shard, target, told = WRONG[fault]
    with pytest.raises(TargetMismatch, match=told):
        check_signal(shard, DATA, identity(target, packed=target is DRAWN), None, "it")


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("fault", ["shifted", "another head", "another temperature", "another dtype", "a wider head"])
def test_hidden_states_that_do_not_fit_are_refused(fault: str, int8: bool) -> None:
    shard, head_VH, wanted = hidden(int8=int8), HEAD_VH, identity(HiddenTarget(int8=int8))
    told = "of another head, temperature or tokenizer"
    match fault:
        case "shifted":
            shard = rolled(shard, "hidden", "hidden_scales") if int8 else rolled(shard, "hidden")
        case "another head":
            head_VH = HEAD_VH[::-1].copy()
        case "another temperature":
            wanted = identity(HiddenTarget(int8=int8), temperature=2.0)
        case "another dtype":
            wanted, told = identity(HiddenTarget(int8=not int8)), "does not hold the"
        case "a wider head":
            head_VH, told = np.concatenate([HEAD_VH, HEAD_VH[:4]]), r"a head of \[64, 12\]"
    with pytest.raises(TargetMismatch, match=told):
        check_signal(shard, DATA, wanted, head_VH, "it")
