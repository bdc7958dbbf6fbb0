import math
from collections.abc import Callable

import pytest

from seodang.api.distill.v1 import job_pb2
from seodang.base.errors import InvalidInput
from seodang.distill.jobs.limits import LIMITS, check_limits

Spec = job_pb2.JobSpec


def good_spec() -> Spec:
    return Spec(
        student="robot",
        teachers=[job_pb2.Teacher(model="models/teacher-mini")],
        data=job_pb2.DataSpec(corpus="home"),
        baselines=[job_pb2.Baseline(name="no-teacher", recipe=job_pb2.Recipe(kind=job_pb2.Recipe.KIND_NO_TEACHER))],
    )


def put(spec: Spec, path: str, value: float) -> None:
    *parents, last = path.replace("[0]", "").split(".")[1:]
    place = spec
    for name in parents:
        place = getattr(place, name)
        if hasattr(place, "add"):
            place = place[0] if len(place) else place.add()
    setattr(place, last, value)


FIELDS = sorted(
    path.replace("[]", "[0]") if path.startswith("spec") else f"{owner}.{path}"
    for path in LIMITS
    for owner in (["spec", "spec.baselines[0]"] if not path.startswith("spec") else [""])
)


def test_a_plain_spec_is_within_all_limits() -> None:
    check_limits(good_spec())


@pytest.mark.parametrize("field", FIELDS)
def test_each_number_beyond_its_limit_is_refused_by_its_path(field: str) -> None:
    limit = LIMITS[field.replace("[0]", "[]") if "recipe" not in field else field[field.index("recipe") :]]
    spec = good_spec()
    put(spec, field, math.ceil(limit.high) + 1)
    with pytest.raises(InvalidInput) as caught:
        check_limits(spec)
    assert caught.value.field == field
    assert "must be" in caught.value.message


@pytest.mark.parametrize("field", [field for field in FIELDS if "weight" in field or "temperature" in field])
def test_not_a_number_is_refused(field: str) -> None:
    spec = good_spec()
    put(spec, field, math.nan)
    with pytest.raises(InvalidInput) as caught:
        check_limits(spec)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("spec.student", lambda spec: setattr(spec, "student", "")),
        ("spec.student", lambda spec: setattr(spec, "student", "../etc")),
        ("spec.teachers", lambda spec: spec.ClearField("teachers")),
        ("spec.teachers", lambda spec: spec.teachers.extend([job_pb2.Teacher()] * 8)),
        ("spec.baselines", lambda spec: spec.baselines.extend([job_pb2.Baseline(name="x")] * 16)),
        ("spec.baselines[0].name", lambda spec: setattr(spec.baselines[0], "name", "no teacher")),
        ("spec.gate.promote_to", lambda spec: setattr(spec.gate, "promote_to", "a@b")),
        ("spec.labels", lambda spec: spec.labels.update({"a b": ""})),
        ("spec.labels", lambda spec: spec.labels.update({f"k{n}": "" for n in range(65)})),
        ("spec.labels['k']", lambda spec: spec.labels.update({"k": "v" * 257})),
        ("spec.shape.config_json", lambda spec: setattr(spec.shape, "config_json", " " * (2**20 + 1))),
        ("spec.data.train_examples", lambda spec: setattr(spec.data, "train_examples", -1)),
        ("spec.budget.steps", lambda spec: setattr(spec.budget, "steps", -1)),
    ],
)
def test_what_is_not_a_plain_number_is_refused_by_its_path(field: str, change: Callable[[Spec], None]) -> None:
    spec = good_spec()
    change(spec)
    with pytest.raises(InvalidInput) as caught:
        check_limits(spec)
    assert caught.value.field == field
