"""The examples of a job as they lie in its folder: gathered and rendered once, then never asked for again.

data/train.parquet, dev.parquet, eval.parquet    messages (JSON), answer, source, group, language, ids, answered
data/manifest.json                               written last: its existence means that the three are whole
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec
import numpy as np
import pyarrow as pa
from pyarrow import parquet

from seodang.base.errors import Conflict, InvalidInput
from seodang.distillation.catalogue import Task
from seodang.distillation.data.encoding import Encoded, Flags, TeacherTokenizer
from seodang.distillation.data.gathering import Gathered
from seodang.distillation.folder import write_whole
from seodang.distillation.spec import Record
from seodang.tasks import Example, Message, Role

Split: TypeAlias = Literal["train", "dev", "eval"]
SPLITS: tuple[Split, ...] = ("train", "dev", "eval")


class DataManifest(Record, frozen=True, kw_only=True):
    """What was frozen."""

    source: str
    license: str
    task: Task
    tokenizer_sha256: str
    examples: dict[str, int]
    too_long: dict[str, int]
    """Examples of each part left out because they exceed the context."""
    sha256: str
    """Over every prompt, answer and id, in order."""


@dataclass(frozen=True)
class FrozenData:
    """Frozen examples, read."""

    manifest: DataManifest
    encoded: dict[Split, Encoded]
    examples: dict[Split, tuple[Example, ...]]


def freeze(folder: Path, gathered: Gathered, tokenizer: TeacherTokenizer, sha256: str, context_tokens: int) -> None:
    """Renders and writes the examples.

    Args:
        sha256: fingerprint of the tokenizer.
        context_tokens: longer sequences are left out, and counted.

    Raises:
        InvalidInput: nothing of a part fits the context.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tables: dict[Split, pa.Table] = {}
    counts: dict[str, int] = {}
    too_long: dict[str, int] = {}
    for split in SPLITS:
        every = [(example, tokenizer.sequence(example)) for example in getattr(gathered, split)]
        fitting = [(example, sequence) for example, sequence in every if len(sequence[0]) <= context_tokens]
        if not fitting:
            raise InvalidInput(f"no {split} example of {gathered.source} fits a context of {context_tokens} tokens")
        counts[split], too_long[split] = len(fitting), len(every) - len(fitting)
        tables[split] = _table(fitting)
        sink = pa.BufferOutputStream()
        parquet.write_table(tables[split], sink, compression="zstd")
        write_whole(folder / f"{split}.parquet", sink.getvalue().to_pybytes())
    manifest = DataManifest(
        source=gathered.source,
        license=gathered.license,
        task=gathered.task,
        tokenizer_sha256=sha256,
        examples=counts,
        too_long=too_long,
        sha256=_sha256(tables),
    )
    write_whole(folder / "manifest.json", msgspec.json.format(msgspec.json.encode(manifest), indent=2))


def open_frozen(folder: Path, tokenizer_sha256: str) -> FrozenData:
    """Reads frozen examples.

    Raises:
        Conflict: they were rendered with another tokenizer or chat template, or changed since.
    """
    manifest = msgspec.json.decode((folder / "manifest.json").read_bytes(), type=DataManifest)
    if manifest.tokenizer_sha256 != tokenizer_sha256:
        raise Conflict(
            f"{folder} was rendered with tokenizer and chat template {manifest.tokenizer_sha256[:12]}, but the teacher "
            f"now has {tokenizer_sha256[:12]}: start a new job",
            reason="TOKENIZER_CHANGED",
        )
    tables = {split: parquet.read_table(folder / f"{split}.parquet") for split in SPLITS}
    if _sha256(tables) != manifest.sha256:
        raise Conflict(
            f"the examples in {folder} are not those that its manifest.json tells of: a prompt, an answer or an id was "
            "changed after they were frozen. Start a new job",
            reason="DATA_CHANGED",
        )
    return FrozenData(
        manifest,
        {split: _encoded(table) for split, table in tables.items()},
        {split: _examples(table) for split, table in tables.items()},
    )


def _sha256(tables: Mapping[Split, pa.Table]) -> str:
    digest = hashlib.sha256()
    for split in SPLITS:
        for row in tables[split].to_pylist():
            digest.update(json.dumps(row, ensure_ascii=False, sort_keys=True).encode())
    return digest.hexdigest()


def _table(rows: list[tuple[Example, tuple[list[int], Flags]]]) -> pa.Table:
    return pa.table(
        {
            "messages": [
                json.dumps([message.as_dict() for message in example.messages], ensure_ascii=False)
                for example, _ in rows
            ],
            "answer": [example.answer for example, _ in rows],
            "source": [example.source for example, _ in rows],
            "group": [example.group for example, _ in rows],
            "language": [example.language for example, _ in rows],
            "ids": pa.array([ids for _, (ids, _) in rows], pa.list_(pa.int32())),
            "answered": pa.array([flags for _, (_, flags) in rows], pa.list_(pa.bool_())),
        }
    )


def _encoded(table: pa.Table) -> Encoded:
    ids = table["ids"].combine_chunks()
    return Encoded(
        ids.values.to_numpy(),
        ids.offsets.to_numpy().astype(np.int64),
        table["answered"].combine_chunks().values.to_numpy(zero_copy_only=False),
    )


def _examples(table: pa.Table) -> tuple[Example, ...]:
    return tuple(
        Example(
            tuple(Message(Role(turn["role"]), turn["content"]) for turn in json.loads(row["messages"])),
            row["answer"],
            row["source"],
            row["group"],
            row["language"],
        )
        for row in table.drop_columns(["ids", "answered"]).to_pylist()
    )
