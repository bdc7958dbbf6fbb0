"""The examples of a job as they lie in its folder: gathered and rendered once, then never asked for again.

data/train.parquet, dev.parquet, eval.parquet    messages (JSON), answer, source, group, language, ids, answered
data/manifest.json                               written last: its existence means that the three are whole

Where students have another tokenizer, student_ids and student_answered are the same examples in it, and spans and
student_spans number the pieces of the answers that both tokenizers bound.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import msgspec
import numpy as np
import pyarrow as pa
from pyarrow import parquet

from seodang.base.errors import Conflict, InvalidInput
from seodang.distillation.catalogue import Task
from seodang.distillation.crossing import Spans
from seodang.distillation.data.encoding import Encoded
from seodang.distillation.data.gathering import Gathered
from seodang.distillation.data.reading import Crossing, Reader
from seodang.distillation.folder import write_whole
from seodang.distillation.spec import Record
from seodang.tasks import Example, Message, Role

Split: TypeAlias = Literal["train", "dev", "eval"]
SPLITS: tuple[Split, ...] = ("train", "dev", "eval")
_SAID: Final = ("messages", "answer", "source", "group", "language")
_INTS, _BOOLS = pa.list_(pa.int32()), pa.list_(pa.bool_())
_LISTS: Final = {
    "ids": _INTS,
    "answered": _BOOLS,
    "student_ids": _INTS,
    "student_answered": _BOOLS,
    "spans": _INTS,
    "student_spans": _INTS,
}


class DataManifest(Record, frozen=True, kw_only=True):
    """What was frozen."""

    source: str
    license: str
    task: Task
    tokenizer_sha256: str
    student_tokenizer_sha256: str = ""
    """Empty: the students have the teacher's."""
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
    """As students read them."""
    examples: dict[Split, tuple[Example, ...]]
    teacher_encoded: dict[Split, Encoded]
    """As the teacher reads them; the same, unless students have another tokenizer."""
    spans: dict[Split, Spans]
    """Empty, unless students have another tokenizer."""


def freeze(folder: Path, gathered: Gathered, teacher: Reader, student: Reader | None = None) -> None:
    """Renders and writes the examples. Those too long for a reader are left out, and counted.

    Args:
        student: how students read, if they have another tokenizer than the teacher.

    Raises:
        InvalidInput: nothing of a part fits the context, or a tokenizer or template changes the text of an answer.
    """
    folder.mkdir(parents=True, exist_ok=True)
    crossing = None if student is None else Crossing(teacher, student)
    tables: dict[Split, pa.Table] = {}
    counts: dict[str, int] = {}
    too_long: dict[str, int] = {}
    for split in SPLITS:
        every = getattr(gathered, split)
        rows = [row for row in (_row(example, teacher, crossing) for example in every) if row is not None]
        if not rows:
            contexts = " and ".join(str(each.context_tokens) for each in (teacher, student) if each is not None)
            raise InvalidInput(f"no {split} example of {gathered.source} fits a context of {contexts} tokens")
        counts[split], too_long[split] = len(rows), len(every) - len(rows)
        tables[split] = _table(rows)
        sink = pa.BufferOutputStream()
        parquet.write_table(tables[split], sink, compression="zstd")
        write_whole(folder / f"{split}.parquet", sink.getvalue().to_pybytes())
    manifest = DataManifest(
        source=gathered.source,
        license=gathered.license,
        task=gathered.task,
        tokenizer_sha256=teacher.sha256,
        student_tokenizer_sha256="" if student is None else student.sha256,
        examples=counts,
        too_long=too_long,
        sha256=_sha256(tables),
    )
    write_whole(folder / "manifest.json", msgspec.json.format(msgspec.json.encode(manifest), indent=2))


def open_frozen(folder: Path, tokenizer_sha256: str, student_sha256: str = "") -> FrozenData:
    """Reads frozen examples.

    Args:
        student_sha256: of the students' own tokenizer and chat template; empty if they have the teacher's.

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
    if manifest.student_tokenizer_sha256 != student_sha256:
        before, now = (each[:12] or "the teacher's" for each in (manifest.student_tokenizer_sha256, student_sha256))
        raise Conflict(
            f"{folder} was rendered for students with tokenizer {before}, but the job now has {now}: start a new job",
            reason="TOKENIZER_CHANGED",
        )
    tables = {split: parquet.read_table(folder / f"{split}.parquet") for split in SPLITS}
    if _sha256(tables) != manifest.sha256:
        raise Conflict(
            f"the examples in {folder} are not those that its manifest.json tells of: a prompt, an answer or an id was "
            "changed after they were frozen. Start a new job",
            reason="DATA_CHANGED",
        )
    teacher_encoded = {split: _encoded(table) for split, table in tables.items()}
    return FrozenData(
        manifest,
        {split: _encoded(table, "student_") for split, table in tables.items()} if student_sha256 else teacher_encoded,
        {split: _examples(table) for split, table in tables.items()},
        teacher_encoded,
        {split: _spans(table) for split, table in tables.items()} if student_sha256 else {},
    )


def _sha256(tables: Mapping[Split, pa.Table]) -> str:
    digest = hashlib.sha256()
    for split in SPLITS:
        for row in tables[split].to_pylist():
            digest.update(json.dumps(row, ensure_ascii=False, sort_keys=True).encode())
    return digest.hexdigest()


def _row(example: Example, teacher: Reader, crossing: Crossing | None) -> dict[str, Any] | None:
    """The columns of an example; None if it is too long."""
    ids, flags = teacher.tokenizer.sequence(example)
    more = {} if crossing is None else crossing.columns(example)
    if len(ids) > teacher.context_tokens or more is None:
        return None
    messages = json.dumps([message.as_dict() for message in example.messages], ensure_ascii=False)
    said = {name: getattr(example, name) for name in _SAID[1:]}
    return {"messages": messages, **said, "ids": ids, "answered": flags, **more}


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return pa.table(
        {name: pa.array(values, _LISTS[name]) if name in _LISTS else values for name, values in columns.items()}
    )


def _encoded(table: pa.Table, whose: str = "") -> Encoded:
    ids = table[f"{whose}ids"].combine_chunks()
    return Encoded(
        ids.values.to_numpy(),
        ids.offsets.to_numpy().astype(np.int64),
        table[f"{whose}answered"].combine_chunks().values.to_numpy(zero_copy_only=False),
    )


def _spans(table: pa.Table) -> Spans:
    columns = [table[name].combine_chunks() for name in ("spans", "student_spans")]
    (teacher, teacher_starts), (student, student_starts) = (
        (column.values.to_numpy().astype(np.int64), column.offsets.to_numpy().astype(np.int64)) for column in columns
    )
    return Spans(teacher, teacher_starts, student, student_starts)


def _examples(table: pa.Table) -> tuple[Example, ...]:
    return tuple(
        Example(
            tuple(Message(Role(turn["role"]), turn["content"]) for turn in json.loads(row["messages"])),
            row["answer"],
            row["source"],
            row["group"],
            row["language"],
        )
        for row in table.select(list(_SAID)).to_pylist()
    )
