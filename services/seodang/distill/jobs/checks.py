"""Everything that can be known to be wrong with a job before it starts."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import msgspec

from seodang.api.distill.v1 import job_pb2
from seodang.base.errors import InvalidInput
from seodang.distill.capture.files import DatasetFiles
from seodang.distill.jobs.licenses import check_license
from seodang.distill.jobs.limits import check_limits
from seodang.distill.jobs.shape import check_config
from seodang.distill.jobs.teachers import check_teachers
from seodang.distillation import CORPORA, JobSpec, spec_from_proto
from seodang.distillation.base_model import read_base_config
from seodang.distillation.data import gather
from seodang.distillation.spec import AdapterShape, ConfigShape, DatasetSource
from seodang.distillation.tokenizer_files import vocabulary_of


@dataclass(frozen=True)
class CheckSettings:
    """What this server allows."""

    teacher_address: str
    data_roots: tuple[Path, ...]
    allowed_licenses: Collection[str]
    datasets: DatasetFiles
    versions_root: Path
    """The registry's folder: a version may be the base of adapters, or lend its tokenizer."""


class SpecChecks:
    """Checks specs against the contract's limits and against the world: data, licences, teachers, shapes."""

    def __init__(self, settings: CheckSettings) -> None:
        self._settings = settings

    async def run(self, spec: job_pb2.JobSpec) -> None:
        """Checks all of it.

        Raises:
            InvalidInput: with the path of the field.
            Unsupported: a recipe that this version does not have; ``metadata["field"]`` is its path.
            Unavailable: a teacher does not answer; ``metadata["field"]`` is the path of its address.
        """
        check_limits(spec)
        resolved = self.resolve(spec)
        await asyncio.to_thread(self._check_data, spec.data, resolved)
        by_field = {f"spec.teachers[{index}]": teacher for index, teacher in enumerate(spec.teachers)}
        models = await check_teachers(by_field, self._settings.teacher_address, resolved)
        vocabulary_size = models[0].vocabulary_size
        if resolved.tokenizer:
            vocabulary_size = await asyncio.to_thread(vocabulary_of, Path(resolved.tokenizer))
        if isinstance(resolved.shape, AdapterShape):
            await asyncio.to_thread(read_base_config, Path(resolved.shape.base))
        if isinstance(resolved.shape, ConfigShape):
            await check_config(resolved.shape.config_json, vocabulary_size)

    def resolve(self, spec: job_pb2.JobSpec) -> JobSpec:
        """The spec as a worker gets it: without open defaults, files and folders by their absolute paths.

        Raises:
            InvalidInput: a field is out of range, or there is no such file or captured version.
        """
        if spec.data.WhichOneof("source") == "file":
            absolute = job_pb2.JobSpec()
            absolute.CopyFrom(spec)
            absolute.data.file = str(self._data_file(spec.data.file))
            spec = absolute
        resolved = spec_from_proto(spec, self._settings.teacher_address)
        if resolved.tokenizer:
            folder = self._folder(resolved.tokenizer, "spec.shape.tokenizer")
            resolved = msgspec.structs.replace(resolved, tokenizer=str(folder))
        if isinstance(resolved.shape, AdapterShape):
            base = self._folder(resolved.shape.base, "spec.shape.adapter.base")
            resolved = msgspec.structs.replace(resolved, shape=msgspec.structs.replace(resolved.shape, base=str(base)))
        if isinstance(resolved.data.source, DatasetSource):
            source = self._settings.datasets.source(resolved.data.source.version)
            data = msgspec.structs.replace(resolved.data, source=source)
            resolved = msgspec.structs.replace(resolved, data=data)
        return resolved

    def _check_data(self, data: job_pb2.DataSpec, resolved: JobSpec) -> None:
        match data.WhichOneof("source"):
            case "corpus":
                _check_corpus(data)
            case "file":
                check_license(data.license, self._settings.allowed_licenses, "spec.data.license")
                gather(resolved.data, resolved.seed)
            case _:
                gather(resolved.data, resolved.seed)

    def _data_file(self, name: str) -> Path:
        found = self._below_roots(name)
        if found is None or not found.is_file():
            raise InvalidInput(f"no data file {name!r} {self._roots()}", field="spec.data.file")
        return found

    def _folder(self, name: str, field: str) -> Path:
        found = self._below_roots(name, self._settings.versions_root)
        if found is None or not found.is_dir():
            raise InvalidInput(f"no folder {name!r} {self._roots()}", field=field)
        return found

    def _below_roots(self, name: str, *more_roots: Path) -> Path | None:
        """What is there below one of the roots; a link out of them leads nowhere."""
        for root in (*self._settings.data_roots, *more_roots):
            path = (root / name.replace("\0", "")).resolve()
            if path.is_relative_to(root.resolve()) and path.exists():
                return path
        return None

    def _roots(self) -> str:
        roots = ", ".join(str(root) for root in self._settings.data_roots)
        return f"below {roots}" if roots else "because SEODANG_DISTILL_DATA_ROOTS names no folder on this server"


def _check_corpus(data: job_pb2.DataSpec) -> None:
    corpus = CORPORA.get(data.corpus)
    if corpus is None:
        raise InvalidInput(f"no corpus {data.corpus!r}: choose from {', '.join(CORPORA)}", field="spec.data.corpus")
    if data.language and data.language not in corpus.languages:
        raise InvalidInput(
            f"corpus {corpus.name!r} has nothing in {data.language!r}: it has {', '.join(corpus.languages)}",
            field="spec.data.language",
        )
    if missing := corpus.missing():
        raise InvalidInput(f"corpus {corpus.name!r} is not at hand: {missing}", field="spec.data.corpus")
