"""Which layouts a model can have: tensor, expert and pipeline parallel degrees against the sizes in its config."""

from transformers import PreTrainedConfig

from seodang.base.errors import InvalidInput
from seodang.worker.messages import Layout


def check_layout(layout: Layout, config: PreTrainedConfig) -> None:
    """``InvalidInput`` with the numbers that do not divide and the degrees that would."""
    for name, degree in (("tp", layout.tp), ("ep", layout.ep), ("pp", layout.pp)):
        if degree < 1:
            raise _refused(name, f"{name}={degree}: a degree is at least 1")
    if layout.tp > 1:
        _check_tensor_parallel(layout.tp, config, experts_whole=layout.ep > 1)
    if layout.ep > 1:
        _check_expert_parallel(layout, config)
    if layout.pp > config.num_hidden_layers:
        raise _refused("pp", f"pp={layout.pp}: the model has only {config.num_hidden_layers} layers to divide")


def refuse_parted_groups(name: str, inputs: int, tp: int, group: int) -> None:
    """``InvalidInput`` if ranks that share out a matrix's inputs would part a group of inputs with common levels."""
    width = -(-inputs // tp)
    if tp > 1 and width % group:
        whole = ", ".join(str(n) for n in range(1, -(-inputs // group) + 1) if -(-inputs // n) % group == 0) or "1"
        raise _refused(
            "tp",
            f"tp={tp} gives a rank {width} of the {inputs} inputs of {name}, which parts a group of {group} that int4 "
            f"keeps together; take tp of {whole}, or dtype int8",
        )


def _check_tensor_parallel(tp: int, config: PreTrainedConfig, *, experts_whole: bool) -> None:
    if not getattr(config, "base_model_tp_plan", None):
        raise _refused("tp", f"tp={tp}: transformers has no tensor parallel plan for {config.model_type}; use tp=1")
    sizes = {"num_attention_heads": config.num_attention_heads}
    if not is_latent(config):
        sizes["num_key_value_heads"] = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    if getattr(config, "moe_intermediate_size", None) and not experts_whole:
        sizes["moe_intermediate_size"] = config.moe_intermediate_size
    for name, size in sizes.items():
        if size % tp:
            divisors = ", ".join(str(n) for n in range(2, min(size, 256) + 1) if size % n == 0) or "none"
            raise _refused("tp", f"tp={tp} does not divide {name}={size}; its divisors are {divisors}")


def _check_expert_parallel(layout: Layout, config: PreTrainedConfig) -> None:
    experts = getattr(config, "num_local_experts", None) or getattr(config, "num_experts", None)
    if not experts or not getattr(config, "base_model_ep_plan", None):
        raise _refused("ep", f"ep={layout.ep}: {config.model_type} has no experts to spread; use ep=1")
    if layout.ep != layout.tp:
        raise _refused(
            "ep", f"ep={layout.ep}: experts spread over the tensor parallel ranks, so ep is 1 or tp={layout.tp}"
        )
    if layout.pp > 1:
        raise _refused(
            "ep", f"ep={layout.ep} with pp={layout.pp}: transformers cannot combine expert and pipeline parallel"
        )
    if experts % layout.ep:
        raise _refused("ep", f"ep={layout.ep} does not divide the {experts} experts")


def is_latent(config: PreTrainedConfig) -> bool:
    """Whether attention caches one compressed latent a token (multi-head latent attention)."""
    return bool(getattr(config, "kv_lora_rank", None))


def _refused(degree: str, message: str) -> InvalidInput:
    return InvalidInput(message, field=f"options.layout.{degree}", reason="BAD_LAYOUT")
