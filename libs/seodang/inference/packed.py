"""The packed wire form of sparse distributions: about three bytes an entry. docs/contract.md describes it to partners.

    u8      version, 1
    u8      flags: 1 ids are present, 2 rows have drawn entries
    varint  R, the number of rows
    varint  R times: exact entries of the row
    varint  R times: draws of the row, repeats counted                                         (flag 2)
    varint  E times: gaps between ids; per row first the exact ones, then the drawn ones,
            each run ascending, its first gap counted from 0; a draw of the same id has gap 0   (flag 1)
    u8      E times: code of the log-probability, in the same order

A varint is unsigned LEB128. Code c < 255 means -32 (c / 254)**2: steps are fine where probability is, coarse where it
is not. 255 means minus infinity.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from seodang.base.errors import InvalidInput
from seodang.inference.sparse import SparseRows

VERSION: Final = 1
_HAS_IDS: Final = 1
_HAS_DRAWS: Final = 2
_LOWEST_LOGPROB: Final = -32.0
_TOP_CODE: Final = 254
_MINUS_INFINITY: Final = 255
_VARINT_BYTES: Final = 5
MAX_ROWS: Final = 2**20
MAX_ENTRIES: Final = 2**24

_Unsigned = npt.NDArray[np.uint64]


def pack(rows: SparseRows, *, with_ids: bool = True) -> bytes:
    """Encode rows. Without ids the entries keep their order; with ids each run is sorted by id."""
    count = len(rows.counts)
    row_of = np.repeat(np.arange(count), rows.counts)
    draws = rows.draws if rows.draws is not None else np.zeros(len(rows.ids), np.uint32)
    drawn = draws > 0
    order = np.lexsort((rows.ids, drawn, row_of)) if with_ids else np.arange(len(rows.ids))
    order = np.repeat(order, np.maximum(draws[order], 1))
    row_of, drawn = row_of[order], drawn[order]
    has_draws = rows.draws is not None
    flags = (_HAS_IDS if with_ids else 0) | (_HAS_DRAWS if has_draws else 0)
    parts = [bytes([VERSION, flags]), _varints(np.array([count]))]
    parts.append(_varints(np.bincount(row_of[~drawn], minlength=count)))
    if has_draws:
        parts.append(_varints(np.bincount(row_of[drawn], minlength=count)))
    if with_ids:
        ids = rows.ids[order].astype(np.int64)
        begins = _run_begins(row_of, drawn)
        gaps = np.diff(ids, prepend=0)
        gaps[begins] = ids[begins]
        parts.append(_varints(gaps))
    parts.append(_codes(rows.logprobs[order]).tobytes())
    return b"".join(parts)


def unpack(data: bytes, ids: npt.NDArray[np.uint32] | None = None) -> SparseRows:
    """Decode rows; ``ids`` are the caller's own where the bytes have none.

    Raises:
        InvalidInput: not of this format, cut short, or longer than what it announces.
    """
    reader = _Reader(data)
    version, flags = reader.byte(), reader.byte()
    if version != VERSION or flags & ~(_HAS_IDS | _HAS_DRAWS):
        raise InvalidInput(f"packed rows of version {version}, flags {flags}: this reader knows version {VERSION}")
    count = int(reader.varints(1)[0])
    if count > MAX_ROWS:
        raise InvalidInput(f"packed rows announce {count} rows, more than {MAX_ROWS}")
    exact = reader.varints(count).astype(np.int64)
    drawn = reader.varints(count).astype(np.int64) if flags & _HAS_DRAWS else np.zeros(count, np.int64)
    total = int(exact.sum() + drawn.sum())
    if total > MAX_ENTRIES:
        raise InvalidInput(f"packed rows announce {total} entries, more than {MAX_ENTRIES}")
    lengths = np.stack([exact, drawn], axis=1).reshape(-1)
    if flags & _HAS_IDS:
        ids = _ids_of(reader.varints(total), lengths)
    elif ids is None or len(ids) != total:
        raise InvalidInput(
            f"packed rows carry no ids, and the caller names {0 if ids is None else len(ids)} of {total}"
        )
    logprobs = _logprobs(reader.rest(total))
    is_draw = np.repeat(np.tile([False, True], count), lengths)
    row_of = np.repeat(np.repeat(np.arange(count), 2), lengths)
    if not flags & _HAS_DRAWS:
        return SparseRows(exact.astype(np.uint32), ids, logprobs)
    return _without_repeats(row_of, is_draw, ids, logprobs, count)


def _without_repeats(
    row_of: npt.NDArray[np.int64],
    is_draw: npt.NDArray[np.bool_],
    ids: npt.NDArray[np.uint32],
    logprobs: npt.NDArray[np.float32],
    count: int,
) -> SparseRows:
    first = _run_begins(row_of, is_draw)
    first[1:] |= ids[1:] != ids[:-1]
    starts = np.flatnonzero(first)
    repeats = np.diff(starts, append=len(ids))
    return SparseRows(
        counts=np.bincount(row_of[starts], minlength=count).astype(np.uint32),
        ids=ids[starts],
        logprobs=logprobs[starts],
        draws=np.where(is_draw[starts], repeats, 0).astype(np.uint32),
    )


def _run_begins(row_of: npt.NDArray[np.int64], is_draw: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    begins = np.ones(len(row_of), bool)
    begins[1:] = (np.diff(row_of) != 0) | (np.diff(is_draw.astype(np.int8)) != 0)
    return begins


def _ids_of(gaps: _Unsigned, lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.uint32]:
    sums = np.cumsum(gaps.astype(np.int64))
    before = np.concatenate([[0], sums])[np.cumsum(lengths) - lengths]
    ids = sums - np.repeat(before, lengths)
    if len(ids) and ids.max() >= 2**32:
        raise InvalidInput("packed rows hold an id beyond 32 bits: the bytes are damaged")
    narrow: npt.NDArray[np.uint32] = ids.astype(np.uint32)
    return narrow


def _codes(logprobs: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    depth = np.clip(logprobs / _LOWEST_LOGPROB, 0.0, 1.0)
    codes = np.rint(np.sqrt(depth) * _TOP_CODE)
    return np.where(np.isneginf(logprobs), _MINUS_INFINITY, codes).astype(np.uint8)


def _logprobs(codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    values = _LOWEST_LOGPROB * np.square(codes.astype(np.float32) / _TOP_CODE)
    return np.where(codes == _MINUS_INFINITY, -np.inf, values).astype(np.float32)


def _varints(values: npt.NDArray[np.integer]) -> bytes:
    wide = values.astype(np.uint64)
    lengths = np.ones(len(wide), np.int64)
    for extra in range(1, _VARINT_BYTES):
        lengths += wide >= np.uint64(1 << (7 * extra))
    out = np.empty(int(lengths.sum()), np.uint8)
    starts = np.cumsum(lengths) - lengths
    for at in range(_VARINT_BYTES):
        present = lengths > at
        group = (wide[present] >> np.uint64(7 * at)) & np.uint64(0x7F)
        more = np.where(lengths[present] > at + 1, 0x80, 0)
        out[starts[present] + at] = group.astype(np.uint8) | more.astype(np.uint8)
    return out.tobytes()


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._bytes = np.frombuffer(data, np.uint8)
        self._at = 0

    def byte(self) -> int:
        return int(self._take(1)[0])

    def varints(self, count: int) -> _Unsigned:
        ends = np.flatnonzero(self._bytes[self._at : self._at + count * _VARINT_BYTES] < 0x80)[:count]
        if len(ends) < count:
            raise InvalidInput(f"packed rows end after {len(ends)} of {count} numbers: the bytes were cut short")
        lengths = np.diff(ends, prepend=-1)
        if count and lengths.max() > _VARINT_BYTES:
            raise InvalidInput(f"packed rows hold a number of more than {_VARINT_BYTES} bytes: they are damaged")
        block = self._take(int(ends[-1]) + 1 if count else 0)
        starts = ends - lengths + 1
        values = np.zeros(count, np.uint64)
        for at in range(_VARINT_BYTES):
            present = lengths > at
            group = (block[starts[present] + at] & 0x7F).astype(np.uint64)
            values[present] |= group << np.uint64(7 * at)
        return values

    def rest(self, count: int) -> npt.NDArray[np.uint8]:
        taken = self._take(count)
        if self._at != len(self._bytes):
            raise InvalidInput(
                f"packed rows are followed by {len(self._bytes) - self._at} bytes that belong to nothing"
            )
        return taken

    def _take(self, count: int) -> npt.NDArray[np.uint8]:
        taken = self._bytes[self._at : self._at + count]
        if len(taken) < count:
            raise InvalidInput(f"packed rows have {len(self._bytes)} bytes and need at least {self._at + count}")
        self._at += count
        return taken
