"""Whole jobs whose students are adapters on an earlier student."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests import tiny_tokenizers
from tests.integration.distillation.jobs import NO_TEACHER, job
from tests.integration.distillation.test_kill import curve, finish, kill_when, scored, steps_of
from transformers import AutoModelForCausalLM

from seodang.base.errors import Conflict, InvalidInput
from seodang.distillation import JobFolder, read_result
from seodang.distillation.folder import folder_sha256
from seodang.distillation.job import run_job
from seodang.distillation.spec import AdapterShape, Budget, DenseShape, Recipe, Teacher, TopKTarget
from seodang.distillation.teacher import Patience
from seodang.distillation.training import build_student
from seodang.provenance import SigningKey, attest, check_student
from seodang.runtime.export import Export, Weights

PATIENCE = Patience(limit_s=60, longest_pause_s=0.5)
BUDGET = Budget(steps=24, tokens_per_step=400, checkpoint_steps=8, learning_rate=0.03)


@pytest.fixture(scope="module")
def base(tutor: Teacher, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student that has learned little, from a job that named no base."""
    budget = Budget(steps=2, tokens_per_step=200)
    shape = DenseShape(hidden_size=32, layers=2, heads=2, kv_heads=1)
    folder = job(tmp_path_factory.mktemp("base"), tutor, data, budget=budget, shape=shape)
    run_job(folder, PATIENCE)
    return folder.student.resolve()


def adapted_job(root: Path, tutor: Teacher, data: Path, base: Path, **changes: object) -> JobFolder:
    return job(root, tutor, data, **({"shape": AdapterShape(base=str(base)), "budget": BUDGET} | changes))


@pytest.mark.parametrize("recipe", [Recipe(), Recipe(kind="on_policy")], ids=lambda recipe: recipe.kind)
def test_adapters_bring_a_student_nearer_to_its_teacher(
    tutor: Teacher, data: Path, base: Path, tmp_path: Path, recipe: Recipe
) -> None:
    folder = adapted_job(tmp_path, tutor, data, base, recipe=recipe, baselines=(NO_TEACHER,))
    run_job(folder, PATIENCE)
    before = read_result(JobFolder(base.parent.parent).result).measurements[1]
    student, plain = read_result(folder.result).measurements[1:]
    assert student.parameters == plain.parameters == before.parameters
    assert student.forward_kl is not None
    assert before.forward_kl is not None
    assert student.forward_kl < 0.8 * before.forward_kl

    old, new = (AutoModelForCausalLM.from_pretrained(each).state_dict() for each in (base, folder.student))
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    assert changed
    assert not any("embed" in name or "norm" in name for name in changed)
    assert {path.name for path in (folder.student / "adapter").iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors",
    }  # fmt: skip
    Export(folder.student.resolve()).write(tmp_path / "student.gguf", Weights.BF16, "sums")
    checkpoints = [load_file(path) for path in folder.training("student").glob("step-*")]
    assert all("_RI" in name or "_OR" in name for checkpoint in checkpoints for name in checkpoint)


def test_the_base_stands_in_lineage_and_card_and_the_signature_covers_the_adapters(
    tutor: Teacher, data: Path, base: Path, tmp_path: Path
) -> None:
    folder = adapted_job(tmp_path / "job", tutor, data, base)
    run_job(folder, PATIENCE)
    record = read_result(folder.result).lineage.base
    assert record is not None
    assert (record.name, record.sha256) == ("student", folder_sha256(base))
    student = folder.student.resolve()
    provenance = attest(student, folder, SigningKey.open_or_make(tmp_path / "key.pem"))
    assert {file.path for file in provenance.files} >= {"adapter/adapter_model.safetensors"}
    card = (student / "README.md").read_text()
    assert f"Base: student, sha256 `{record.sha256}`" in card
    assert str(base.parent) not in card
    assert [check for check in check_student(student) if check.outcome == "fails"] == []
    (student / "adapter" / "adapter_config.json").write_text("{}")
    assert any(check.outcome == "fails" for check in check_student(student))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_killed_in_training_the_adapted_student_is_the_same(
    tutor: Teacher, data: Path, base: Path, tmp_path: Path
) -> None:
    budget = Budget(steps=16, tokens_per_step=800, checkpoint_steps=5)
    calm, killed = (adapted_job(tmp_path / name, tutor, data, base, budget=budget) for name in ("calm", "killed"))
    finish(calm)
    kill_when(killed, steps_of("student", 7), "step 7")
    finish(killed)
    assert folder_sha256(killed.finished("student")) == folder_sha256(calm.finished("student"))
    assert scored(killed) == scored(calm)
    assert curve(killed) == curve(calm)


def test_a_base_with_its_own_tokenizer_crosses(tutor: Teacher, data: Path, tmp_path: Path) -> None:
    """What a model from elsewhere needs: its own tokenizer, adapters, and a teacher of another family."""
    own = tmp_path / "tokenizer"
    tokenizer = tiny_tokenizers.sentence_piece_bpe()
    tokenizer.save_pretrained(own)
    shape = DenseShape(hidden_size=32, layers=2, heads=2, kv_heads=1, intermediate_size=64)
    build_student(shape, 352, tokenizer.eos_token_id, context_tokens=128, seed=1).save(tmp_path / "base", own)
    recipe = Recipe(kind="cross_tokenizer", target=TopKTarget(k=1), temperature=100.0)
    folder = adapted_job(
        tmp_path / "job", tutor, data, tmp_path / "base", recipe=recipe, tokenizer=str(tmp_path / "base")
    )
    run_job(folder, PATIENCE)
    model = AutoModelForCausalLM.from_pretrained(folder.student)
    assert model.config.vocab_size == 352  # wider than the tokenizer, as bases often are
    assert (folder.student / "tokenizer.json").read_bytes() == (own / "tokenizer.json").read_bytes()

    alone = adapted_job(tmp_path / "alone", tutor, data, tmp_path / "base")
    with pytest.raises(InvalidInput, match="another tokenizer than its students would have"):
        run_job(alone, PATIENCE)


def test_a_base_that_changed_while_the_job_was_away_is_refused(
    tutor: Teacher, data: Path, base: Path, tmp_path: Path
) -> None:
    folder = adapted_job(tmp_path / "job", tutor, data, base)
    run_job(folder, PATIENCE)
    folder.result.unlink()
    (folder.finished("student") / "config.json").unlink()
    original = (base / "generation_config.json").read_text()
    try:
        for path in sorted(folder.finished("student").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        folder.finished("student").rmdir()
        (base / "generation_config.json").write_text(original + " ")
        with pytest.raises(Conflict, match="belongs to a training with other"):
            run_job(folder, PATIENCE)
    finally:
        (base / "generation_config.json").write_text(original)


@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json"])
def test_a_folder_that_is_no_base_is_refused(tutor: Teacher, data: Path, tmp_path: Path, missing: str) -> None:
    folder = tmp_path / "base"
    folder.mkdir()
    for name in {"config.json", "tokenizer.json"} - {missing}:
        (folder / name).write_text("{}")
    with pytest.raises(InvalidInput, match=f"it has no {missing}"):
        run_job(adapted_job(tmp_path / "job", tutor, data, folder), PATIENCE)
