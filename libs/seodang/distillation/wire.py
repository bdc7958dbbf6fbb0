"""A job spec of the contract becomes the library's: zeros and unset fields become defaults, enums become names."""

from typing import Any, Final, Literal, cast, get_args

from seodang.api.distill.v1 import job_pb2
from seodang.base.errors import InvalidInput
from seodang.distillation.spec import (
    CROSSING,
    SPAN_TEMPERATURE,
    AdapterShape,
    Baseline,
    Budget,
    ConfigShape,
    CorpusSource,
    Data,
    DatasetSource,
    DenseShape,
    Divergence,
    Dtype,
    FileSource,
    Gate,
    HiddenTarget,
    JobSpec,
    Kind,
    Optimizer,
    Recipe,
    SampledTarget,
    Shape,
    Target,
    Teacher,
    TopKTarget,
    resolve,
)

_KINDS: Final[dict[int, Kind]] = {
    job_pb2.Recipe.KIND_UNSPECIFIED: "offline",
    job_pb2.Recipe.KIND_OFFLINE: "offline",
    job_pb2.Recipe.KIND_ONLINE: "online",
    job_pb2.Recipe.KIND_ON_POLICY: "on_policy",
    job_pb2.Recipe.KIND_SEQUENCE_LEVEL: "sequence_level",
    job_pb2.Recipe.KIND_NO_TEACHER: "no_teacher",
    job_pb2.Recipe.KIND_HIDDEN_STATES: "hidden_states",
    job_pb2.Recipe.KIND_CROSS_TOKENIZER: "cross_tokenizer",
    job_pb2.Recipe.KIND_CROSS_TOKENIZER_ONLINE: "cross_tokenizer_online",
}
_DIVERGENCES: Final[dict[int, Divergence]] = {
    job_pb2.Recipe.DIVERGENCE_UNSPECIFIED: "forward_kl",
    job_pb2.Recipe.DIVERGENCE_FORWARD_KL: "forward_kl",
    job_pb2.Recipe.DIVERGENCE_REVERSE_KL: "reverse_kl",
    job_pb2.Recipe.DIVERGENCE_GENERALIZED_JSD: "generalized_jsd",
}

_OPTIMIZERS: Final[dict[int, Optimizer]] = {
    job_pb2.Budget.OPTIMIZER_UNSPECIFIED: "adamw",
    job_pb2.Budget.OPTIMIZER_ADAMW: "adamw",
    job_pb2.Budget.OPTIMIZER_MUON: "muon",
}


def spec_from_proto(proto: job_pb2.JobSpec, own_teacher: str) -> JobSpec:
    """The resolved spec of a request.

    Args:
        proto: as a caller sent it.
        own_teacher: host:port that stands for an empty teacher address.

    Raises:
        InvalidInput: something is missing, out of range or contradictory.
    """
    return resolve(
        JobSpec(
            student=proto.student,
            teachers=tuple(
                Teacher(
                    model=teacher.model, address=teacher.address or own_teacher, **_set_fields(teacher, ("weight",))
                )
                for teacher in proto.teachers
            ),
            data=_data(proto.data),
            shape=_shape(proto.shape),
            recipe=_recipe(proto.recipe),
            budget=_budget(proto.budget),
            baselines=tuple(Baseline(name=each.name, recipe=_recipe(each.recipe)) for each in proto.baselines),
            gate=_gate(proto.gate),
            seed=proto.seed,
            labels=dict(proto.labels),
            tokenizer=proto.shape.tokenizer,
        )
    )


def _data(proto: job_pb2.DataSpec) -> Data:
    source: CorpusSource | FileSource | DatasetSource
    match proto.WhichOneof("source"):
        case "corpus":
            source = CorpusSource(name=proto.corpus)
        case "file":
            source = FileSource(path=proto.file)
        case "dataset_version":
            source = DatasetSource(version=proto.dataset_version)
        case _:
            raise InvalidInput("the job names no data: set corpus, file or dataset_version", field="spec.data.source")
    return Data(
        source=source,
        train_examples=proto.train_examples,
        eval_examples=proto.eval_examples,
        noised_copies=proto.noised_copies,
        language=cast(Literal["", "ko", "en"], proto.language),  # checked by resolve, like every value here
        license=proto.license,
    )


def _shape(proto: job_pb2.StudentShape) -> Shape:
    match proto.WhichOneof("shape"):
        case "config_json":
            return ConfigShape(config_json=proto.config_json)
        case "adapter":
            if not proto.adapter.base:
                raise InvalidInput("adapters need a base: name the folder of a model", field="spec.shape.adapter.base")
            given = _nonzero_fields(proto.adapter) | {"target_modules": tuple(proto.adapter.target_modules)}
            return AdapterShape(**given)
        case _:
            return DenseShape(**_nonzero_fields(proto.dense))


def _budget(proto: job_pb2.Budget) -> Budget:
    given = _nonzero_fields(proto)
    if proto.optimizer not in _OPTIMIZERS:
        raise InvalidInput(f"optimizer={proto.optimizer} is unknown to this server", field="spec.budget.optimizer")
    if proto.dtype and proto.dtype not in get_args(Dtype):
        raise InvalidInput(
            f"dtype={proto.dtype!r}: students train in {' or '.join(get_args(Dtype))}", field="spec.budget.dtype"
        )
    return Budget(**(given | {"optimizer": _OPTIMIZERS[proto.optimizer]}))


def _recipe(proto: job_pb2.Recipe) -> Recipe:
    for field, number, names in (("kind", proto.kind, _KINDS), ("divergence", proto.divergence, _DIVERGENCES)):
        if number not in names:
            raise InvalidInput(f"{field}={number} is unknown to this server", field=f"spec.recipe.{field}")
    kind = _KINDS[proto.kind]
    given = _set_fields(proto, ("beta", "cross_entropy_weight", "temperature"))
    if kind in CROSSING:
        given = {"temperature": SPAN_TEMPERATURE} | given
    return Recipe(kind=kind, divergence=_DIVERGENCES[proto.divergence], target=_target(proto, kind), **given)


def _target(proto: job_pb2.Recipe, kind: Kind) -> Target:
    target = proto.target
    match target.WhichOneof("target"):
        case "top_k":
            return TopKTarget(k=target.top_k.k)
        case "hidden":
            return HiddenTarget(int8=target.hidden.int8)
        case "sampled":
            return SampledTarget(head=target.sampled.head, tail_draws=target.sampled.tail_draws)
        case _ if kind == "hidden_states":
            return HiddenTarget()
        case _ if kind in CROSSING:
            # The text's own probability comes with any target; the likeliest token shows that it fits the text.
            return TopKTarget(k=1)
        case _:
            return SampledTarget()


def _gate(proto: job_pb2.Gate) -> Gate:
    thresholds = ("max_points_below_teacher", "min_task_score", "max_parameter_share", "max_forward_kl")
    return Gate(beat_baselines=proto.beat_baselines, promote_to=proto.promote_to, **_set_fields(proto, thresholds))


def _set_fields(proto: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """The optional fields that the caller did set."""
    return {name: getattr(proto, name) for name in names if proto.HasField(name)}


def _nonzero_fields(proto: Any) -> dict[str, Any]:
    """The fields in which zero stands for the default."""
    return {descriptor.name: value for descriptor, value in proto.ListFields()}
