"""Tables of the engine as rows of the contract."""

import numpy as np

from seodang.inference import SparseRows


def table(*rows: list[int]) -> tuple[np.ndarray, np.ndarray]:
    ids = np.array(rows, np.int32).reshape(len(rows), -1)
    return ids, -ids.astype(np.float32)


def test_an_id_of_minus_one_is_no_entry() -> None:
    rows = SparseRows.of_table(*table([7, -1], [-1, -1], [3, 9]))
    assert rows.counts.tolist() == [1, 0, 2]
    assert rows.ids.tolist() == [7, 3, 9]
    assert rows.logprobs.tolist() == [-7, -3, -9]


def test_a_draw_that_repeats_is_one_entry_that_counts() -> None:
    rows = SparseRows.of_sample(table([50], [60]), table([2, 2, 8], [4, 5, 5]))
    assert rows.counts.tolist() == [3, 3]
    assert rows.ids.tolist() == [50, 2, 8, 60, 4, 5]
    assert rows.draws is not None
    assert rows.draws.tolist() == [0, 2, 1, 0, 1, 2]


def test_the_same_id_in_two_rows_is_two_entries() -> None:
    rows = SparseRows.of_sample(table([], []), table([4], [4]))
    assert rows.counts.tolist() == [1, 1]
    assert rows.draws is not None
    assert rows.draws.tolist() == [1, 1]


def test_where_there_is_no_tail_nothing_is_drawn() -> None:
    rows = SparseRows.of_sample(table([50], [60]), table([-1, -1], [3, 3]))
    assert rows.counts.tolist() == [1, 2]
    assert rows.ids.tolist() == [50, 60, 3]
    assert rows.draws is not None
    assert rows.draws.tolist() == [0, 0, 2]
