"""Tiny jobs on a tiny teacher."""

import json
import socket
from pathlib import Path

import msgspec

from seodang.distillation import JobFolder, JobSpec, encode_spec, resolve
from seodang.distillation.folder import write_whole
from seodang.distillation.spec import (
    Baseline,
    Budget,
    Data,
    DenseShape,
    FileSource,
    Gate,
    Recipe,
    SampledTarget,
    Teacher,
)

MODEL = "models/teacher-mini"
NO_TEACHER = Baseline(name="no-teacher", recipe=Recipe(kind="no_teacher"))


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_data(path: Path, rows: int = 60) -> Path:
    """Sums to be answered; none of them twice."""
    with path.open("w") as file:
        for number in range(rows):
            left, right = number // 8, number % 8
            question = {"role": "user", "content": f"{left} plus {right}"}
            file.write(json.dumps({"messages": [question], "answer": f"{left + right}", "language": "en"}) + "\n")
    return path


def job(root: Path, teacher: Teacher, data: Path, **changes: object) -> JobFolder:
    """A job folder with its spec."""
    spec = JobSpec(
        student="sums",
        teachers=(teacher,),
        data=Data(source=FileSource(path=str(data)), eval_examples=10, license="Apache-2.0"),
        shape=DenseShape(hidden_size=16, layers=1, heads=2, kv_heads=1),
        recipe=Recipe(target=SampledTarget(head=3, tail_draws=4)),
        budget=Budget(steps=12, tokens_per_step=400, checkpoint_steps=4),
        gate=Gate(max_parameter_share=0.5),
        seed=3,
    )
    folder = JobFolder(root)
    write_whole(folder.spec, encode_spec(resolve(msgspec.structs.replace(spec, **changes))))
    return folder
