"""A transformers model without memory: names, shapes and plans."""

import torch
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.initialization import no_tie_weights


def skeleton(config: PreTrainedConfig, dtype: torch.dtype) -> PreTrainedModel:
    """The causal LM of a config with every tensor on the meta device: shapes and names, no memory."""
    with torch.device("meta"), no_tie_weights():  # tied weights are tied after loading: sharding needs each by name
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    kept_in_float32 = tuple(model._keep_in_fp32_modules_strict or ())
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(False)
        if not any(kept in name for kept in kept_in_float32):
            parameter.data = parameter.data.to(dtype)
    return model
