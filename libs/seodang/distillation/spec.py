"""What a job is to do, typed: the mirror of ``seodang.api.distill.v1.JobSpec`` that the library works from.

A spec is read once, checked, resolved into a new object without open defaults, and never changed. Unknown keys are
errors. Nothing here imports torch.
"""

from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from seodang.base.errors import InvalidInput

AtLeast1: TypeAlias = Annotated[int, Meta(ge=1)]
Count: TypeAlias = Annotated[int, Meta(ge=0)]
Share: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
Positive: TypeAlias = Annotated[float, Meta(gt=0)]
Name: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,62}$")]

Kind: TypeAlias = Literal[
    "offline",
    "online",
    "on_policy",
    "sequence_level",
    "no_teacher",
    "hidden_states",
    "cross_tokenizer",
    "cross_tokenizer_online",
]
Optimizer: TypeAlias = Literal["adamw", "muon"]
Dtype: TypeAlias = Literal["float32", "bfloat16"]
Divergence: TypeAlias = Literal["forward_kl", "reverse_kl", "generalized_jsd"]

STUDENT: Final = "student"
"""Subject of the distilled student in events and measurements; a baseline's subject is its name."""
TEACHER: Final = "teacher"
CROSSING: Final[frozenset[Kind]] = frozenset({"cross_tokenizer", "cross_tokenizer_online"})
"""Kinds whose students have another tokenizer than the teacher."""
SPAN_TEMPERATURE: Final = 100.0
"""Of spans where nothing else is asked for, as in the paper (loss/spans.py)."""
_WITHOUT_TOKENS: Final[frozenset[Kind]] = CROSSING | {"sequence_level", "no_teacher"}
"""Kinds that need no token of the teacher to be one of the student."""


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the parts of a spec: immutable, keyword-only, unknown keys refused."""


class Tagged(Record, frozen=True, kw_only=True, tag_field="type"):
    """One of several alternatives, told apart by ``type`` in JSON."""


class Teacher(Record, frozen=True, kw_only=True):
    """Who is asked for the signal."""

    model: str
    """Resource name, "models/{model}"."""
    address: str
    """host:port of a server that speaks InferenceService."""
    weight: Positive | None = None
    """Share in the mixture; None means equal shares. Resolved weights sum to 1."""


class CorpusSource(Tagged, frozen=True, kw_only=True, tag="corpus"):
    """Examples of a corpus that the platform knows by name."""

    name: str


class FileSource(Tagged, frozen=True, kw_only=True, tag="file"):
    """Examples of a JSON-lines file, ``{"messages": [...], "answer": "..."}`` a line."""

    path: str


CAPTURED_LICENSE: Final = "LicenseRef-Consented-Traffic"
"""SPDX; what it allows is what the people behind the traffic agreed to."""


class Captured(Record, frozen=True, kw_only=True):
    """What is told of a version of captured traffic wherever it went into a student."""

    sha256: str
    """Of the file of prompts."""
    interactions: int
    prompts: int
    """Different ones among the interactions."""
    first_time: str
    """ISO 8601, like ``last_time``."""
    last_time: str
    models: tuple[str, ...]
    """Who answered."""
    consents: tuple[str, ...]
    """What the people behind the traffic had agreed to."""
    redactions: dict[str, int]
    """Pieces of personal data that were replaced, by kind."""


class DatasetSource(Tagged, frozen=True, kw_only=True, tag="dataset"):
    """Prompts of a captured dataset version, "datasets/{dataset}/versions/{version}", which the teacher answers."""

    version: str
    path: str = ""
    """The server's file of it; whoever runs the job fills it in, and ``captured`` too."""
    captured: Captured | None = None


class Data(Record, frozen=True, kw_only=True):
    """What the student is trained and measured on."""

    source: CorpusSource | FileSource | DatasetSource
    train_examples: Count = 0
    """0 takes all."""
    eval_examples: Count = 0
    """Held-out examples (robot: episodes) for the measurements; 0 takes the corpus's own number."""
    noised_copies: Annotated[int, Meta(ge=0, le=100)] = 0
    """Further copies of each training prompt with words dropped, swapped or exchanged, for the teacher to label."""
    language: Literal["", "ko", "en"] = ""
    license: str = ""
    """SPDX expression of ``file`` data; corpora bring their own."""


class DenseShape(Tagged, frozen=True, kw_only=True, tag="dense"):
    """A small decoder of the LFM2 family, with tied embeddings and the teacher's vocabulary.

    Layers alternate between a short convolution and attention; the last is attention.
    """

    hidden_size: AtLeast1 = 128
    layers: AtLeast1 = 4
    heads: AtLeast1 = 4
    kv_heads: AtLeast1 = 2
    intermediate_size: Count = 0
    """0 is resolved to 3 x hidden_size."""
    inherit_embeddings: bool = False
    """Start the token table from the teacher's; a student without a teacher starts at random all the same."""


class ConfigShape(Tagged, frozen=True, kw_only=True, tag="config"):
    """Any causal language model that transformers knows, by its config.json as text."""

    config_json: str


class AdapterShape(Tagged, frozen=True, kw_only=True, tag="adapter"):
    """Low-rank adapters on a model that is there already: only they are trained, the student is both merged."""

    base: str
    """Folder of a transformers model and its tokenizer."""
    rank: AtLeast1 = 8
    alpha: Annotated[float, Meta(ge=0)] = 0.0
    """What an adapter adds is multiplied by alpha / rank. 0 is resolved to 2 x rank."""
    target_modules: tuple[str, ...] = ()
    """Last names of the linear layers that get one, such as "q_proj"; empty takes all but the head."""


Shape: TypeAlias = DenseShape | ConfigShape | AdapterShape


class SampledTarget(Tagged, frozen=True, kw_only=True, tag="sampled"):
    """The ``head`` likeliest tokens exactly and ``tail_draws`` systematic draws from the rest: unbiased. Where the
    student chooses the tokens, there are as many, and each position spends them as its own distribution asks.
    """

    head: Count = 4
    tail_draws: Count = 8


class TopKTarget(Tagged, frozen=True, kw_only=True, tag="top_k"):
    """The k likeliest tokens and one bucket for the rest."""

    k: AtLeast1


class HiddenTarget(Tagged, frozen=True, kw_only=True, tag="hidden"):
    """Last hidden states; with the head, fetched once, they are the whole distribution."""

    int8: bool = False


Target: TypeAlias = SampledTarget | TopKTarget | HiddenTarget


class Recipe(Record, frozen=True, kw_only=True):
    """How the teacher's signal becomes the student's loss."""

    kind: Kind = "offline"
    divergence: Divergence = "forward_kl"
    beta: Share | None = None
    """Of generalized_jsd: towards 0 it is forward KL, towards 1 reverse KL."""
    cross_entropy_weight: Share = 0.0
    """Share of the hard-label cross-entropy in the loss; the rest is the divergence."""
    temperature: Positive = 1.0
    """Of the teacher's and the student's distributions in the divergence; across tokenizers the probabilities of spans
    are taken to the power of one over it."""
    target: Target = SampledTarget()


class Budget(Record, frozen=True, kw_only=True):
    """How long to train."""

    steps: AtLeast1 = 400
    tokens_per_step: AtLeast1 = 8192
    """Tokens that the student reads a step, prompts included, padding excluded."""
    learning_rate: Positive = 3e-3
    """The peak, after the warm-up; it falls to a tenth by a cosine."""
    optimizer: Optimizer = "adamw"
    warmup_fraction: Share = 0.03
    weight_decay: Annotated[float, Meta(ge=0)] = 0.1
    ranks: AtLeast1 = 1
    """Processes that train together, each a part of every parameter."""
    dtype: Dtype = "float32"
    """In which the student computes while it trains; parameters, sums of gradients and moments are float32."""
    checkpoint_steps: AtLeast1 = 50
    patience: Count = 0
    """Stop when the loss on development examples did not improve for this many measurements; 0 never does."""


class Baseline(Record, frozen=True, kw_only=True):
    """A student of the same shape, data, budget and seed, trained another way to be measured against."""

    name: Name
    recipe: Recipe


class Gate(Record, frozen=True, kw_only=True):
    """What a student must reach to be promoted. None is not checked."""

    max_points_below_teacher: float | None = None
    """Task score at least the teacher's minus this many points (0 to 100)."""
    beat_baselines: bool = False
    min_task_score: Share | None = None
    max_parameter_share: Positive | None = None
    max_forward_kl: Annotated[float, Meta(ge=0)] | None = None
    promote_to: str = ""


class JobSpec(Record, frozen=True, kw_only=True):
    """A whole job. It never changes once the job exists."""

    student: Name
    teachers: Annotated[tuple[Teacher, ...], Meta(min_length=1)]
    data: Data
    shape: Shape = DenseShape()
    recipe: Recipe = Recipe()
    budget: Budget = Budget()
    baselines: tuple[Baseline, ...] = ()
    gate: Gate = Gate()
    seed: int = 0
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    tokenizer: str = ""
    """Folder of the students' own tokenizer and chat template; empty gives them the teacher's."""

    @property
    def subjects(self) -> dict[str, Recipe]:
        """Each student to be trained, by subject: "student" first, then the baselines in order."""
        return {STUDENT: self.recipe} | {baseline.name: baseline.recipe for baseline in self.baselines}


def read_spec(path: Path) -> JobSpec:
    """Reads, checks and resolves a job.json.

    Raises:
        InvalidInput: not JSON, an unknown key, a value out of range, or values that contradict each other.
    """
    return resolve(decode_spec(path.read_bytes()))


def decode_spec(text: bytes) -> JobSpec:
    """A spec from JSON, each field checked on its own.

    Raises:
        InvalidInput: not JSON, an unknown key, or a value out of range.
    """
    try:
        return msgspec.json.decode(text, type=JobSpec)
    except msgspec.DecodeError as error:
        raise InvalidInput(f"bad job spec: {error}", field="spec", reason="BAD_JOB_SPEC") from error


def encode_spec(spec: JobSpec) -> bytes:
    """The JSON of a spec, for job.json."""
    return msgspec.json.format(msgspec.json.encode(spec), indent=2)


def resolve(spec: JobSpec) -> JobSpec:
    """A new spec without open defaults, checked as a whole.

    Raises:
        InvalidInput: values are out of range or contradict each other.
    """
    # Objects built in Python were not range-checked yet; a round trip checks them as if they were read.
    spec = decode_spec(msgspec.json.encode(spec))
    _check_names(spec)
    for subject, recipe in spec.subjects.items():
        _check_recipe(subject, recipe)
        _check_tokenizer(spec, subject, recipe)
        if recipe.kind == "hidden_states" and len(spec.teachers) > 1:
            raise _bad(
                "teachers",
                f"recipe of {subject!r}: hidden_states follows the states of one teacher, not {len(spec.teachers)}: "
                "name one, or mix them with another kind",
            )
    return msgspec.structs.replace(spec, teachers=_weighted(spec.teachers), shape=_shape(spec.shape))


def _check_names(spec: JobSpec) -> None:
    names = [TEACHER, STUDENT, *(baseline.name for baseline in spec.baselines)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise _bad("baselines", f"baseline name {twice[0]!r} is taken: choose one that no other contestant has")


def _check_recipe(subject: str, recipe: Recipe) -> None:
    where = f"recipe of {subject!r}"
    if recipe.divergence == "generalized_jsd" and recipe.beta is None:
        raise _bad("recipe.beta", f"{where}: generalized_jsd needs beta, between 0 and 1")
    if recipe.divergence != "generalized_jsd" and recipe.beta is not None:
        raise _bad("recipe.beta", f"{where}: beta={recipe.beta} belongs to generalized_jsd, not {recipe.divergence}")
    if isinstance(recipe.target, SampledTarget) and recipe.target.tail_draws == 0:
        raise _bad(
            "recipe.target", f"{where}: without tail draws a sampled target is biased: add some, or choose top_k"
        )
    if recipe.kind == "on_policy" and recipe.cross_entropy_weight:
        raise _bad("recipe.cross_entropy_weight", f"{where}: on_policy has no right answers: set it to 0")
    if recipe.kind == "hidden_states" and not isinstance(recipe.target, HiddenTarget):
        raise _bad("recipe.target", f"{where}: hidden_states matches hidden states: set the target to 'hidden'")
    stored = recipe.kind == "offline" and isinstance(recipe.target, SampledTarget)
    if stored and recipe.divergence != "forward_kl":
        raise _bad(
            "recipe.divergence",
            f"{where}: {recipe.divergence} of a sampled target from a store is biased, because the teacher's "
            "probabilities at the student's own likely tokens are not in it. Use target 'hidden', which is the whole "
            "distribution, or kind 'online' or 'on_policy', where the teacher scores live candidates",
        )


def _check_tokenizer(spec: JobSpec, subject: str, recipe: Recipe) -> None:
    where = f"recipe of {subject!r}"
    if not spec.tokenizer:
        if recipe.kind in CROSSING:
            raise _bad("shape.tokenizer", f"{where}: {recipe.kind} needs the student's tokenizer: name its folder")
        return
    if recipe.kind not in _WITHOUT_TOKENS:
        raise _bad(
            "recipe.kind",
            f"{where}: {recipe.kind} compares token by token, but the students have another tokenizer: choose one of "
            f"{', '.join(sorted(_WITHOUT_TOKENS))}, or leave the tokenizer out",
        )
    if recipe.kind in CROSSING and isinstance(recipe.target, HiddenTarget):
        raise _bad(
            "recipe.target",
            f"{where}: {recipe.kind} learns from the text's own probability, which hidden states do not add to: leave "
            "the target out",
        )
    if spec.gate.max_forward_kl is not None:
        raise _bad("gate.max_forward_kl", "no KL is measured between students and a teacher with another tokenizer")
    if isinstance(spec.shape, DenseShape) and spec.shape.inherit_embeddings:
        raise _bad(
            "shape.dense.inherit_embeddings",
            "the teacher's token table is of other tokens than the students': leave inherit_embeddings out",
        )


def _weighted(teachers: tuple[Teacher, ...]) -> tuple[Teacher, ...]:
    given = [teacher.weight for teacher in teachers]
    if any(weight is None for weight in given) and any(weight is not None for weight in given):
        raise _bad("teachers.weight", "either every teacher has a weight or none has: complete them or remove them")
    weights = [weight or 1.0 for weight in given]
    return tuple(
        msgspec.structs.replace(teacher, weight=weight / sum(weights))
        for teacher, weight in zip(teachers, weights, strict=True)
    )


def _shape(shape: Shape) -> Shape:
    if isinstance(shape, AdapterShape):
        return msgspec.structs.replace(shape, alpha=shape.alpha or 2.0 * shape.rank)
    if isinstance(shape, ConfigShape):
        return shape
    if shape.hidden_size % (2 * shape.heads):
        raise _bad("shape", f"hidden_size={shape.hidden_size} must be a multiple of 2 x heads={shape.heads}")
    if shape.heads % shape.kv_heads:
        raise _bad("shape", f"heads={shape.heads} must be a multiple of kv_heads={shape.kv_heads}")
    return msgspec.structs.replace(shape, intermediate_size=shape.intermediate_size or 3 * shape.hidden_size)


def _bad(field: str, message: str) -> InvalidInput:
    return InvalidInput(message, field=f"spec.{field}", reason="BAD_JOB_SPEC")
