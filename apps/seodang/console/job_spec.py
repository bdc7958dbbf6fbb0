"""What people type into the form, or paste, as a job's specification."""

import json
from dataclasses import dataclass
from typing import Final

from google.protobuf import json_format

from seodang.api.distill.v1 import job_pb2
from seodang.base.errors import InvalidInput

RECIPES: Final = {
    "offline: the teacher scores the data once": job_pb2.Recipe.KIND_OFFLINE,
    "online: the teacher scores each batch": job_pb2.Recipe.KIND_ONLINE,
    "on-policy: the teacher scores the student's answers": job_pb2.Recipe.KIND_ON_POLICY,
    "sequence-level: the student learns the teacher's answers": job_pb2.Recipe.KIND_SEQUENCE_LEVEL,
    "hidden states: the student's states follow the teacher's": job_pb2.Recipe.KIND_HIDDEN_STATES,
    "cross-tokenizer: the student keeps its own tokenizer": job_pb2.Recipe.KIND_CROSS_TOKENIZER,
    "cross-tokenizer, online: the same, scored batch by batch": job_pb2.Recipe.KIND_CROSS_TOKENIZER_ONLINE,
    "no teacher: the data's own answers": job_pb2.Recipe.KIND_NO_TEACHER,
}
DIVERGENCES: Final = {
    "forward KL": job_pb2.Recipe.DIVERGENCE_FORWARD_KL,
    "reverse KL": job_pb2.Recipe.DIVERGENCE_REVERSE_KL,
    "generalised JSD": job_pb2.Recipe.DIVERGENCE_GENERALIZED_JSD,
}


@dataclass(frozen=True)
class JobForm:
    """The fields of the form; zero and empty take the server's default, as in the contract."""

    student: str
    teacher: str
    data: str
    """Name of a corpus, or of a frozen version of captured traffic: ``datasets/<dataset>/versions/<version>``."""
    language: str = ""
    train_examples: int = 0
    eval_examples: int = 0
    hidden_size: int = 0
    layers: int = 0
    heads: int = 0
    kv_heads: int = 0
    base: str = ""
    """Folder below the server's data roots with a model; the student is that with adapters, whose other sizes are its
    own. Empty trains a small decoder from nothing."""
    rank: int = 0
    """Of the adapters."""
    tokenizer: str = ""
    """Folder below the server's data roots with the student's own tokenizer; empty takes the teacher's."""
    recipe: job_pb2.Recipe.Kind.ValueType = job_pb2.Recipe.KIND_OFFLINE
    divergence: job_pb2.Recipe.Divergence.ValueType = job_pb2.Recipe.DIVERGENCE_FORWARD_KL
    beta: float = 0.5
    """Where generalised JSD lies between forward (0) and reverse KL (1)."""
    steps: int = 0
    learning_rate: float = 0.0
    seed: int = 0
    without_teacher: bool = True
    """Train a student of the same shape and budget without a teacher, to be measured against."""
    points_below_teacher: float = 5.0
    beat_baselines: bool = True
    promote_to: str = ""

    def spec(self) -> job_pb2.JobSpec:
        """The specification that the fields mean."""
        baselines = []
        if self.without_teacher:
            recipe = job_pb2.Recipe(kind=job_pb2.Recipe.KIND_NO_TEACHER)
            baselines.append(job_pb2.Baseline(name="no-teacher", recipe=recipe))
        return job_pb2.JobSpec(
            student=self.student.strip(),
            teachers=[job_pb2.Teacher(model=self.teacher)],
            data=self._data(),
            shape=self._shape(),
            recipe=self._recipe(),
            budget=job_pb2.Budget(steps=self.steps, learning_rate=self.learning_rate),
            baselines=baselines,
            gate=job_pb2.Gate(
                max_points_below_teacher=self.points_below_teacher,
                beat_baselines=self.beat_baselines and self.without_teacher,
                promote_to=self.promote_to.strip(),
            ),
            seed=self.seed,
        )

    def _data(self) -> job_pb2.DataSpec:
        data = job_pb2.DataSpec(
            language=self.language, train_examples=self.train_examples, eval_examples=self.eval_examples
        )
        if self.data.startswith("datasets/"):
            data.dataset_version = self.data
        else:
            data.corpus = self.data
        return data

    def _shape(self) -> job_pb2.StudentShape:
        tokenizer = self.tokenizer.strip()
        if base := self.base.strip():
            adapter = job_pb2.AdapterShape(base=base, rank=self.rank)
            return job_pb2.StudentShape(adapter=adapter, tokenizer=tokenizer)
        dense = job_pb2.DenseShape(
            hidden_size=self.hidden_size, layers=self.layers, heads=self.heads, kv_heads=self.kv_heads
        )
        return job_pb2.StudentShape(dense=dense, tokenizer=tokenizer)

    def _recipe(self) -> job_pb2.Recipe:
        """The recipe, with a target that its divergence is unbiased for."""
        recipe = job_pb2.Recipe(kind=self.recipe, divergence=self.divergence)
        if self.divergence == job_pb2.Recipe.DIVERGENCE_GENERALIZED_JSD:
            recipe.beta = self.beta
        if self.recipe == job_pb2.Recipe.KIND_OFFLINE and self.divergence != job_pb2.Recipe.DIVERGENCE_FORWARD_KL:
            recipe.target.hidden.SetInParent()
        return recipe


def read_json(text: str) -> job_pb2.JobSpec:
    """A specification from its JSON form.

    Raises:
        InvalidInput: not JSON, or not a job's specification.
    """
    try:
        fields = json.loads(text)
        if not isinstance(fields, dict):
            raise InvalidInput(f"not a job's specification: a JSON object is wanted, not {text[:40]!r}")
        return json_format.ParseDict(fields, job_pb2.JobSpec())
    except (json.JSONDecodeError, RecursionError, json_format.ParseError) as error:
        raise InvalidInput(f"not a job's specification: {error}") from error


def write_json(spec: job_pb2.JobSpec) -> str:
    """The JSON form that ``read_json`` reads."""
    return json_format.MessageToJson(spec, preserving_proto_field_name=True, indent=2)
