import pytest

from seodang.base.errors import (
    DeadlineExpired,
    Exhausted,
    InternalFault,
    InvalidInput,
    NotFound,
    SeodangError,
    Unavailable,
)
from seodang.runtime.checkpoint import BadCheckpoint
from seodang.worker.faults import from_failed, to_failed


@pytest.mark.parametrize(
    "error",
    [
        InvalidInput("too hot", field="sampling.temperature", reason="RANGE", metadata={"value": "9"}),
        NotFound("no model"),
        Exhausted("full", retry_after_s=2.5),
        Unavailable("restarting", retry_after_s=0.5),
        DeadlineExpired("late"),
    ],
)
def test_an_error_crosses_with_all_that_it_carries(error: SeodangError) -> None:
    back = from_failed(to_failed("r", error))
    assert type(back) is type(error)
    assert vars(back) == vars(error)


def test_a_subclass_crosses_as_the_class_of_the_tree_that_it_refines() -> None:
    back = from_failed(to_failed("r", BadCheckpoint("broken", tensor="lm_head.weight")))
    assert type(back) is InvalidInput
    assert (back.reason, back.metadata, back.field) == ("BAD_CHECKPOINT", {"tensor": "lm_head.weight"}, "folder")


def test_an_error_from_outside_the_tree_becomes_an_internal_fault() -> None:
    back = from_failed(to_failed("r", KeyError("lost")))
    assert type(back) is InternalFault
    assert "KeyError" in back.message
