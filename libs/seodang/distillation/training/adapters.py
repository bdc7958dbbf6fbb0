"""Low-rank adapters on the linear layers of a model that is there already (LoRA, Hu et al., ICLR 2022).

The model is frozen; what is learned is a product of two thin matrices beside each of its matrices. Written in the
format of the PEFT library, or merged into the model. I inputs and O outputs of a layer, R rank.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from seodang.base.errors import InvalidInput
from seodang.distillation.spec import AdapterShape

_MODULES: Final = "spec.shape.adapter.target_modules"


class AdaptedLinear(nn.Module):
    """A frozen linear layer and its adapter, which at the start adds nothing."""

    def __init__(self, frozen: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        self.frozen = frozen.requires_grad_(False)
        self.down_RI = nn.Parameter(torch.empty(rank, frozen.in_features))
        self.up_OR = nn.Parameter(torch.zeros(frozen.out_features, rank))
        nn.init.kaiming_uniform_(self.down_RI, a=math.sqrt(5))
        self.scale = alpha / rank

    def forward(self, input_I: Tensor) -> Tensor:
        """What the frozen layer gives and what the adapter adds."""
        added: Tensor = nn.functional.linear(nn.functional.linear(input_I, self.down_RI), self.up_OR)
        whole: Tensor = self.frozen(input_I) + added * self.scale
        return whole

    def merged(self) -> nn.Linear:
        """The frozen layer with the adapter in its weights."""
        with torch.no_grad():
            self.frozen.weight += self.up_OR @ self.down_RI * self.scale
        return self.frozen


def adapt(model: Any, shape: AdapterShape, seed: int) -> None:
    """Freezes a model and gives its linear layers adapters, always the same for the same arguments.

    Raises:
        InvalidInput: it has no linear layer of a name that the shape gives.
    """
    model.requires_grad_(False)
    head = model.get_output_embeddings()
    layers = {
        name: layer for name, layer in model.named_modules() if isinstance(layer, nn.Linear) and layer is not head
    }
    known = {_last(name) for name in layers}
    if strange := sorted(set(shape.target_modules) - known):
        raise InvalidInput(
            f"{shape.base} has no linear layer {strange[0]!r} between embedding and head: choose from "
            f"{', '.join(sorted(known))}",
            field=_MODULES,
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for name, layer in layers.items():
            if _last(name) in (shape.target_modules or known):
                model.set_submodule(name, AdaptedLinear(layer, shape.rank, shape.alpha))


def merge(model: Any) -> None:
    """Puts every adapter into its layer's weights; the model is then of its own class only."""
    for name, layer in adapters_of(model).items():
        model.set_submodule(name, layer.merged())


def merged_weights(model: Any, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The ``state_dict`` of a model with its adapters merged, from one with them beside; summed in float32."""
    merged = dict(weights)
    for name, layer in adapters_of(model).items():
        frozen = merged.pop(f"{name}.frozen.weight")
        down_RI, up_OR = (merged.pop(f"{name}.{part}").float() for part in ("down_RI", "up_OR"))
        merged[f"{name}.weight"] = (frozen.float() + up_OR @ down_RI * layer.scale).to(frozen.dtype)
        if layer.frozen.bias is not None:
            merged[f"{name}.bias"] = merged.pop(f"{name}.frozen.bias")
    return merged


def adapters_of(model: Any) -> dict[str, AdaptedLinear]:
    """The adapted layers by their names in the model."""
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, AdaptedLinear)}


def save_adapters(model: Any, folder: Path, shape: AdapterShape) -> None:
    """Writes adapter_config.json and adapter_model.safetensors as PEFT does."""
    folder.mkdir()
    layers = adapters_of(model)
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": shape.base,
        "r": shape.rank,
        "lora_alpha": shape.alpha,
        "target_modules": sorted({_last(name) for name in layers}),
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
    }
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    tensors = {}
    for name, layer in layers.items():
        tensors[f"base_model.model.{name}.lora_A.weight"] = layer.down_RI.detach().cpu().contiguous()
        tensors[f"base_model.model.{name}.lora_B.weight"] = layer.up_OR.detach().cpu().contiguous()
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def _last(name: str) -> str:
    return name.rpartition(".")[2]
