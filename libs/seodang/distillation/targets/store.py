"""A folder of shards under a manifest and a ledger.

targets/NAME/
├── manifest.json    TargetIdentity; written first, checked by every opening
├── ledger.jsonl     one ShardRecord for each finished shard, in order of finishing
├── 00000.parquet    shards; a file counts once its ledger line is whole
├── 00001.journal    chunks of a shard that is under way
└── head.npy         the teacher's output head, if the target is hidden states
"""

import hashlib
import os
from pathlib import Path
from threading import Lock
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from pyarrow import parquet
from torch import Tensor

from seodang.base.errors import Conflict
from seodang.distillation.data import Encoded
from seodang.distillation.folder import write_whole
from seodang.distillation.runtime_kernels import has_exact_bfloat16
from seodang.distillation.spec import HiddenTarget, Record
from seodang.distillation.targets.identity import TargetIdentity, TargetMismatch
from seodang.distillation.targets.shard import Shard, write_parquet
from seodang.distillation.targets.soundness import check_signal


class ShardRecord(Record, frozen=True, kw_only=True):
    """A finished shard."""

    name: str
    identity_sha256: str
    """Of the identity of the store that it was made for."""
    sequences_sha256: str
    sequences: int
    positions: int
    sha256: str
    """Of the file."""
    file_bytes: int
    signal_bytes: int
    """As it came over the wire."""
    seconds: float
    """Spent on asking."""
    tokens: int = 0
    """Of the sequences, prompts included; 0 in a ledger of before they were counted."""


class TargetStore:
    """A store opened for one identity. Several threads may add shards of different names.

    Raises:
        TargetMismatch: the folder holds the signal of something else.
    """

    def __init__(self, folder: Path, identity: TargetIdentity) -> None:
        self.folder = folder
        self.identity = identity
        manifest = folder / "manifest.json"
        if manifest.exists():
            _read_manifest(manifest).check(identity, str(folder))
        else:
            write_whole(manifest, msgspec.json.format(msgspec.json.encode(identity), indent=2))
        self._ledger = folder / "ledger.jsonl"
        self._adding = Lock()
        self._head: npt.NDArray[np.float32] | None = None
        self._to_multiply: Tensor | None = None
        self.records = {record.name: record for record in read_ledger(folder)}
        if stale := [name for name, record in self.records.items() if record.identity_sha256 != identity.sha256]:
            raise TargetMismatch(
                f"{self._ledger} tells of shards that were made for another manifest than the one beside it: "
                f"{', '.join(stale[:3])}{' …' if len(stale) > 3 else ''}. Remove the store to score anew"
            )

    def journal_path(self, name: str) -> Path:
        """Where the chunks of an unfinished shard lie."""
        return self.folder / f"{name}.journal"

    def add(self, name: str, sequences: Encoded, shard: Shard, signal_bytes: int, seconds: float) -> ShardRecord:
        """Makes a finished shard durable: first the file, then its line in the ledger. A packed store keeps it lean.

        Raises:
            TargetMismatch: it cannot be the signal of this store's identity on these sequences.
        """
        where = f"the signal of {self.identity.model} for {self._path(name)}"
        check_signal(shard, sequences, self.identity, self.head(), where)
        content = write_parquet((shard.lean() if self.identity.packed else shard).to_table())
        write_whole(self._path(name), content)
        record = ShardRecord(
            name=name,
            identity_sha256=self.identity.sha256,
            sequences_sha256=sequences.sha256,
            sequences=len(sequences),
            positions=int(shard.positions.sum()),
            sha256=hashlib.sha256(content).hexdigest(),
            file_bytes=len(content),
            signal_bytes=signal_bytes,
            seconds=seconds,
            tokens=int(sequences.lengths.sum()),
        )
        with self._adding, self._ledger.open("ab") as ledger:
            ledger.write(msgspec.json.encode(record) + b"\n")
            ledger.flush()
            os.fsync(ledger.fileno())
            self.records[name] = record
        return record

    def read(self, name: str, sequences: Encoded) -> Shard:
        """A finished shard, checked against the sequences that it is to be used with.

        Raises:
            TargetMismatch: the file was changed, or belongs to other sequences.
        """
        record = self.records[name]
        content = self._path(name).read_bytes()
        if hashlib.sha256(content).hexdigest() != record.sha256:
            raise TargetMismatch(f"{self._path(name)} is not the file that was written: remove the store to score anew")
        if record.sequences_sha256 != sequences.sha256:
            raise TargetMismatch(
                f"{self._path(name)} holds the signal of other sequences: remove the store to score anew"
            )
        shard = Shard.from_table(parquet.read_table(pa.BufferReader(content)))
        check_signal(shard, sequences, self.identity, self.head(), str(self._path(name)))
        return shard

    def keep_head(self, head: npt.NDArray[np.float32]) -> None:
        """Stores the teacher's output head."""
        sink = pa.BufferOutputStream()
        np.save(sink, head, allow_pickle=False)
        write_whole(self.folder / "head.npy", sink.getvalue().to_pybytes())
        self._head = head

    def head(self) -> npt.NDArray[np.float32] | None:
        """The stored head, if there is one."""
        path = self.folder / "head.npy"
        if self._head is None and path.exists():
            self._head = np.load(path, allow_pickle=False)
        return self._head

    def head_to_multiply(self) -> Tensor | None:
        """The stored head, if there is one, as ``HiddenSignal`` takes it; made once. It is bfloat16 where that and the
        states lose nothing by it, as of a teacher that computes in bfloat16, and this machine is faster with it.
        """
        head_VH = self.head()
        if self._to_multiply is None and head_VH is not None:
            self._to_multiply = torch.from_numpy(head_VH)
            target = self.identity.target
            if isinstance(target, HiddenTarget) and not target.int8 and has_exact_bfloat16():
                narrow_VH = self._to_multiply.bfloat16()
                if torch.equal(narrow_VH.float(), self._to_multiply):
                    self._to_multiply = narrow_VH
        return self._to_multiply

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.parquet"


def read_ledger(folder: Path) -> list[ShardRecord]:
    """The finished shards of a store. A torn last line is cut off, and its shard is made again from its journal.

    Raises:
        Conflict: the ledger is damaged.
    """
    ledger = folder / "ledger.jsonl"
    if not ledger.exists():
        return []
    text = ledger.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    if len(whole) < len(text):
        os.truncate(ledger, len(whole))
    try:
        return [msgspec.json.decode(line, type=ShardRecord) for line in whole.splitlines()]
    except msgspec.DecodeError as error:
        raise Conflict(f"{ledger} is damaged: {error}; remove the store to score anew") from error


def read_identity(folder: Path) -> TargetIdentity:
    """What a store was made for.

    Raises:
        TargetMismatch: its manifest is of another format.
    """
    return _read_manifest(folder / "manifest.json")


def _read_manifest(path: Path) -> TargetIdentity:
    try:
        body: dict[str, Any] = msgspec.json.decode(path.read_bytes())
        return msgspec.convert(body, TargetIdentity)
    except msgspec.ValidationError as error:
        raise TargetMismatch(f"{path} is of another format: {error}; remove the store to score anew") from error
