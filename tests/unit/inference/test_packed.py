"""The packed wire form: what goes in comes out, within a stated error, and damage is noticed."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seodang.base.errors import InvalidInput
from seodang.inference import SparseRows, pack, unpack

VOCABULARY = 163_840


def rows_of(table: list[list[tuple[int, float, int]]]) -> SparseRows:
    """Rows of (id, logprob, draws)."""
    flat = [entry for row in table for entry in row]
    return SparseRows(
        counts=np.array([len(row) for row in table], np.uint32),
        ids=np.array([entry[0] for entry in flat], np.uint32),
        logprobs=np.array([entry[1] for entry in flat], np.float32),
        draws=np.array([entry[2] for entry in flat], np.uint32),
    )


def entries(rows: SparseRows) -> list[list[tuple[int, float, int]]]:
    draws = rows.draws if rows.draws is not None else np.zeros(len(rows.ids), np.uint32)
    flat = list(zip(rows.ids.tolist(), rows.logprobs.tolist(), draws.tolist(), strict=True))
    ends = np.cumsum(rows.counts)
    return [flat[begin:end] for begin, end in zip(ends - rows.counts, ends, strict=True)]


entry = st.tuples(st.integers(0, VOCABULARY - 1), st.floats(-40, 0, width=32), st.integers(0, 5))
row = st.lists(entry, max_size=30, unique_by=lambda e: (e[0], e[2] > 0))


@settings(max_examples=60, deadline=None)
@given(st.lists(row, max_size=8))
def test_rows_come_back_sorted_and_close(table: list[list[tuple[int, float, int]]]) -> None:
    back = entries(unpack(pack(rows_of(table))))
    assert len(back) == len(table)
    for sent, received in zip(table, back, strict=True):
        ordered = sorted(sent, key=lambda e: (e[2] > 0, e[0]))
        assert [(e[0], e[2]) for e in received] == [(e[0], e[2]) for e in ordered]
        for (_, expected, _), (_, found, _) in zip(ordered, received, strict=True):
            depth = min(-expected, 32.0)
            step = 2 * np.sqrt(32 * depth) / 254 + 32 / 254**2
            assert abs(-depth - found) <= step / 2 + 1e-5


def test_candidates_keep_their_order_and_need_no_ids() -> None:
    ids = np.array([9, 3, 9, 163_839], np.uint32)
    logprobs = np.array([-1, -2, -1, -np.inf], np.float32)
    packed = pack(SparseRows(np.array([3, 1], np.uint32), ids, logprobs), with_ids=False)
    assert len(packed) == 2 + 1 + 2 + 4
    back = unpack(packed, ids)
    assert back.ids.tolist() == ids.tolist()
    assert back.logprobs[3] == -np.inf
    np.testing.assert_allclose(back.logprobs[:3], logprobs[:3], atol=0.05)


def test_twelve_entries_of_a_large_vocabulary_take_three_and_a_half_bytes_each() -> None:
    rng = np.random.default_rng(0)
    table = [[(int(i), -float(rng.exponential(4)), 0) for i in rng.choice(VOCABULARY, 12, False)] for _ in range(256)]
    assert len(pack(rows_of(table))) / (256 * 12) < 3.5


def test_the_error_of_a_distribution_is_below_what_the_contract_states() -> None:
    rng = np.random.default_rng(1)
    worst = 0.0
    for sharpness in (0.5, 1, 2, 4, 8):
        logits = sharpness * rng.standard_normal((200, 64))
        logprobs = (logits - np.log(np.exp(logits).sum(1, keepdims=True))).astype(np.float32)
        ids = np.tile(np.arange(64, dtype=np.int32), (200, 1))
        found = unpack(pack(SparseRows.of_table(ids, logprobs))).logprobs.reshape(200, 64).astype(np.float64)
        found -= np.log(np.exp(found).sum(1, keepdims=True))
        worst = max(worst, float((np.exp(logprobs) * (logprobs - found)).sum(1).mean()))
    assert worst < 4e-4


DAMAGED = {
    "nothing": b"",
    "another version": b"\x02\x01\x00",
    "unknown flags": b"\x01\x09\x00",
    "no counts": b"\x01\x01\x02\x01",
    "too few gaps": b"\x01\x01\x01\x03\x05\x06",
    "no codes": b"\x01\x01\x01\x01\x05",
    "bytes left over": b"\x01\x01\x01\x01\x05\x00\x00",
    "an endless number": b"\x01\x01\xff\xff\xff\xff\xff\xff",
    "a huge count": b"\x01\x01\x01\xff\xff\xff\xff\x0f",
    "too many rows": b"\x01\x01\xff\xff\xff\xff\x0f",
    "an id beyond 32 bits": b"\x01\x01\x01\x02\xff\xff\xff\xff\x0f\xff\xff\xff\xff\x0f\x00\x00",
}


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED.keys())
def test_damaged_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput):
        unpack(data)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_no_bytes_do_worse_than_being_refused(data: bytes) -> None:
    with suppress(InvalidInput):
        unpack(b"\x01\x03" + data)


def test_ids_must_be_named_for_bytes_without_them() -> None:
    packed = pack(SparseRows.of_table(np.array([[4, 5]], np.int32), np.zeros((1, 2), np.float32)), with_ids=False)
    with pytest.raises(InvalidInput, match="names 1"):
        unpack(packed, np.array([4], np.uint32))
