"""Whole jobs whose students have another tokenizer than a real teacher process."""

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from pyarrow import parquet
from tests import tiny_tokenizers
from tests.integration.distillation.jobs import NO_TEACHER, job
from tests.integration.distillation.test_kill import curve, finish, kill_when, scored, steps_of
from transformers import AutoModelForCausalLM, AutoTokenizer

from seodang.base.errors import InvalidInput
from seodang.distillation import CurvePoint, JobFolder, read_events, read_result
from seodang.distillation.folder import folder_sha256
from seodang.distillation.job import run_job
from seodang.distillation.spec import Baseline, Budget, Recipe, Teacher, TopKTarget
from seodang.distillation.teacher import Patience
from seodang.distillation.tokenizer_files import tokenizer_sha256
from seodang.provenance import SigningKey, attest, check_student

PATIENCE = Patience(limit_s=60, longest_pause_s=0.5)
TEXT = TopKTarget(k=1)
STORED = Recipe(kind="cross_tokenizer", target=TEXT, temperature=100.0)
ONLINE = msgspec.structs.replace(STORED, kind="cross_tokenizer_online")
BUDGET = Budget(steps=24, tokens_per_step=400, checkpoint_steps=8, learning_rate=0.03)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student's tokenizer: SentencePiece with bytes for what it does not know, and another template."""
    folder = tmp_path_factory.mktemp("own")
    tiny_tokenizers.sentence_piece_bpe().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def korean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sums in Korean, English and emoji."""
    path = tmp_path_factory.mktemp("data") / "sums.jsonl"
    with path.open("w") as file:
        for number in range(60):
            question = {"role": "user", "content": f"{number // 8} 더하기 {number % 8} 🙂"}
            answer = f"답은 {number // 8 + number % 8}, living room"
            file.write(json.dumps({"messages": [question], "answer": answer, "language": "ko"}) + "\n")
    return path


def losses(folder: JobFolder) -> list[float]:
    events, _ = read_events(folder.events)
    return [each.loss for each in events if isinstance(each, CurvePoint) and each.subject == "student"]


@pytest.mark.parametrize("recipe", [STORED, ONLINE], ids=lambda recipe: recipe.kind)
def test_a_student_with_its_own_tokenizer_learns_from_the_teacher(
    tutor: Teacher, korean: Path, own: Path, tmp_path: Path, recipe: Recipe
) -> None:
    sequence = Baseline(name="sequence", recipe=Recipe(kind="sequence_level"))
    folder = job(
        tmp_path, tutor, korean, recipe=recipe, tokenizer=str(own), budget=BUDGET, baselines=(NO_TEACHER, sequence)
    )
    run_job(folder, PATIENCE)
    assert losses(folder)[-1] < 0.5 * losses(folder)[0]
    teacher, student, *baselines = read_result(folder.result).measurements
    assert (student.forward_kl, student.top1_agreement, student.draft_acceptance, student.own_text_kl) == (None,) * 4
    assert student.calibration_error is not None
    assert [each.subject for each in baselines] == ["no-teacher", "sequence"]
    assert teacher.cross_entropy > 0

    tokenizer = AutoTokenizer.from_pretrained(folder.student)
    model = AutoModelForCausalLM.from_pretrained(folder.student)
    assert tokenizer.chat_template == tiny_tokenizers.TEMPLATE
    assert tokenizer.encode("거 kk", add_special_tokens=False) == AutoTokenizer.from_pretrained(own).encode(
        "거 kk", add_special_tokens=False
    )
    assert model.config.vocab_size == len(tokenizer) == 340
    assert model.config.eos_token_id == tokenizer.eos_token_id


def span_log_probs(model_folder: Path, folder: JobFolder, prefix: str) -> np.ndarray:
    """Of all held-out spans, by transformers, from what the job froze; ``prefix`` is "" or "student_"."""
    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32)
    sums = []
    for row in parquet.read_table(folder.data / "eval.parquet").to_pylist():
        ids, trained = torch.tensor(row[f"{prefix}ids"]), np.flatnonzero(row[f"{prefix}answered"])
        with torch.no_grad():
            log_probs = model(ids[None]).logits[0].log_softmax(-1)[trained - 1, ids[trained]].numpy()
        sums.append(np.bincount(row[f"{prefix}spans"], log_probs))
    return np.concatenate(sums)


def test_the_student_gives_spans_the_probability_that_its_teacher_gives_them(
    tutor: Teacher, checkpoint: Path, korean: Path, own: Path, tmp_path: Path
) -> None:
    budget = Budget(steps=60, tokens_per_step=1200, checkpoint_steps=30, learning_rate=0.03)
    folder = job(tmp_path, tutor, korean, recipe=STORED, tokenizer=str(own), budget=budget, baselines=(NO_TEACHER,))
    run_job(folder, PATIENCE)
    teacher = span_log_probs(checkpoint, folder, "")
    student, plain = (
        span_log_probs(folder.finished(subject), folder, "student_") for subject in ("student", "no-teacher")
    )
    assert len(teacher) == len(student)
    distance, plain_distance = (float(np.abs(teacher - each).mean()) for each in (student, plain))
    assert distance < 0.3 * plain_distance
    assert np.corrcoef(teacher, student)[0, 1] > 0.8


def test_the_folder_card_and_lineage_name_the_students_tokenizer(
    tutor: Teacher, korean: Path, own: Path, tmp_path: Path
) -> None:
    folder = job(tmp_path / "job", tutor, korean, recipe=STORED, tokenizer=str(own))
    run_job(folder, PATIENCE)
    lineage = read_result(folder.result).lineage
    assert lineage.student_tokenizer_sha256 == tokenizer_sha256(own) != lineage.teachers[0].tokenizer_sha256
    attest(folder.student.resolve(), folder, SigningKey.open_or_make(tmp_path / "key.pem"))
    card = (folder.student / "README.md").read_text()
    assert f"its own, sha256 `{tokenizer_sha256(own)}`" in card
    checks = {check.name: check for check in check_student(folder.student.resolve())}
    assert checks["tokenizer"].outcome == "holds"
    assert "its own" in checks["tokenizer"].found
    assert [check for check in checks.values() if check.outcome == "fails"] == []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_killed_in_training_the_student_is_the_same_and_nothing_is_asked_for_twice(
    tutor: Teacher, korean: Path, own: Path, tmp_path: Path
) -> None:
    changes = {
        "recipe": ONLINE,
        "tokenizer": str(own),
        "budget": Budget(steps=10, tokens_per_step=1200, checkpoint_steps=4),
    }
    calm, killed = (job(tmp_path / name, tutor, korean, **changes) for name in ("calm", "killed"))
    finish(calm)
    kill_when(killed, steps_of("student", 6), "step 6")
    finish(killed)
    assert folder_sha256(killed.finished("student")) == folder_sha256(calm.finished("student"))
    assert scored(killed) == scored(calm)
    assert curve(killed) == curve(calm)


def test_a_tokenizer_that_changes_the_text_is_refused_before_the_teacher_is_asked(
    tutor: Teacher, korean: Path, tmp_path: Path
) -> None:
    tiny_tokenizers.composing().save_pretrained(tmp_path / "lower")
    data = tmp_path / "capitals.jsonl"
    data.write_text(korean.read_text().replace("living", "Living"))
    folder = job(tmp_path / "job", tutor, data, recipe=STORED, tokenizer=str(tmp_path / "lower"))
    with pytest.raises(InvalidInput, match=r"tokenizer writes .*Living room.* as tokens that say .*living room"):
        run_job(folder, PATIENCE)
    assert folder.target_folders() == []


def test_a_tokenizer_without_a_template_is_refused(tutor: Teacher, korean: Path, tmp_path: Path) -> None:
    bare = tiny_tokenizers.bytes_alone()
    bare.chat_template = None
    bare.save_pretrained(tmp_path / "bare")
    folder = job(tmp_path / "job", tutor, korean, recipe=STORED, tokenizer=str(tmp_path / "bare"))
    with pytest.raises(InvalidInput, match="has no chat template"):
        run_job(folder, PATIENCE)


def test_two_teachers_are_mixed_span_by_span(tutor: Teacher, korean: Path, own: Path, tmp_path: Path) -> None:
    both = tuple(msgspec.structs.replace(tutor, weight=weight) for weight in (0.25, 0.75))
    changes = {"recipe": STORED, "tokenizer": str(own)}
    alone = job(tmp_path / "alone", tutor, korean, **changes)
    mixed = job(tmp_path / "mixed", tutor, korean, **changes, teachers=both)
    for folder in (alone, mixed):
        run_job(folder, PATIENCE)
    # The same teacher twice is the same teacher, up to the order of additions.
    assert losses(mixed) == pytest.approx(losses(alone), rel=1e-3)
