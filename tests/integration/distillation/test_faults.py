"""The corpus of faults that train a wrong student without any other symptom: each is made on a real small job or with a
real small teacher, and each is refused with a message that names what differs.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.integration.distillation.faults import (
    FOLDER_FAULTS,
    HEAD,
    IMPOSTORS,
    Archive,
    forge,
    respecify,
    store_of,
    unfinished,
)
from tests.integration.distillation.jobs import MODEL, job, write_data
from tests.serving import start_server

from seodang.base.errors import Conflict, InternalFault, InvalidInput, SeodangError, Unsupported
from seodang.distillation import JobFolder
from seodang.distillation.data import open_frozen
from seodang.distillation.job import run_job
from seodang.distillation.spec import (
    Budget,
    ConfigShape,
    HiddenTarget,
    Recipe,
    SampledTarget,
    Teacher,
)
from seodang.distillation.targets import (
    Shard,
    TargetIdentity,
    TargetMismatch,
    TargetStore,
    plan_units,
    read_ledger,
    score_units,
)
from seodang.distillation.teacher import Patience, TeacherConnection, open_teacher

PATIENCE = Patience(limit_s=5, longest_pause_s=0.2)
QUICK = {"budget": Budget(steps=2, tokens_per_step=200, checkpoint_steps=1)}
SAMPLED = SampledTarget(head=HEAD, tail_draws=4)


@pytest.fixture(scope="module")
def archive(tutor: Teacher, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    root = tmp_path_factory.mktemp("archive")
    other = write_data(root / "other.jsonl", rows=50)
    jobs = Archive(
        plain=job(root / "plain", tutor, data, recipe=Recipe(target=SAMPLED), **QUICK),
        warm=job(root / "warm", tutor, data, recipe=Recipe(target=SAMPLED, temperature=2.0), **QUICK),
        other_data=job(root / "other", tutor, other, recipe=Recipe(target=SAMPLED), **QUICK),
        hidden=job(root / "hidden", tutor, data, recipe=Recipe(target=HiddenTarget()), **QUICK),
    )
    for folder in (jobs.plain, jobs.warm, jobs.other_data, jobs.hidden):
        run_job(folder, PATIENCE)
    return jobs


@pytest.mark.parametrize("name", FOLDER_FAULTS)
def test_a_wrong_folder_is_refused(name: str, archive: Archive, tmp_path: Path) -> None:
    make, kind, told = FOLDER_FAULTS[name]
    folder = unfinished(archive.plain, tmp_path / "job")
    make(folder, archive)
    with pytest.raises(kind, match=told):
        run_job(folder, PATIENCE)


def test_without_a_fault_the_same_folder_goes_on_and_asks_for_nothing(archive: Archive, tmp_path: Path) -> None:
    folder = unfinished(archive.plain, tmp_path / "job")
    before = (store_of(folder) / "ledger.jsonl").read_bytes()
    run_job(folder, PATIENCE)
    assert (store_of(folder) / "ledger.jsonl").read_bytes() == before


def test_the_head_of_another_teacher_is_refused(archive: Archive, tmp_path: Path) -> None:
    folder = unfinished(archive.hidden, tmp_path / "job")
    path = store_of(folder) / "head.npy"
    np.save(path, np.load(path)[::-1])
    with pytest.raises(TargetMismatch, match="hidden states times the head are not the next token's probability"):
        run_job(folder, PATIENCE)


def test_shifted_hidden_states_are_refused(archive: Archive, tmp_path: Path) -> None:
    folder = unfinished(archive.hidden, tmp_path / "job")
    forge(folder, lambda shard: replace(shard, hidden=np.roll(shard.column("hidden"), 1, axis=0)))
    with pytest.raises(TargetMismatch, match="shifted"):
        run_job(folder, PATIENCE)


def test_a_checkpoint_of_another_training_is_refused(archive: Archive, tmp_path: Path) -> None:
    folder = JobFolder(tmp_path / "job")
    shutil.copytree(archive.plain.root, folder.root, symlinks=True)
    for path in (folder.result, folder.student):
        path.unlink()
    shutil.rmtree(folder.root / "students")
    respecify(folder, recipe=Recipe(target=SAMPLED, cross_entropy_weight=0.5))
    with pytest.raises(Conflict, match="belongs to a training with other"):
        run_job(folder, PATIENCE)


def test_a_student_of_a_padded_vocabulary_is_refused(archive: Archive, tmp_path: Path) -> None:
    folder = unfinished(archive.plain, tmp_path / "job")
    config = {"model_type": "llama", "vocab_size": 384, "hidden_size": 16, "num_attention_heads": 2}
    respecify(folder, shape=ConfigShape(config_json=json.dumps(config)))
    with pytest.raises(InvalidInput, match="vocab_size=384, but the vocabulary here is 320"):
        run_job(folder, PATIENCE)


@pytest.fixture(scope="module")
def impostors(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Teacher]]:
    """Teachers under the same name that differ from the real one in one thing."""
    with ExitStack() as servers, ThreadPoolExecutor() as pool:

        def start(change: Callable[[Path], None]) -> Teacher:
            root = tmp_path_factory.mktemp("impostor")
            change(shutil.copytree(checkpoint, root / "model"))
            serving = servers.enter_context(start_server("teacher", root, folder=root / "model", model=MODEL))
            return Teacher(model=MODEL, address=serving.address)

        yield dict(zip(IMPOSTORS, pool.map(start, IMPOSTORS.values()), strict=True))


@pytest.mark.parametrize(
    ("name", "kind", "told"),
    [
        ("other tokenizer", Conflict, r"tokenizer\.json is not what"),
        ("other template", Conflict, r"chat_template\.jinja is not what"),
        ("padded", TargetMismatch, "weights_sha256 is .* vocabulary_size is 320, needed 384"),
    ],
)
def test_a_teacher_that_changed_while_the_job_was_away_is_refused(
    name: str,
    kind: type[SeodangError],
    told: str,
    impostors: dict[str, Teacher],
    archive: Archive,
    tmp_path: Path,
) -> None:
    folder = unfinished(archive.plain, tmp_path / "job")
    respecify(folder, teachers=(impostors[name],))
    with pytest.raises(kind, match=told):
        run_job(folder, PATIENCE)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("other tokenizer", "differ in tokenizer_sha256"),
        ("other template", "differ in tokenizer_sha256"),
        ("padded", r"differ in vocabulary_size \(320, 384\)"),
    ],
)
def test_teachers_that_do_not_share_a_vocabulary_are_not_mixed(
    name: str, told: str, impostors: dict[str, Teacher], tutor: Teacher, data: Path, tmp_path: Path
) -> None:
    both = (msgspec.structs.replace(tutor, weight=0.5), msgspec.structs.replace(impostors[name], weight=0.5))
    with pytest.raises(Unsupported, match=told):
        run_job(job(tmp_path / "job", tutor, data, teachers=both), PATIENCE)


def ask(teacher: TeacherConnection, archive: Archive, root: Path) -> Shard:
    """The signal on the plain job's data, asked for anew."""
    data = open_frozen(archive.plain.data, teacher.identity.tokenizer_sha256).encoded["train"]
    identity = TargetIdentity.of(teacher.identity, SAMPLED, temperature=1.0, seed=0, data_sha256=data.sha256)
    return score_units(TargetStore(root / "store", identity), plan_units(data), teacher, lambda _: None)


def test_a_teacher_swapped_between_two_requests_is_refused(tutor: Teacher, archive: Archive, tmp_path: Path) -> None:
    with open_teacher(tutor, PATIENCE) as teacher:
        ask(teacher, archive, tmp_path / "before")
        teacher.identity = replace(teacher.identity, weights_sha256="0" * 64)
        with pytest.raises(Conflict, match="weights"):
            ask(teacher, archive, tmp_path / "after")


def test_a_stream_that_leaves_positions_out_is_refused_and_nothing_is_kept(
    tutor: Teacher, archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = TeacherConnection._score_once
    monkeypatch.setattr(TeacherConnection, "_score_once", lambda *request: iter(list(whole(*request))[:-1]))
    with open_teacher(tutor, PATIENCE) as teacher, pytest.raises(InternalFault, match=r"after \d+ of \d+ positions"):
        ask(teacher, archive, tmp_path)
    assert read_ledger(tmp_path / "store") == []


def test_a_teacher_that_answers_for_other_positions_is_refused_and_nothing_is_kept(
    tutor: Teacher, archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = TeacherConnection.score

    def off_by_one(self: TeacherConnection, sequences: Sequence[Any], *rest: Any) -> Iterator[Any]:
        for sequence in sequences:
            sequence.first_position -= 1
            sequence.end_position -= 1
        yield from whole(self, sequences, *rest)

    monkeypatch.setattr(TeacherConnection, "score", off_by_one)
    with open_teacher(tutor, PATIENCE) as teacher, pytest.raises(TargetMismatch, match="shifted"):
        ask(teacher, archive, tmp_path)
    assert read_ledger(tmp_path / "store") == []
