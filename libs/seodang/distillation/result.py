"""What comes out of a job: measurements, verdict, cost and lineage, in ``result.json``."""

from pathlib import Path

import msgspec

from seodang.base.errors import Conflict
from seodang.distillation.folder import write_whole
from seodang.distillation.spec import Record


class ReliabilityBin(Record, frozen=True, kw_only=True):
    """The positions at which a contestant was about equally sure of its likeliest token."""

    confidence: float
    """Mean probability that it gave that token."""
    accuracy: float
    """Share of positions where it was the right one."""
    positions: int


class Measurement(Record, frozen=True, kw_only=True):
    """How one contestant did on the held-out data."""

    subject: str
    """"teacher", "student" or the name of a baseline."""
    parameters: int
    task_score: float
    """The task's metric, 0 to 1, with the bounds of its 95 % Wilson interval."""
    task_score_low: float
    task_score_high: float
    metric: str
    examples: int
    cross_entropy: float
    """Of the right answers, in nats a position of the teacher's; so are the next two, which neither the teacher has nor
    a student with another tokenizer."""
    forward_kl: float | None = None
    top1_agreement: float | None = None
    draft_acceptance: float | None = None
    """Probability that the teacher accepts a token which the student drafts for it in speculative sampling."""
    own_text_kl: float | None = None
    """KL(student | teacher) in nats a position of answers that the contestant sampled itself."""
    calibration_error: float | None = None
    """Expected calibration error of the likeliest token, 0 to 1; None in a result of before there was one."""
    reliability: tuple[ReliabilityBin, ...] = ()
    """What the calibration error is the mean distance of."""
    reverse_kl: float | None = None
    """KL(student | teacher) in nats a position of the right answers, of the first held-out examples."""
    own_text_forward_kl: float | None = None
    """KL(teacher | student) in nats a position of the answers of ``own_text_kl``."""
    top8_overlap: float | None = None
    """Share of the teacher's eight likeliest tokens that are among the student's eight."""
    noise_floor_kl: float | None = None
    """Only of the teacher: KL between what it said in two scorings of the same positions, in other batches each."""
    noise_floor_agreement: float | None = None
    """Only of the teacher: share of those positions whose likeliest token was the same both times."""
    training_tokens: int | None = None
    """That it read while it was trained; None of the teacher."""


class GateCheck(Record, frozen=True, kw_only=True):
    """One threshold."""

    name: str
    threshold: float
    value: float
    passed: bool


class Verdict(Record, frozen=True, kw_only=True):
    """Whether the student may be promoted."""

    passed: bool
    checks: tuple[GateCheck, ...]
    promote_to: str = ""
    """The alias that a passed student gets; empty is none."""


class Cost(Record, frozen=True, kw_only=True):
    """What the job consumed, over all its processes. None is unknown, never nothing."""

    teacher_positions: int = 0
    """Positions whose signal the teacher gave; none is counted, or asked for, twice."""
    signal_bytes: int = 0
    """Bytes of that signal on the wire."""
    training_tokens: int = 0
    training_flops: float = 0.0
    """6 x parameters x tokens, of student and baselines."""
    scoring_s: float = 0.0
    """Summed over streams side by side."""
    training_s: float = 0.0
    evaluating_s: float = 0.0
    teacher_tokens: int | None = None
    """Of the sequences that the teachers scored, prompts included, in their caches or not."""
    scoring_flops: float | None = None
    """2 x active parameters x tokens, of all teachers."""
    wall_s: float | None = None
    """How long the job's processes ran, without the pauses between them."""
    watts: float | None = None
    """What the operator says that the job's machines draw."""
    energy_kwh: float | None = None
    """watts x wall_s."""
    price_per_hour: float | None = None
    """What the operator says that an hour of the job costs."""
    price: float | None = None
    """price_per_hour x wall_s."""
    currency: str = ""


class TeacherRecord(Record, frozen=True, kw_only=True):
    """The teacher as it was when it gave the signal."""

    model: str
    weights_sha256: str
    tokenizer_sha256: str
    architecture: str
    parameters: int
    weight: float


class DataRecord(Record, frozen=True, kw_only=True):
    """The data as they were when they were frozen."""

    source: str
    """Such as "corpus:home"."""
    license: str
    sha256: str
    train_examples: int
    dev_examples: int
    eval_examples: int


class BaseRecord(Record, frozen=True, kw_only=True):
    """The model that a student's adapters were put on."""

    name: str
    """Of the student that it is, or of its folder."""
    sha256: str
    """Over the sorted list of (path, sha256) of its files."""


class Lineage(Record, frozen=True, kw_only=True):
    """What made the student."""

    teachers: tuple[TeacherRecord, ...]
    data: DataRecord
    spec_sha256: str
    """Over the resolved job.json."""
    code_version: str
    """Version of this package, and the commit where it is a checkout."""
    torch_version: str
    seed: int
    student_sha256: str
    """Over the sorted list of (path, sha256) of the student's files."""
    student_tokenizer_sha256: str = ""
    """Over the student's own tokenizer and chat template; empty if it has the teachers'."""
    base: BaseRecord | None = None
    """None: the student was trained from nothing."""
    training_dtype: str = "float32"
    """In which it computed while it trained; its parameters were float32."""


class JobResult(Record, frozen=True, kw_only=True):
    """The whole result; its existence means that the job is done."""

    measurements: tuple[Measurement, ...]
    """Teacher, student, then each baseline."""
    verdict: Verdict
    cost: Cost
    lineage: Lineage


def write_result(path: Path, result: JobResult) -> None:
    """Writes result.json, whole and durable."""
    write_whole(path, msgspec.json.format(msgspec.json.encode(result), indent=2))


def read_result(path: Path) -> JobResult:
    """Reads result.json.

    Raises:
        Conflict: it is not a result of this version.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=JobResult)
    except msgspec.DecodeError as error:
        raise Conflict(f"{path} is no job result: {error}; run the job again with this version") from error
