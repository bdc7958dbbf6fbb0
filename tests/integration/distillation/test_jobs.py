"""Whole jobs against a real teacher process."""

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec
import pytest
import torch
from pyarrow import parquet
from safetensors.torch import load_file
from tests import tiny_checkpoints
from tests.integration.distillation.jobs import MODEL, NO_TEACHER, free_port, job, write_data
from tests.serving import Serving, start_server, wait_for
from transformers import AutoModelForCausalLM, AutoTokenizer

from seodang.base.errors import Conflict, Unavailable
from seodang.distillation import (
    CurvePoint,
    JobFolder,
    Measured,
    Progressed,
    StateChanged,
    read_events,
    read_result,
)
from seodang.distillation.cost import Rates
from seodang.distillation.folder import folder_sha256
from seodang.distillation.job import run_job
from seodang.distillation.spec import (
    Budget,
    ConfigShape,
    Gate,
    HiddenTarget,
    Recipe,
    SampledTarget,
    Teacher,
    TopKTarget,
)
from seodang.distillation.targets import TargetMismatch, read_ledger
from seodang.distillation.teacher import Patience, open_teacher
from seodang.provenance import SigningKey, attest, lineage_graph, mermaid

PATIENCE = Patience(limit_s=60, longest_pause_s=0.5)


def test_a_job_goes_from_its_spec_to_a_measured_student(tutor: Teacher, data: Path, tmp_path: Path) -> None:
    gate = Gate(beat_baselines=True, max_parameter_share=0.5, max_points_below_teacher=100)
    folder = job(tmp_path, tutor, data, baselines=(NO_TEACHER,), gate=gate)
    run_job(folder, PATIENCE)

    result = read_result(folder.result)
    assert [each.subject for each in result.measurements] == ["teacher", "student", "no-teacher"]
    assert all(each.examples == 10 and each.metric == "exact answer" for each in result.measurements)
    student = result.measurements[1]
    assert student.forward_kl is not None
    assert student.forward_kl > 0
    assert [check.name for check in result.verdict.checks] == [
        "points below teacher",
        "task score above no-teacher",
        "parameters to teacher's",
    ]
    assert result.lineage.student_sha256 == folder_sha256(folder.student)
    assert result.lineage.data.license == "Apache-2.0"
    ledgers = [record for store in folder.target_folders() for record in read_ledger(store)]
    assert result.cost.teacher_positions == sum(record.positions for record in ledgers) > 0

    events, _ = read_events(folder.events)
    stages = [event.stage for event in events if isinstance(event, StateChanged)]
    assert stages == ["preparing", "scoring", "training", "training", "evaluating", "gating", "gating"]
    assert [event.step for event in events if isinstance(event, CurvePoint) and event.subject == "student"] == list(
        range(1, 13)
    )
    assert [event.measurement for event in events if isinstance(event, Measured)] == list(result.measurements)
    told = [event for event in events if isinstance(event, Progressed) and event.stage == "evaluating"]
    for subject, pieces in (("teacher", 2), ("student", 3), ("no-teacher", 3)):
        # What it says by itself, the teacher on that, and its answers: each is told to its end.
        of_subject = [event for event in told if event.subject == subject]
        assert sum(event.done == event.total for event in of_subject) == pieces
        assert {event.unit for event in of_subject} == {"positions", "examples"}

    model = AutoModelForCausalLM.from_pretrained(folder.student)
    tokenizer = AutoTokenizer.from_pretrained(folder.student)
    assert model.dtype == torch.bfloat16
    assert tokenizer.chat_template == tiny_checkpoints.CHAT_TEMPLATE


def test_a_student_that_trained_in_bfloat16_says_so_and_leaves_as_every_other(
    tutor: Teacher, data: Path, tmp_path: Path
) -> None:
    budget = Budget(steps=6, tokens_per_step=300, checkpoint_steps=3, dtype="bfloat16")
    recipe = Recipe(kind="on_policy", divergence="reverse_kl", target=SampledTarget(head=3, tail_draws=3))
    folder = job(tmp_path / "job", tutor, data, recipe=recipe, budget=budget, baselines=(NO_TEACHER,))
    run_job(folder, PATIENCE)
    assert read_result(folder.result).lineage.training_dtype == "bfloat16"
    student = folder.student.resolve()
    provenance = attest(student, folder, SigningKey.open_or_make(tmp_path / "key.pem"))
    assert "in bfloat16 on float32 parameters" in (student / "README.md").read_text()
    assert "trained in bfloat16" in mermaid(lineage_graph(provenance))
    assert {each.dtype for each in load_file(student / "model.safetensors").values()} == {torch.bfloat16}
    (newest,) = folder.training("student").glob("step-00000006.*")
    assert {each.dtype for each in load_file(newest).values()} == {torch.float32}


def test_the_kls_on_either_text_are_those_of_whole_distributions(
    tutor: Teacher, checkpoint: Path, data: Path, tmp_path: Path
) -> None:
    folder = job(tmp_path, tutor, data, baselines=(NO_TEACHER,))
    run_job(folder, PATIENCE)
    teacher = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    rows = parquet.read_table(folder.data / "eval.parquet", columns=["ids", "answered"]).to_pylist()
    prompts = [row["ids"][: row["answered"].index(True)] for row in rows]
    right = [row["ids"][len(prompt) :] for row, prompt in zip(rows, prompts, strict=True)]
    for measured in read_result(folder.result).measurements[1:]:
        student = AutoModelForCausalLM.from_pretrained(folder.finished(measured.subject), dtype=torch.float32)
        own = json.loads((folder.evaluation(measured.subject) / "own-text.json").read_bytes())
        assert len(own) == len(prompts) == 10
        log_p, log_q = said(teacher, prompts, right), said(student, prompts, right)
        assert measured.forward_kl == pytest.approx(kl(log_p, log_q), rel=0.05)
        assert measured.reverse_kl == pytest.approx(kl(log_q, log_p), rel=0.05)
        shared = (log_p.topk(8).indices[:, :, None] == log_q.topk(8).indices[:, None]).any(2)
        assert measured.top8_overlap == pytest.approx(float(shared.double().mean()), abs=0.01)
        log_p, log_q = said(teacher, prompts, own), said(student, prompts, own)
        assert measured.own_text_kl == pytest.approx(kl(log_q, log_p), rel=0.05)
        assert measured.own_text_forward_kl == pytest.approx(kl(log_p, log_q), rel=0.05)


def said(model: torch.nn.Module, prompts: list[list[int]], answers: list[list[int]]) -> torch.Tensor:
    """Log-probabilities [positions, vocabulary] of the tokens of all answers."""
    with torch.no_grad():
        return torch.cat(
            [
                model(torch.tensor([[*prompt, *answer]])).logits[0, len(prompt) - 1 : -1].double().log_softmax(-1)
                for prompt, answer in zip(prompts, answers, strict=True)
            ]
        )


def kl(log_one: torch.Tensor, log_other: torch.Tensor) -> float:
    """KL(one | other), mean over positions."""
    return float((log_one.exp() * (log_one - log_other)).sum(-1).mean())


def test_the_cost_is_what_the_ledgers_and_the_rates_make_of_it(tutor: Teacher, data: Path, tmp_path: Path) -> None:
    folder = job(tmp_path, tutor, data)
    run_job(folder, PATIENCE, rates=Rates(watts=500.0, price_per_hour=7200.0, currency="KRW"))
    result = read_result(folder.result)
    cost = result.cost
    tokens = sum(record.tokens for store in folder.target_folders() for record in read_ledger(store))
    with open_teacher(tutor, PATIENCE) as teacher:
        active = teacher.identity.active_parameters
    assert 0 < active < result.measurements[0].parameters
    assert cost.teacher_tokens == tokens > cost.teacher_positions
    assert cost.scoring_flops == 2.0 * active * tokens
    assert cost.wall_s is not None
    assert cost.wall_s > cost.training_s
    assert cost.energy_kwh == pytest.approx(0.5 * cost.wall_s / 3600)
    assert cost.price == pytest.approx(2.0 * cost.wall_s)
    assert [each.training_tokens for each in result.measurements] == [None, cost.training_tokens]


def test_what_a_job_costs_is_left_open_where_nobody_said(tutor: Teacher, data: Path, tmp_path: Path) -> None:
    folder = job(tmp_path, tutor, data)
    run_job(folder, PATIENCE)
    cost = read_result(folder.result).cost
    assert (cost.watts, cost.energy_kwh, cost.price_per_hour, cost.price) == (None, None, None, None)


def test_a_teacher_that_computes_each_text_alone_differs_from_itself_by_the_wires_last_bit(
    tutor: Teacher, data: Path, tmp_path: Path
) -> None:
    folder = job(tmp_path, tutor, data)
    run_job(folder, PATIENCE)
    teacher, student = read_result(folder.result).measurements
    assert teacher.noise_floor_kl is not None
    assert 0 <= teacher.noise_floor_kl < 1e-13
    assert teacher.noise_floor_agreement == 1.0
    assert (student.noise_floor_kl, student.noise_floor_agreement) == (None, None)


def test_rounding_in_other_company_is_a_floor_far_below_the_student(
    checkpoint: Path, data: Path, tmp_path: Path
) -> None:
    with start_server("teacher", tmp_path, folder=checkpoint, model=MODEL) as serving:
        folder = job(tmp_path / "job", Teacher(model=MODEL, address=serving.address), data)
        run_job(folder, PATIENCE)
    teacher, student = read_result(folder.result).measurements
    assert teacher.noise_floor_kl is not None
    assert student.forward_kl is not None
    assert 0 <= teacher.noise_floor_kl < 1e-6 * student.forward_kl


def test_a_finished_job_is_left_alone(tutor: Teacher, data: Path, tmp_path: Path) -> None:
    folder = job(tmp_path, tutor, data)
    run_job(folder, PATIENCE)
    before = folder.events.read_bytes()
    run_job(folder, PATIENCE)
    assert folder.events.read_bytes() == before


RECIPES = {
    "top-k": Recipe(target=TopKTarget(k=5), divergence="reverse_kl"),
    "hidden states, any divergence": Recipe(target=HiddenTarget(), divergence="generalized_jsd", beta=0.4),
    "int8 hidden states, temperature": Recipe(target=HiddenTarget(int8=True), temperature=2.0),
    "hidden states that are followed": Recipe(kind="hidden_states", target=HiddenTarget(), divergence="reverse_kl"),
    "mixed with the labels": Recipe(cross_entropy_weight=0.5),
    "online": Recipe(kind="online"),
    "online, live candidates": Recipe(kind="online", divergence="reverse_kl", target=SampledTarget(head=3)),
    "on-policy": Recipe(kind="on_policy"),
    "on-policy, live candidates": Recipe(kind="on_policy", divergence="generalized_jsd", beta=0.5),
}


@pytest.fixture(scope="module")
def untaught_kl(tutor: Teacher, data: Path, tmp_path_factory: pytest.TempPathFactory) -> float:
    """How far a student is from the teacher that has hardly moved."""
    budget = Budget(steps=1, tokens_per_step=100, learning_rate=1e-9)
    folder = job(tmp_path_factory.mktemp("untaught"), tutor, data, budget=budget)
    run_job(folder, PATIENCE)
    return forward_kl(folder)


def forward_kl(folder: JobFolder) -> float:
    """Of the student."""
    return read_result(folder.result).measurements[1].forward_kl or 0.0


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_teaches_a_student(
    tutor: Teacher, data: Path, tmp_path: Path, name: str, untaught_kl: float
) -> None:
    budget = Budget(steps=24, tokens_per_step=400, checkpoint_steps=8, learning_rate=0.03)
    folder = job(tmp_path, tutor, data, recipe=RECIPES[name], budget=budget)
    run_job(folder, PATIENCE)
    assert forward_kl(folder) < 0.8 * untaught_kl


def test_answers_of_the_teacher_teach_a_student(tutor: Teacher, data: Path, tmp_path: Path) -> None:
    """Words without probabilities leave it surer than its teacher, so it is what it learned that counts."""
    budget = Budget(steps=24, tokens_per_step=400, checkpoint_steps=8, learning_rate=0.03)
    folder = job(tmp_path, tutor, data, recipe=Recipe(kind="sequence_level"), budget=budget)
    run_job(folder, PATIENCE)
    events, _ = read_events(folder.events)
    losses = [event.loss for event in events if isinstance(event, CurvePoint) and event.subject == "student"]
    assert losses[-1] < 0.5 * losses[0]


def test_two_teachers_are_mixed(tutor: Teacher, data: Path, tmp_path: Path) -> None:
    both = tuple(msgspec.structs.replace(tutor, weight=weight) for weight in (0.25, 0.75))
    alone = job(tmp_path / "alone", tutor, data)
    mixed = job(tmp_path / "mixed", tutor, data, teachers=both)
    for folder in (alone, mixed):
        run_job(folder, PATIENCE)
    (_, one), (_, two) = read_result(alone.result).measurements, read_result(mixed.result).measurements
    # The same teacher twice is the same teacher, up to the order of additions.
    assert one.forward_kl == pytest.approx(two.forward_kl, rel=0.02)
    assert len(read_result(mixed.result).lineage.teachers) == 2


def test_any_architecture_can_be_a_student(tutor: Teacher, data: Path, tmp_path: Path) -> None:
    config = (
        '{"model_type": "qwen3", "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "head_dim": 8,'
        '"num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 256}'
    )
    folder = job(tmp_path, tutor, data, shape=ConfigShape(config_json=config))
    run_job(folder, PATIENCE)
    assert type(AutoModelForCausalLM.from_pretrained(folder.student)).__name__ == "Qwen3ForCausalLM"


def test_a_teacher_that_dies_while_it_scores_is_waited_for(checkpoint: Path, tmp_path: Path) -> None:
    port = free_port()
    folder = job(tmp_path / "job", Teacher(model=MODEL, address=f"127.0.0.1:{port}"), write_data(tmp_path / "d", 2000))

    def start() -> AbstractContextManager[Serving]:
        return start_server("teacher", tmp_path, folder=checkpoint, model=MODEL, port=port)

    with ThreadPoolExecutor(1) as pool:
        with start() as first:
            done = pool.submit(run_job, folder, PATIENCE)
            wait_for(lambda: done.done() or any(folder.root.glob("targets/train-*/*.journal")), "scoring to begin")
            assert not done.done()
            first.process.kill()
        with start():
            done.result(timeout=90)
    assert folder.result.exists()


def test_a_swapped_teacher_is_refused(checkpoint: Path, data: Path, tmp_path: Path) -> None:
    other = tiny_checkpoints.build(tmp_path / "other", "axk1", seed=1)
    port = free_port()
    folder = job(tmp_path / "job", Teacher(model=MODEL, address=f"127.0.0.1:{port}"), data)
    with start_server("teacher", tmp_path, folder=checkpoint, model=MODEL, port=port):
        run_job(folder, PATIENCE)
    folder.result.unlink()
    with (
        start_server("teacher", tmp_path, folder=other, model=MODEL, port=port),
        pytest.raises(TargetMismatch, match="weights_sha256 is"),
    ):
        run_job(folder, PATIENCE)


def test_an_absent_teacher_is_a_retriable_fault(data: Path, tmp_path: Path) -> None:
    folder = job(tmp_path / "job", Teacher(model=MODEL, address=f"127.0.0.1:{free_port()}"), data)
    with pytest.raises(Unavailable):
        run_job(folder, Patience(limit_s=0.1, first_pause_s=0.05))


def test_two_processes_cannot_work_on_one_job(tutor: Teacher, data: Path, tmp_path: Path) -> None:
    folder = job(tmp_path, tutor, data)
    with folder.locked(), pytest.raises(Conflict, match="another process"):
        run_job(folder, PATIENCE)
