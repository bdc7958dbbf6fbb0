"""``record.json``, the job that `seodang students` keeps beside a student, against what is signed."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from google.protobuf import json_format

from seodang.api.distill.v1 import job_pb2
from seodang.base.errors import Conflict, InvalidInput
from seodang.distillation.spec import AdapterShape, DatasetSource, FileSource, JobSpec, Shape, resolve
from seodang.distillation.wire import spec_from_proto
from seodang.provenance.files import RECORD
from seodang.provenance.record import Provenance

_TOLERANCE = 1e-9


def recorded_job(folder: Path) -> str:
    """ "jobs/{job}" of the student's record.json; empty if it has none.

    Raises:
        Conflict: it is no job of the contract.
    """
    path = folder / RECORD
    return read_record(path).name if path.is_file() else ""


def read_record(path: Path) -> job_pb2.Job:
    """Reads a record.json.

    Raises:
        Conflict: it is no job of the contract.
    """
    try:
        return json_format.Parse(path.read_bytes(), job_pb2.Job())
    except (json_format.ParseError, UnicodeDecodeError) as error:
        raise Conflict(f"{path} is no record of a job: {error}") from error


def disagreements(record: job_pb2.Job, provenance: Provenance, spec: JobSpec) -> list[str]:
    """Each field of the record that says something else than the lineage and the job that are signed, in words."""
    found = [*_compare("name", record.name, provenance.job)]
    made = record.result
    found += _compare_each("result.measurements", made.measurements, provenance.measurements)
    found += _compare("result.verdict.passed", made.verdict.passed, provenance.verdict.passed)
    found += _compare_each("result.verdict.checks", made.verdict.checks, provenance.verdict.checks)
    found += _compare_fields("result.cost", made.cost, provenance.cost)
    return [*found, *_compare_spec(record.spec, spec)]


def _compare_spec(asked: job_pb2.JobSpec, spec: JobSpec) -> Iterator[str]:
    try:
        resolved = spec_from_proto(asked, own_teacher=spec.teachers[0].address)
    except InvalidInput as error:
        yield f"spec is no job: {error.message}"
        return
    # Both sides go through the same code, so that a default that came later is the same on both.
    ours, theirs = msgspec.to_builtins(resolve(spec)), msgspec.to_builtins(resolved)
    if _same_data(spec.data.source, resolved.data.source):
        theirs["data"]["source"] = ours["data"]["source"]
    if _same_path(spec.tokenizer, resolved.tokenizer):
        theirs["tokenizer"] = ours["tokenizer"]
    if _same_path(_base(spec.shape), _base(resolved.shape)):
        theirs["shape"]["base"] = ours["shape"]["base"]
    for name, value in ours.items():
        yield from _compare(f"spec.{name}", theirs[name], value)


def _same_data(signed: object, asked: object) -> bool:
    """Whether a source that the server found for its worker is the one that was asked for by name."""
    if isinstance(signed, DatasetSource) and isinstance(asked, DatasetSource):
        return signed.version == asked.version
    if isinstance(signed, FileSource) and isinstance(asked, FileSource):
        return _same_path(signed.path, asked.path)
    return False


def _base(shape: Shape) -> str:
    return shape.base if isinstance(shape, AdapterShape) else ""


def _same_path(absolute: str, asked: str) -> bool:
    """Whether an absolute path, as the server gives it to its worker, ends in the path that was asked for."""
    parts = Path(asked).parts
    return bool(parts) and Path(absolute).parts[-len(parts) :] == parts


def _compare_each(where: str, messages: Sequence[Any], records: Sequence[msgspec.Struct]) -> Iterator[str]:
    yield from _compare(f"the length of {where}", len(messages), len(records))
    for number, (message, record) in enumerate(zip(messages, records, strict=False)):
        yield from _compare_fields(f"{where}[{number}]", message, record)


def _compare_fields(where: str, message: Any, record: msgspec.Struct) -> Iterator[str]:
    for name, value in msgspec.structs.asdict(record).items():
        told = getattr(message, name)
        if isinstance(value, tuple):
            yield from _compare_each(f"{where}.{name}", told, value)
            continue
        if value is None:
            told = told if message.HasField(name) else None
        yield from _compare(f"{where}.{name}", told, value)


def _compare(where: str, told: Any, signed: Any) -> Iterator[str]:
    if isinstance(told, float) and isinstance(signed, float):
        equal = math.isclose(told, signed, rel_tol=_TOLERANCE)
    else:
        equal = told == signed
    if not equal:
        yield f"{where} is {told!r}, signed is {signed!r}"
