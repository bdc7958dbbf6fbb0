"""Where a job's examples come from: a corpus mixed from its sources, a file of the caller's, or captured traffic."""

import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from seodang.base.errors import Conflict, InvalidInput, NotFound
from seodang.distillation.catalogue import Corpus, Source, Task, find_corpus
from seodang.distillation.data.noise import noised
from seodang.distillation.spec import CAPTURED_LICENSE, CorpusSource, Data, DatasetSource, FileSource
from seodang.tasks import Example, Message, Role

DEV_SHARE: Final = 0.05
MAX_DEV: Final = 256
_FILE_EVAL_SHARE: Final = 0.1
_MISSION_STATES: Final = 400


@dataclass(frozen=True)
class Gathered:
    """The three parts; no prompt of ``dev`` or ``eval`` is in ``train``."""

    train: tuple[Example, ...]
    dev: tuple[Example, ...]
    """For the curve and early stopping while training."""
    eval: tuple[Example, ...]
    """For the final measurement only."""
    source: str
    license: str
    task: Task


def gather(data: Data, seed: int) -> Gathered:
    """All examples that a job works on, always the same for the same arguments.

    Whether the licence permits training was for whoever accepted the job to check.

    Raises:
        NotFound: an unknown corpus, a missing file, a withdrawn dataset, or a corpus whose files are missing.
        InvalidInput: a malformed file, or too few examples.
        Conflict: a captured dataset that is not what was frozen.
    """
    if isinstance(data.source, CorpusSource):
        gathered = _from_corpus(find_corpus(data.source.name), data, seed)
    elif isinstance(data.source, FileSource):
        gathered = _from_file(Path(data.source.path), data, seed)
    else:
        gathered = _from_dataset(data.source, data, seed)
    if data.noised_copies and gathered.task in (Task.MISSION, Task.GROUNDED):
        raise InvalidInput(
            f"{gathered.source}: a noised prompt would say something else than its scene or passages do: set "
            "noised_copies to 0; this corpus is generated, so train_examples can be as large as you like",
            field="spec.data.noised_copies",
        )
    return replace(gathered, train=(*gathered.train, *noised(gathered.train, data.noised_copies, seed)))


def _from_corpus(corpus: Corpus, data: Data, seed: int) -> Gathered:
    sources = [source for source in corpus.sources if data.language in ("", source.language)]
    if not sources:
        raise InvalidInput(
            f"corpus {corpus.name} has nothing in {data.language!r}: it has {', '.join(corpus.languages)}",
            field="spec.data.language",
        )
    wanted = data.train_examples or sum(source.train_examples for source in sources)
    train = _mixed(sources, "train", wanted + _dev_count(wanted), seed)
    # Of missions, eval_examples counts episodes, which are driven and not read; these states measure fidelity.
    counted = _MISSION_STATES if corpus.task is Task.MISSION else data.eval_examples or corpus.eval_examples
    held_out = _mixed(sources, "dev", counted, seed)
    return _divided(train, held_out, f"corpus:{corpus.name}", corpus.license, corpus.task)


def _mixed(sources: Sequence[Source], split: str, wanted: int, seed: int) -> list[Example]:
    """``wanted`` examples in the sources' own proportions, fewer where files end, in random order."""
    from seodang.corpora import open_conversations, open_source

    total = sum(source.train_examples for source in sources)
    chosen: list[Example] = []
    for number, source in enumerate(sources):
        share = -(-wanted * source.train_examples // total)
        if _is_file(source):
            every = list(open_source(source.name, split, seed))
            random.Random(f"{seed} {split} {source.name}").shuffle(every)
            chosen += every[:share]
        elif split == "train" and source.turns > 1:
            chosen += open_conversations(source.name, source.turns, seed + number, limit=share)
        else:
            chosen += open_source(source.name, split, seed + number, limit=share)
    random.Random(f"{seed} {split}").shuffle(chosen)
    return chosen[:wanted]


def _is_file(source: Source) -> bool:
    return source.name.partition("-")[0] not in ("home", "babyai", "grounded")


def _from_file(path: Path, data: Data, seed: int) -> Gathered:
    if not data.license:
        raise InvalidInput("data from a file need their SPDX licence: set data.license", field="spec.data.license")
    if not path.is_file():
        raise NotFound(f"no data file {path}: put it there, or name another")
    return _from_lines(path, data, seed, f"file:{path.name}", data.license)


def _from_dataset(source: DatasetSource, data: Data, seed: int) -> Gathered:
    """Captured prompts. Their answers are those that people got; a job has its teacher answer instead."""
    path = Path(source.path)
    if not source.path or source.captured is None or not path.is_file():
        raise NotFound(f"{source.version} is not on this server, or was withdrawn: freeze the dataset anew")
    if hashlib.sha256(path.read_bytes()).hexdigest() != source.captured.sha256:
        raise Conflict(
            f"{path} is not what was frozen as {source.version}: freeze the dataset anew", reason="DATA_CHANGED"
        )
    return _from_lines(path, data, seed, source.version, CAPTURED_LICENSE)


def _from_lines(path: Path, data: Data, seed: int, source: str, spdx: str) -> Gathered:
    every = [example for example in _read_lines(path) if data.language in ("", example.language)]
    random.Random(f"{seed} {path.name}").shuffle(every)
    held_out = min(data.eval_examples or max(1, int(len(every) * _FILE_EVAL_SHARE)), len(every) // 2)
    train = every[held_out:]
    if data.train_examples:
        train = train[: data.train_examples + _dev_count(data.train_examples)]
    return _divided(train, every[:held_out], source, spdx, Task.EXACT)


def _read_lines(path: Path) -> Iterator[Example]:
    with path.open(encoding="utf-8") as lines:
        try:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _example(json.loads(line), path, number)
        except UnicodeDecodeError as error:
            raise InvalidInput(f"{path} is not UTF-8: {error}; convert it", field="spec.data.file") from error
        except json.JSONDecodeError as error:
            raise InvalidInput(f"{path}:{number} is not JSON: {error}", field="spec.data.file") from error


def _example(row: Any, path: Path, number: int) -> Example:
    try:
        messages = tuple(Message(Role(turn["role"]), str(turn["content"])) for turn in row["messages"])
        answer = row["answer"]
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInput(
            f'{path}:{number}: need {{"messages": [{{"role", "content"}}...], "answer"}}, got {error!r}',
            field="spec.data.file",
        ) from error
    if not messages or not isinstance(answer, str) or not answer:
        raise InvalidInput(f"{path}:{number}: messages and answer must not be empty", field="spec.data.file")
    language = str(row.get("language", ""))
    return Example(messages, answer, source=path.name, group=str(row.get("group", answer)), language=language)


def _dev_count(train: int) -> int:
    return min(MAX_DEV, max(1, int(train * DEV_SHARE)))


def _divided(train: list[Example], held_out: list[Example], source: str, spdx: str, task: Task) -> Gathered:
    dev = train[: _dev_count(len(train))]
    kept_out = {example.messages for example in (*dev, *held_out)}
    rest = [example for example in train if example.messages not in kept_out]
    if not rest or not held_out:
        raise InvalidInput(
            f"{source} leaves {len(rest)} examples to train on and {len(held_out)} to measure on: it needs both",
            field="spec.data",
        )
    return Gathered(tuple(rest), tuple(dev), tuple(held_out), source, spdx, task)
