"""Whether the teachers of a spec are there and can do what its recipes ask of them."""

import asyncio
from collections.abc import Mapping
from typing import Final

from seodang.api.distill.v1 import job_pb2
from seodang.api.inference.v1 import inference_pb2, model_pb2
from seodang.base.errors import DeadlineExpired, InvalidInput, NotFound, Unavailable
from seodang.client import AsyncClient
from seodang.distillation import JobSpec
from seodang.distillation.spec import HiddenTarget
from seodang.rpc import ConnectionPolicy

_TIMEOUT_S: Final = 5.0
# Whoever calls retries already, so one second look is enough.
_POLICY: Final = ConnectionPolicy(retry_attempts=2, retry_initial_backoff_s=0.1)
_NEEDED: Final = {
    model_pb2.CAPABILITY_SCORE: "score sequences, from which students learn and by which they are measured",
    model_pb2.CAPABILITY_CHAT: "hold a chat: it has no template for the messages of the data",
}
_NEEDED_BY_HIDDEN: Final = {model_pb2.CAPABILITY_HIDDEN_STATES: "give its hidden states, which a recipe asks for"}


async def check_teachers(
    teachers: Mapping[str, job_pb2.Teacher], own_address: str, spec: JobSpec
) -> list[model_pb2.Model]:
    """Asks every teacher who it is.

    Args:
        teachers: by the path of their field.
        own_address: host:port of a teacher that names none.
        spec: the resolved spec, for what its recipes need.

    Raises:
        InvalidInput: a teacher is not on its server, lacks a capability, or has another tokenizer than the first.
        Unavailable: its server does not answer; ``metadata["field"]`` is the path of the address.
    """
    models = await asyncio.gather(*(_ask(field, teacher, own_address) for field, teacher in teachers.items()))
    needed = _NEEDED | (_NEEDED_BY_HIDDEN if _wants_hidden(spec) else {})
    for field, model in zip(teachers, models, strict=True):
        lacking = [purpose for capability, purpose in needed.items() if capability not in model.capabilities]
        if lacking:
            raise InvalidInput(f"{model.name} cannot {lacking[0]}: choose another teacher", field=f"{field}.model")
        if model.tokenizer_sha256 != models[0].tokenizer_sha256:
            raise InvalidInput(
                f"{model.name} and {models[0].name} have different tokenizers: teachers are mixed by token, so they "
                "need the same one",
                field=f"{field}.model",
            )
    return models


async def _ask(field: str, teacher: job_pb2.Teacher, own_address: str) -> model_pb2.Model:
    address = teacher.address or own_address
    try:
        async with AsyncClient(address, _POLICY) as client:
            request = inference_pb2.GetModelRequest(name=teacher.model)
            return (await client.inference.GetModel(request, timeout=_TIMEOUT_S)).model
    except InvalidInput as error:
        at = f"{field}.address" if error.field == "address" else f"{field}.model"
        raise InvalidInput(error.message, field=at) from error
    except NotFound as error:
        raise InvalidInput(f"the teacher at {address} has no {teacher.model!r}", field=f"{field}.model") from error
    except (Unavailable, DeadlineExpired) as error:
        raise Unavailable(
            f"the teacher of {field} at {address} does not answer: start it, or correct the address ({error.message})",
            metadata={"field": f"{field}.address"},
            retry_after_s=2.0,
        ) from error


def _wants_hidden(spec: JobSpec) -> bool:
    recipes = spec.subjects.values()
    return any(isinstance(recipe.target, HiddenTarget) for recipe in recipes)
