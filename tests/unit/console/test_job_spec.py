"""The form and the pasted JSON as a job's specification."""

import dataclasses

import pytest

from seodang.api.distill.v1 import job_pb2
from seodang.base.errors import InvalidInput
from seodang.console.job_spec import DIVERGENCES, RECIPES, JobForm, read_json, write_json
from seodang.distillation.wire import spec_from_proto

FORM = JobForm(student=" robot ", teacher="models/teacher-mini", data="babyai", language="ko", steps=40, seed=3)


def test_the_forms_fields_are_the_specifications() -> None:
    spec = FORM.spec()
    assert (spec.student, spec.teachers[0].model, spec.data.corpus, spec.data.language) == (
        "robot", "models/teacher-mini", "babyai", "ko",
    )  # fmt: skip
    assert (spec.budget.steps, spec.seed, spec.gate.max_points_below_teacher) == (40, 3, 5)


def test_what_the_form_shows_as_json_can_be_pasted() -> None:
    assert read_json(write_json(FORM.spec())) == FORM.spec()


def test_a_base_takes_the_place_of_a_shape() -> None:
    spec = dataclasses.replace(FORM, base=" students/robot ", rank=4).spec()
    assert spec.shape.WhichOneof("shape") == "adapter"
    assert (spec.shape.adapter.base, spec.shape.adapter.rank) == ("students/robot", 4)
    assert FORM.spec().shape.WhichOneof("shape") == "dense"


def test_captured_traffic_is_named_as_a_version() -> None:
    data = dataclasses.replace(FORM, data="datasets/robot/versions/20261130-1").spec().data
    assert (data.dataset_version, data.WhichOneof("source")) == (
        "datasets/robot/versions/20261130-1", "dataset_version",
    )  # fmt: skip


def test_a_gate_cannot_ask_for_a_baseline_that_is_not_trained() -> None:
    spec = JobForm(student="x", teacher="models/t", data="c", without_teacher=False, beat_baselines=True).spec()
    assert list(spec.baselines) == []
    assert not spec.gate.beat_baselines


@pytest.mark.parametrize("text", ["", "[]", "{", '{"studnet": "x"}', '{"seed": "x"}', "null"])
def test_what_is_no_specification_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="not a job's specification"):
        read_json(text)


@pytest.mark.parametrize("divergence", DIVERGENCES.values(), ids=DIVERGENCES.keys())
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=job_pb2.Recipe.Kind.Name)
def test_every_choice_of_the_form_is_a_job_that_can_run(
    recipe: job_pb2.Recipe.Kind.ValueType, divergence: job_pb2.Recipe.Divergence.ValueType
) -> None:
    crosses = "CROSS_TOKENIZER" in job_pb2.Recipe.Kind.Name(recipe)
    tokenizer = "tokenizers/own" if crosses else ""
    form = dataclasses.replace(FORM, recipe=recipe, divergence=divergence, beta=0.3, tokenizer=tokenizer)
    spec = spec_from_proto(form.spec(), "localhost:7001")
    assert job_pb2.Recipe.Kind.Name(recipe).lower() == f"kind_{spec.recipe.kind}"
