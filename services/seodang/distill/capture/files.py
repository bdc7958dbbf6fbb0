"""The folder of frozen versions. Each has a folder of its own, which appears whole and is then only ever withdrawn.

DATASETS_DIR/{dataset}/{number}/prompts.jsonl    {"messages": [...], "answer": "...", "language": "ko"} a line
DATASETS_DIR/{dataset}/{number}/captured.json    what is told of it; it stays when the prompts are withdrawn
"""

import hashlib
import json
import re
import shutil
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import IO, Final

import msgspec

from seodang.base.errors import InvalidInput
from seodang.distill.capture.domain import Census, DatasetVersionName, Kept
from seodang.distillation.folder import sync_folder, whole_folder
from seodang.distillation.spec import Captured, DatasetSource

_PROMPTS: Final = "prompts.jsonl"
_FACTS: Final = "captured.json"
_JOB_PARTS: Final = ("data", "targets", "training", "evaluation")
_HANGUL = re.compile("[가-힣]")


class DatasetFiles:
    """Files of frozen versions under ``root``, and what jobs under ``jobs_dir`` made of them."""

    def __init__(self, root: Path, jobs_dir: Path) -> None:
        self._root = root.absolute()
        self._jobs_dir = jobs_dir.absolute()

    async def write(self, name: DatasetVersionName, every: AsyncIterator[Kept]) -> tuple[Census, Captured]:
        """Writes a version from its exchanges in order of prompt; of equal prompts the last answer is kept."""
        folder = self._folder(name)
        census = Census()
        folder.parent.mkdir(parents=True, exist_ok=True)
        with whole_folder(folder) as partial:
            with (partial / _PROMPTS).open("w", encoding="utf-8") as prompts:
                await _write_prompts(prompts, every, census)
            captured = _captured(census, hashlib.sha256((partial / _PROMPTS).read_bytes()).hexdigest())
            (partial / _FACTS).write_bytes(msgspec.json.format(msgspec.json.encode(captured), indent=2))
            for file in partial.iterdir():
                file.chmod(0o440)
        return census, captured

    def discard(self, name: DatasetVersionName) -> None:
        """Removes what is no version after all."""
        shutil.rmtree(self._folder(name), ignore_errors=True)

    def sweep(self, known: Collection[DatasetVersionName]) -> None:
        """Removes what killed processes wrote and did not live to say so: nobody would find it to erase it."""
        folders = {self._folder(name) for name in known}
        for folder in self._root.glob("*/*"):
            if folder not in folders:
                shutil.rmtree(folder)

    def withdraw(self, name: DatasetVersionName) -> None:
        """Removes the prompts; doing it again changes nothing."""
        (self._folder(name) / _PROMPTS).unlink(missing_ok=True)
        if self._folder(name).exists():
            sync_folder(self._folder(name))

    def empty_job(self, job_id: str) -> None:
        """Removes what an ended job read and what it made of each example; its student and its scores stay."""
        for name in _JOB_PARTS:
            shutil.rmtree(self._jobs_dir / job_id / name, ignore_errors=True)

    def source(self, version: str) -> DatasetSource:
        """A version as a worker reads it.

        Raises:
            InvalidInput: it is not on this server, or was withdrawn.
        """
        field = "spec.data.dataset_version"
        folder = self._folder(DatasetVersionName.parse(version, field))
        if not (folder / _FACTS).is_file():
            raise InvalidInput(
                f"no {version} on this server: `seodang prompts list` tells which there are", field=field
            )
        if not (folder / _PROMPTS).is_file():
            raise InvalidInput(f"{version} was withdrawn: freeze the dataset anew and name that version", field=field)
        captured = msgspec.json.decode((folder / _FACTS).read_bytes(), type=Captured)
        return DatasetSource(version=version, path=str(folder / _PROMPTS), captured=captured)

    def _folder(self, name: DatasetVersionName) -> Path:
        return self._root / name.dataset / str(name.number)


async def _write_prompts(prompts: IO[str], every: AsyncIterator[Kept], census: Census) -> None:
    last: Kept | None = None
    async for kept in every:
        census.add(kept)
        if last is not None and last.prompt_sha256 != kept.prompt_sha256:
            _write(prompts, last, census)
        last = kept
    if last is not None:
        _write(prompts, last, census)


def _write(prompts: IO[str], kept: Kept, census: Census) -> None:
    census.prompts += 1
    census.redactions.update(kept.redactions)
    messages = json.loads(kept.messages)
    language = "ko" if _HANGUL.search(messages[-1]["content"]) else "en"
    line = {"messages": messages, "answer": kept.answer, "language": language}
    prompts.write(json.dumps(line, ensure_ascii=False) + "\n")


def _captured(census: Census, sha256: str) -> Captured:
    first, last = (moment.isoformat(timespec="seconds") for moment in census.times)
    return Captured(
        sha256=sha256,
        interactions=census.interactions,
        prompts=census.prompts,
        first_time=first,
        last_time=last,
        models=tuple(sorted(census.models)),
        consents=tuple(sorted(census.consents)),
        redactions=dict(sorted(census.redactions.items())),
    )
