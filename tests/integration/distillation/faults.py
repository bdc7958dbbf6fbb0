"""Faults that train a wrong student without any other symptom, made on a finished small job or on a checkpoint."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import torch
from pyarrow import parquet
from safetensors.torch import load_file, save_file

from seodang.base.errors import Conflict, SeodangError
from seodang.distillation import JobFolder, resolve
from seodang.distillation.folder import write_whole
from seodang.distillation.spec import (
    JobSpec,
    encode_spec,
    read_spec,
)
from seodang.distillation.targets import (
    Shard,
    TargetMismatch,
    read_ledger,
)

HEAD = 3


@dataclass(frozen=True)
class Archive:
    """Finished jobs that faults are made from; none is ever changed."""

    plain: JobFolder
    warm: JobFolder
    """At temperature 2."""
    other_data: JobFolder
    hidden: JobFolder


def unfinished(original: JobFolder, root: Path) -> JobFolder:
    """A copy that has its tokenizer, data and signal, and nothing that came after."""
    shutil.copytree(original.root, root, symlinks=True)
    folder = JobFolder(root)
    for path in (folder.result, folder.student):
        path.unlink()
    for name in ("training", "students", "evaluation"):
        shutil.rmtree(root / name)
    return folder


def store_of(folder: JobFolder) -> Path:
    """The store of the training data's signal."""
    (store,) = (path for path in folder.target_folders() if path.name.startswith("train-"))
    return store


def respecify(folder: JobFolder, **changes: Any) -> None:
    spec = msgspec.structs.replace(read_spec(folder.spec), **changes)
    assert isinstance(spec, JobSpec)
    write_whole(folder.spec, encode_spec(resolve(spec)))


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def forge(folder: JobFolder, change: Callable[[Shard], Shard]) -> None:
    """Replaces a shard by a changed one whose digests all agree, as a faulty writer would have made it."""
    store = store_of(folder)
    (record,) = read_ledger(store)
    path = store / f"{record.name}.parquet"
    shard = change(Shard.from_table(parquet.read_table(path)))
    sink = pa.BufferOutputStream()
    parquet.write_table(shard.to_table(), sink)
    content = sink.getvalue().to_pybytes()
    path.write_bytes(content)
    record = msgspec.structs.replace(record, sha256=hashlib.sha256(content).hexdigest(), file_bytes=len(content))
    (store / "ledger.jsonl").write_bytes(msgspec.json.encode(record) + b"\n")


def rows_of(shard: Shard) -> np.ndarray:
    """The position of every entry."""
    return np.repeat(np.arange(len(shard.next_log_probs)), shard.column("counts"))


def shifted(shard: Shard) -> Shard:
    """Every position has what belongs to the one before it, as if labels had been moved by one."""
    order = np.argsort((rows_of(shard) + 1) % len(shard.next_log_probs), kind="stable")
    by_entry = {name: shard.column(name)[order] for name in ("ids", "log_probs", "draws")}
    by_position = {name: np.roll(shard.column(name), 1) for name in ("counts", "outside", "entropy")}
    return replace(shard, **by_entry, **by_position)


def renormalised(shard: Shard) -> Shard:
    """The likeliest tokens, made to sum to one and told as the whole distribution."""
    log_p, exact = shard.column("log_probs"), shard.column("draws") == 0
    mass = np.bincount(rows_of(shard), np.where(exact, np.exp(log_p), 0.0))
    whole = (log_p - np.log(mass)[rows_of(shard)]).astype(np.float32)
    return replace(shard, log_probs=whole, outside=np.zeros_like(shard.column("outside")))


def cut(shard: Shard) -> Shard:
    """The likeliest tokens alone, told as a sampled signal."""
    exact = shard.column("draws") == 0
    kept = {name: shard.column(name)[exact] for name in ("ids", "log_probs", "draws")}
    return replace(shard, counts=np.full_like(shard.column("counts"), HEAD), **kept)


def padded(shard: Shard) -> Shard:
    """Ids as a vocabulary with rows of padding in its middle would number them."""
    return replace(shard, ids=shard.column("ids") + 64 * (shard.column("ids") >= 160).astype(np.int32))


def renumbered(shard: Shard) -> Shard:
    """Ids of a tokenizer of the same width that numbers its tokens in another order."""
    return replace(shard, ids=(shard.column("ids") + 1) % 320)


def of_another_temperature(shard: Shard) -> Shard:
    """Probabilities at half the temperature that the entropy was computed at."""
    log_probs = shard.column("log_probs") * 2
    mass = np.bincount(rows_of(shard), np.where(shard.column("draws") == 0, np.exp(log_probs), 0.0))
    outside = np.maximum(1 - mass, 0).astype(np.float32)
    return replace(shard, log_probs=log_probs, outside=outside, next_log_probs=shard.next_log_probs * 2)


def stale(folder: JobFolder, archive: Archive) -> None:
    """Shards and ledger of an earlier signal under the manifest of the new one."""
    for path in store_of(archive.warm).iterdir():
        if path.name != "manifest.json":
            shutil.copy(path, store_of(folder))


def stale_shard(folder: JobFolder, archive: Archive) -> None:
    """One shard of an earlier signal; the ledger is right."""
    (record,) = read_ledger(store_of(folder))
    shutil.copy(store_of(archive.warm) / f"{record.name}.parquet", store_of(folder))


def other_temperature(folder: JobFolder, archive: Archive) -> None:
    target = store_of(folder)
    shutil.rmtree(target)
    shutil.copytree(store_of(archive.warm), target)


def other_data(folder: JobFolder, archive: Archive) -> None:
    target = store_of(folder)
    shutil.rmtree(target)
    shutil.copytree(store_of(archive.other_data), target)


def lost_manifest(folder: JobFolder, archive: Archive) -> None:
    """A manifest that was lost is written anew, for whatever is wanted; what lies there may be anything."""
    stale(folder, archive)
    (store_of(folder) / "manifest.json").unlink()


def moved_answers(folder: JobFolder, _: Archive) -> None:
    """Which tokens belong to answers, moved by one in the frozen data."""
    path = folder.data / "train.parquet"
    table = parquet.read_table(path)
    flags = [[False, *row[:-1]] for row in table["answered"].to_pylist()]
    column = table.column_names.index("answered")
    parquet.write_table(table.set_column(column, "answered", pa.array(flags, pa.list_(pa.bool_()))), path)


def edited_template(folder: JobFolder, _: Archive) -> None:
    path = folder.tokenizer / "chat_template.jinja"
    path.write_text(path.read_text() + " ")


def wrong_dtype(folder: JobFolder, _: Archive) -> None:
    edit(store_of(folder) / "manifest.json", engine_dtype="bfloat16")


def wrong_estimator(folder: JobFolder, _: Archive) -> None:
    edit(store_of(folder) / "manifest.json", target={"type": "sampled", "head": 12, "tail_draws": 0})


def other_seed(folder: JobFolder, _: Archive) -> None:
    edit(store_of(folder) / "manifest.json", seed=99)


def forged(change: Callable[[Shard], Shard]) -> Callable[[JobFolder, Archive], None]:
    return lambda folder, _: forge(folder, change)


Fault = tuple[Callable[[JobFolder, Archive], None], type[SeodangError], str]
FOLDER_FAULTS: dict[str, Fault] = {
    "signal of another temperature": (other_temperature, TargetMismatch, r"temperature is 2\.0, needed 1\.0"),
    "signal of other data": (other_data, TargetMismatch, "data_sha256 is "),
    "signal of an engine of another dtype": (wrong_dtype, TargetMismatch, "engine_dtype is bfloat16, needed float32"),
    "signal of another estimator": (wrong_estimator, TargetMismatch, 'target is {"type":"sampled'),
    "draws of another seed": (other_seed, TargetMismatch, "seed is 99, needed 3"),
    "stale shards and their ledger": (stale, TargetMismatch, "made for another manifest"),
    "a stale shard": (stale_shard, TargetMismatch, "is not the file that was written"),
    "a manifest that was lost": (lost_manifest, TargetMismatch, "made for another manifest"),
    "entries shifted against the labels": (forged(shifted), TargetMismatch, "shifted, "),
    "ids of a tokenizer of equal width": (forged(renumbered), TargetMismatch, "of another tokenizer"),
    "ids of a padded vocabulary": (forged(padded), TargetMismatch, "outside the vocabulary of 320"),
    "truncated top-k presented as sampled": (forged(cut), TargetMismatch, "other than 4 draws from the tail"),
    "truncated top-k presented as full": (forged(renormalised), TargetMismatch, "renormalised"),
    "entries of a temperature that was ignored": (forged(of_another_temperature), TargetMismatch, "temperature"),
    "answers moved by one in the data": (moved_answers, Conflict, "not those that its manifest.json tells of"),
    "a chat template edited in the job": (edited_template, Conflict, r"chat_template\.jinja is not what"),
}


def renumber_tokens(folder: Path) -> None:
    """As many tokens, two of them in each other's place."""
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    vocabulary = content["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    path.write_text(json.dumps(content))


def change_template(folder: Path) -> None:
    path = folder / "chat_template.jinja"
    path.write_text(path.read_text().replace("<|assistant|>", "<|assistant|> "))


def pad_vocabulary(folder: Path) -> None:
    """64 more rows in table and head, which no token of the tokenizer names."""
    edit(folder / "config.json", vocab_size=384)
    for path in folder.glob("*.safetensors"):
        tensors = load_file(path)
        for name in ("model.embed_tokens.weight", "lm_head.weight"):
            if name in tensors:
                tensors[name] = torch.cat([tensors[name], tensors[name][:64]])
        save_file(tensors, path, metadata={"format": "pt"})


IMPOSTORS: dict[str, Callable[[Path], None]] = {
    "other tokenizer": renumber_tokens,
    "other template": change_template,
    "padded": pad_vocabulary,
}
