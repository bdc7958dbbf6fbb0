"""A model as the contract describes it."""

import hashlib
from collections.abc import Sequence
from typing import Final

from seodang.api.inference.v1 import model_pb2
from seodang.inference.directory import ListedModel, ServedModel
from seodang.worker import EngineHost, HostHealth, HostState
from seodang.worker.messages import ModelInfo

_STATES: Final = {
    HostState.STARTING: model_pb2.MODEL_STATE_LOADING,
    HostState.READY: model_pb2.MODEL_STATE_READY,
    HostState.RESTARTING: model_pb2.MODEL_STATE_RECOVERING,
    HostState.STOPPED: model_pb2.MODEL_STATE_UNLOADING,
}
# Beside GENERATE, what takes the weights themselves: an external server hands out neither logits nor hidden states.
_OF_OUR_ENGINE: Final = (
    model_pb2.CAPABILITY_SCORE,
    model_pb2.CAPABILITY_EMBED,
    model_pb2.CAPABILITY_HIDDEN_STATES,
)


def describe_models(listed: Sequence[ListedModel], host: EngineHost) -> list[model_pb2.Model]:
    """Models as they stand at this moment."""
    health = host.health()
    utilisation = _cache_utilisation(host.models(), health)
    return [_model(entry, health, utilisation) for entry in listed]


def _model(listed: ListedModel, health: HostHealth, utilisation: float) -> model_pb2.Model:
    """The message; the state is the engine's, unless the model is on its way in or out."""
    if not isinstance(listed, ServedModel):
        return model_pb2.Model(name=listed.name, state=listed.state)
    info = listed.info
    return model_pb2.Model(
        name=listed.name,
        architecture=info.architecture,
        total_parameters=info.parameters,
        active_parameters=listed.active_parameters,
        vocabulary_size=info.vocab_size,
        context_tokens=info.context_tokens,
        dtype=info.dtype,
        layout=None if info.external else _layout(info),
        weights_sha256=info.weights_fingerprint,
        tokenizer_sha256=tokenizer_sha256(info),
        capabilities=_capabilities(info),
        state=model_pb2.MODEL_STATE_RECOVERING if info.model_id in health.lost else _STATES[health.state],
        cache_bytes_per_token=info.cache_bytes_per_token,
        cache_utilisation=utilisation,
        running_requests=listed.activity.running,
        waiting_requests=listed.activity.waiting,
    )


def _capabilities(info: ModelInfo) -> tuple[model_pb2.Capability.ValueType, ...]:
    ours = () if info.external else _OF_OUR_ENGINE
    chat = (model_pb2.CAPABILITY_CHAT,) if info.has_chat_template else ()
    constraint = (model_pb2.CAPABILITY_CONSTRAINT,) if info.eos_token_ids else ()
    return (model_pb2.CAPABILITY_GENERATE, *ours, *chat, *constraint)


def _layout(info: ModelInfo) -> model_pb2.Layout:
    layout = info.layout
    return model_pb2.Layout(tensor_parallel=layout.tp, expert_parallel=layout.ep, pipeline_parallel=layout.pp)


def tokenizer_sha256(info: ModelInfo) -> str:
    """One digest over tokenizer and chat template: equal means the same ids for the same text and conversation."""
    return hashlib.sha256(f"{info.tokenizer_sha256}\n{info.chat_template_sha256}".encode()).hexdigest()


def _cache_utilisation(models: Sequence[ModelInfo], health: HostHealth) -> float:
    """Share of the cache in use. Rank 0 tells what is free over all models of the host, so it is one share for all."""
    capacity = sum(info.cache_tokens for info in models)
    if not capacity or not health.ranks:
        return 0.0
    return max(0.0, 1.0 - health.ranks[0].free_cache_tokens / capacity)
