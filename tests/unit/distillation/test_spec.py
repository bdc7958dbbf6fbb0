from typing import get_args

import msgspec
import pytest

from seodang.api.distill.v1 import job_pb2
from seodang.base.errors import InvalidInput
from seodang.distillation import JobSpec, decode_spec, encode_spec, resolve, spec_from_proto
from seodang.distillation.spec import (
    AdapterShape,
    Baseline,
    Budget,
    CorpusSource,
    Data,
    DenseShape,
    Gate,
    HiddenTarget,
    Kind,
    Recipe,
    SampledTarget,
    Teacher,
    TopKTarget,
)

TEACHER = Teacher(model="models/teacher-mini", address="127.0.0.1:7101")
CROSSING = Recipe(kind="cross_tokenizer")
SPEC = JobSpec(student="robot", teachers=(TEACHER,), data=Data(source=CorpusSource(name="home")))


def test_a_spec_survives_its_json() -> None:
    spec = resolve(SPEC)
    assert decode_spec(encode_spec(spec)) == spec


def test_resolving_fills_shape_and_weights_and_leaves_the_original_alone() -> None:
    spec = msgspec.structs.replace(SPEC, teachers=(TEACHER, TEACHER), shape=DenseShape(hidden_size=96))
    resolved = resolve(spec)
    assert resolved.shape == DenseShape(hidden_size=96, intermediate_size=288)
    assert [teacher.weight for teacher in resolved.teachers] == [0.5, 0.5]
    assert spec.teachers[0].weight is None


@pytest.mark.parametrize("text", [b"{", b'{"student":"robot"}', encode_spec(SPEC).replace(b'"seed"', b'"sead"')])
def test_what_is_not_a_spec_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidInput, match="bad job spec"):
        decode_spec(text)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"recipe": Recipe(divergence="reverse_kl")}, "biased.*'hidden'.*live candidates"),
        ({"recipe": Recipe(divergence="generalized_jsd")}, "needs beta"),
        ({"recipe": Recipe(beta=0.5)}, "belongs to generalized_jsd"),
        ({"recipe": Recipe(target=SampledTarget(head=0, tail_draws=0))}, "biased: add some"),
        ({"recipe": Recipe(kind="on_policy", cross_entropy_weight=0.5)}, "no right answers"),
        ({"recipe": Recipe(temperature=0.0)}, "> 0"),
        ({"recipe": Recipe(kind="hidden_states")}, "set the target to 'hidden'"),
        (
            {"recipe": Recipe(kind="hidden_states", target=HiddenTarget()), "teachers": (TEACHER, TEACHER)},
            "one teacher, not 2",
        ),
        ({"recipe": CROSSING}, "cross_tokenizer needs the student's tokenizer"),
        ({"recipe": Recipe(kind="cross_tokenizer_online")}, "cross_tokenizer_online needs the student's tokenizer"),
        ({"tokenizer": "own"}, "offline compares token by token.*cross_tokenizer, cross_tokenizer_online, no_teacher"),
        (
            {"recipe": CROSSING, "tokenizer": "own", "baselines": (Baseline(name="plain", recipe=Recipe()),)},
            "recipe of 'plain': offline compares token by token",
        ),
        (
            {"recipe": Recipe(kind="cross_tokenizer", target=HiddenTarget()), "tokenizer": "own"},
            "leave the target out",
        ),
        ({"recipe": CROSSING, "tokenizer": "own", "gate": Gate(max_forward_kl=1.0)}, "no KL is measured"),
        (
            {"recipe": CROSSING, "tokenizer": "own", "shape": DenseShape(inherit_embeddings=True)},
            "leave inherit_embeddings out",
        ),
        ({"baselines": (Baseline(name="teacher", recipe=Recipe()),)}, "taken"),
        ({"shape": DenseShape(hidden_size=100, heads=3)}, "multiple of 2 x heads"),
        ({"teachers": (TEACHER, msgspec.structs.replace(TEACHER, weight=1.0))}, "either every teacher"),
        ({"teachers": ()}, "length >= 1"),
        ({"student": "../escape"}, "regex"),
    ],
)
def test_contradictions_are_refused_by_name(change: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        resolve(msgspec.structs.replace(SPEC, **change))


@pytest.mark.parametrize("kind", get_args(Kind))
def test_every_kind_may_have_ranks(kind: Kind) -> None:
    target = HiddenTarget() if kind == "hidden_states" else SampledTarget()
    tokenizer = "/students/own" if "cross" in kind else ""
    recipe = Recipe(kind=kind, target=target)
    spec = msgspec.structs.replace(SPEC, budget=Budget(ranks=8), recipe=recipe, tokenizer=tokenizer)
    assert resolve(spec).budget.ranks == 8


def test_reverse_kl_from_a_store_of_hidden_states_is_fine() -> None:
    recipe = Recipe(divergence="reverse_kl", target=HiddenTarget())
    assert resolve(msgspec.structs.replace(SPEC, recipe=recipe)).recipe == recipe


def test_zeros_and_unset_fields_of_the_contract_become_defaults() -> None:
    proto = job_pb2.JobSpec(
        student="robot",
        teachers=[job_pb2.Teacher(model="models/teacher-mini")],
        data=job_pb2.DataSpec(corpus="home"),
    )
    assert spec_from_proto(proto, own_teacher="127.0.0.1:7101") == resolve(SPEC)


def test_set_fields_of_the_contract_arrive() -> None:
    proto = job_pb2.JobSpec(
        student="robot",
        teachers=[job_pb2.Teacher(model="models/t", address="far:1", weight=2)],
        data=job_pb2.DataSpec(file="a.jsonl", license="MIT", eval_examples=7),
        shape=job_pb2.StudentShape(dense=job_pb2.DenseShape(layers=2, inherit_embeddings=True)),
        recipe=job_pb2.Recipe(
            kind=job_pb2.Recipe.KIND_ON_POLICY,
            divergence=job_pb2.Recipe.DIVERGENCE_GENERALIZED_JSD,
            beta=0,
            target=job_pb2.TargetSpec(hidden=job_pb2.TargetSpec.HiddenSpec(int8=True)),
        ),
        budget=job_pb2.Budget(steps=3, optimizer=job_pb2.Budget.OPTIMIZER_MUON, dtype="bfloat16"),
        baselines=[job_pb2.Baseline(name="plain", recipe=job_pb2.Recipe(kind=job_pb2.Recipe.KIND_NO_TEACHER))],
        gate=job_pb2.Gate(beat_baselines=True, max_forward_kl=0),
        seed=5,
    )
    spec = spec_from_proto(proto, own_teacher="unused:1")
    assert spec.teachers[0] == Teacher(model="models/t", address="far:1", weight=1.0)
    assert spec.shape == DenseShape(layers=2, intermediate_size=384, inherit_embeddings=True)
    assert (spec.budget.optimizer, spec.budget.dtype) == ("muon", "bfloat16")
    assert spec.recipe == Recipe(
        kind="on_policy", divergence="generalized_jsd", beta=0.0, target=HiddenTarget(int8=True)
    )
    assert (spec.budget.steps, spec.budget.tokens_per_step, spec.seed) == (3, 8192, 5)
    assert list(spec.subjects) == ["student", "plain"]
    assert (spec.gate.max_forward_kl, spec.gate.min_task_score) == (0.0, None)


@pytest.mark.parametrize("kind", ["CROSS_TOKENIZER", "CROSS_TOKENIZER_ONLINE"])
def test_a_recipe_that_crosses_tokenizers_has_defaults_of_its_own(kind: str) -> None:
    proto = job_pb2.JobSpec(
        student="robot",
        teachers=[job_pb2.Teacher(model="models/teacher-mini")],
        data=job_pb2.DataSpec(corpus="home"),
        shape=job_pb2.StudentShape(tokenizer="tokenizers/own"),
        recipe=job_pb2.Recipe(kind=job_pb2.Recipe.Kind.Value(f"KIND_{kind}")),
    )
    spec = spec_from_proto(proto, "a:1")
    assert spec.tokenizer == "tokenizers/own"
    assert (spec.recipe.kind, spec.recipe.temperature, spec.recipe.target) == (kind.lower(), 100.0, TopKTarget(k=1))
    proto.recipe.temperature = 1
    assert spec_from_proto(proto, "a:1").recipe.temperature == 1


def test_adapters_of_the_contract_arrive_and_alpha_follows_the_rank() -> None:
    proto = job_pb2.JobSpec(
        student="robot",
        teachers=[job_pb2.Teacher(model="models/t")],
        data=job_pb2.DataSpec(corpus="home"),
        shape=job_pb2.StudentShape(adapter=job_pb2.AdapterShape(base="students/home", rank=4, target_modules=["w1"])),
    )
    expected = AdapterShape(base="students/home", rank=4, alpha=8.0, target_modules=("w1",))
    assert spec_from_proto(proto, "a:1").shape == expected
    proto.shape.adapter.alpha = 3
    assert spec_from_proto(proto, "a:1").shape == msgspec.structs.replace(expected, alpha=3.0)
    proto.shape.adapter.base = ""
    with pytest.raises(InvalidInput, match="adapters need a base"):
        spec_from_proto(proto, "a:1")


def test_a_request_without_data_is_refused() -> None:
    with pytest.raises(InvalidInput, match="names no data"):
        spec_from_proto(job_pb2.JobSpec(student="robot", teachers=[job_pb2.Teacher(model="models/t")]), "a:1")


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        (job_pb2.Budget(optimizer=9), "optimizer=9 is unknown"),  # type: ignore[arg-type]
        (job_pb2.Budget(dtype="int8"), "dtype='int8': students train in float32 or bfloat16"),
    ],
)
def test_a_budget_of_a_later_contract_is_refused(budget: job_pb2.Budget, words: str) -> None:
    proto = job_pb2.JobSpec(
        student="robot",
        teachers=[job_pb2.Teacher(model="models/t")],
        data=job_pb2.DataSpec(corpus="home"),
        budget=budget,
    )
    with pytest.raises(InvalidInput, match=words):
        spec_from_proto(proto, "a:1")
