"""What is said of a student is what was measured."""

import pytest

from seodang.api.distill.v1 import job_pb2
from seodang.cli.contestants import verdict


def _measured(**scores: float) -> list[job_pb2.Measurement]:
    parameters = {"teacher": 8_000_000}
    return [
        job_pb2.Measurement(
            subject=name.replace("_", "-"), task_score=score, parameters=parameters.get(name, 1_000_000)
        )
        for name, score in scores.items()
    ]


@pytest.mark.parametrize(
    ("measured", "said"),
    [
        (_measured(teacher=0.9, student=0.88, no_teacher=0.8), "2.0 points behind it; it is 8.0 points ahead of"),
        (_measured(teacher=0.9, student=0.91, no_teacher=0.8), "1.0 points ahead of it; it is 11.0 points ahead of"),
        (_measured(teacher=0.9, student=0.7, no_teacher=0.8), "20.0 points behind it; it LOSES to 'no-teacher'"),
        (_measured(teacher=0.9, student=0.8, no_teacher=0.8), "it LOSES to 'no-teacher'"),
        (_measured(teacher=0.9, student=0.8), "has 12.5% of the teacher's parameters and is 10.0 points behind it."),
    ],
    ids=["ahead of the baseline", "ahead of the teacher", "loses", "a draw is no gain", "no baseline"],
)
def test_the_verdict_says_who_won(measured: list[job_pb2.Measurement], said: str) -> None:
    assert said in verdict(measured)
