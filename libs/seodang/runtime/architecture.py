"""From ``config.json`` to the transformers class that it names, refusing what we would silently get wrong."""

import inspect
import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from transformers import AutoConfig, PreTrainedConfig
from transformers.generation.configuration_utils import GenerationConfig

from seodang.runtime.checkpoint import BadCheckpoint, Checkpoint

# Book-keeping, or read by transformers into ``rope_parameters`` and ``mlp_layer_types``.
READ_ELSEWHERE: Final = frozenset(
    {
        *("model_type", "architectures", "auto_map", "torch_dtype", "dtype", "transformers_version", "_name_or_path"),
        *("tokenizer_class", "rope_theta", "rope_scaling", "first_k_dense_replace", "moe_layer_freq", "use_cache"),
        *("attn_implementation", "_attn_implementation", "_attn_implementation_autoset", "_experts_implementation"),
        # How weights began; they are what they are now.
        *("block_mlp_init_scale", "block_out_init_scale", "block_use_xavier_init", "conv_use_xavier_init"),
    }
)
# Fields of the family's own code that transformers does not know, with the one value that its class implements.
IMPLEMENTED: Final[dict[str, dict[str, tuple[object, ...]]]] = {
    "axk1": {
        "scoring_func": ("sigmoid",),
        "topk_method": ("noaux_tc", "group_limited_greedy"),
        "ep_size": (1,),
        "num_nextn_predict_layers": (0, 1),
        "aux_loss_alpha": (0.0, 0.001),
        "seq_aux": (True, False),
    },
    "lfm2": {"block_use_swiglu": (True,), "use_pos_enc": (True,)},
}
# Further such fields, which repeat one that transformers reads.
REPEATED: Final[dict[str, dict[str, str]]] = {
    "lfm2": {
        "block_dim": "hidden_size",
        "conv_dim": "hidden_size",
        "conv_dim_out": "hidden_size",
        "num_heads": "num_attention_heads",
        "block_norm_eps": "norm_eps",
    }
}


def read_config(checkpoint: Checkpoint, ignored_fields: tuple[str, ...] = ()) -> PreTrainedConfig:
    """The typed config of a checkpoint. An unknown field is ``BadCheckpoint``: it may mean another computation."""
    path = checkpoint.folder / "config.json"
    raw = {key: value for key, value in checkpoint.config.items() if key not in ignored_fields}
    model_type = str(raw.get("model_type", ""))
    if "quantization_config" in raw:
        raise BadCheckpoint(f"{path}: quantised weights are not supported; use the float32 or bf16 original", file=path)
    try:
        config_class = type(AutoConfig.for_model(model_type))
    except ValueError:
        raise BadCheckpoint(f"{path}: model_type {model_type!r} is unknown to this transformers", file=path) from None
    code = _modeling_code(config_class)
    if "ForCausalLM" not in code:
        raise BadCheckpoint(f"{path}: model_type {model_type!r} is no causal language model", file=path)
    for name, values in IMPLEMENTED.get(model_type, {}).items():
        if name in raw and raw[name] not in values:
            allowed = ", ".join(json.dumps(value) for value in values)
            raise BadCheckpoint(f"{path}: {name}={json.dumps(raw[name])} is not implemented, only {allowed}", file=path)
    repeated = REPEATED.get(model_type, {})
    if unknown := sorted(
        raw.keys() - _known_fields(config_class, code) - IMPLEMENTED.get(model_type, {}).keys() - repeated.keys()
    ):
        raise BadCheckpoint(
            f"{path}: unknown field{'s' if len(unknown) > 1 else ''} {', '.join(unknown)}; a field that "
            f"{config_class.__name__} does not read may change the computation. If it does not, remove it from "
            "the file or name it in ignored_config_fields",
            file=path,
        )
    try:
        config = config_class.from_dict(raw)
    except Exception as error:
        raise BadCheckpoint(f"{path}: {error}", file=path) from error
    for name, other in repeated.items():
        if name in raw and raw[name] != getattr(config, other):
            raise BadCheckpoint(
                f"{path}: {name}={json.dumps(raw[name])} is not implemented, only {other}'s own value, "
                f"{json.dumps(getattr(config, other))}",
                file=path,
            )
    return config


def _modeling_code(config_class: type[PreTrainedConfig]) -> str:
    """Source of the model that belongs to a config, without importing it."""
    folder = Path(inspect.getfile(config_class)).parent
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob("modeling_*.py")))


def _known_fields(config_class: type[PreTrainedConfig], code: str) -> frozenset[str]:
    declared = {field.name for field in fields(config_class)}
    defaults: dict[str, Any] = config_class().to_dict()
    generation: dict[str, Any] = GenerationConfig().to_dict()
    # Some models read fields that their config class does not declare: getattr(config, "head_dim", None).
    read = set(re.findall(r"\w+", code))
    # And some config classes take a field by another name: kwargs.pop("block_ff_dim", ...).
    source = inspect.getsource(config_class)
    read |= set(re.findall(r"""kwargs\.(?:pop|get)\(\s*["'](\w+)["']""", source))
    return frozenset(
        declared | defaults.keys() | set(config_class.attribute_map) | generation.keys() | read | READ_ELSEWHERE
    )
