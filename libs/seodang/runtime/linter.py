"""What transformers, vLLM or this engine would trip over in a checkpoint, each finding with its remedy."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from transformers import PreTrainedConfig

from seodang.base.errors import SeodangError
from seodang.runtime.architecture import read_config
from seodang.runtime.checkpoint import PICKLE_SUFFIXES, Checkpoint, read_json
from seodang.runtime.decoder import own_family
from seodang.runtime.kernels.torch_kernels import TorchKernels
from seodang.runtime.sharding import WHOLE, Shard
from seodang.runtime.tokenizer import Tokenizer
from seodang.runtime.weights import Outline, Seat
from seodang.worker.messages import Layout

ERROR: Final = "error"
WARNING: Final = "warning"


@dataclass(frozen=True, slots=True)
class Repair:
    """A change that a copy of the checkpoint can take: config fields to set, and constant tensors to add."""

    config: Mapping[str, Any] = field(default_factory=dict)
    tensors: Mapping[str, tuple[tuple[int, ...], float]] = field(default_factory=dict)
    """Shape and the value of every element."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that somebody will trip over."""

    severity: str
    code: str
    who: str
    """Who trips over it."""
    message: str
    repair: Repair | None = None


def lint(folder: Path) -> list[Finding]:
    """All findings, gravest first. Reads headers and JSON files only."""
    try:
        checkpoint = Checkpoint.open(folder)
        config = read_config(checkpoint)
    except SeodangError as error:
        return [Finding(ERROR, "unreadable", "everybody", error.message)]
    findings = [
        *_weights(checkpoint, config),
        *_tokenizer(checkpoint, config),
        *_files(checkpoint),
        *_config(checkpoint, config),
    ]
    if config.model_type == "axk1":
        findings += _axk1(checkpoint, config)
    return sorted(findings, key=lambda finding: finding.severity)


def _weights(checkpoint: Checkpoint, config: PreTrainedConfig) -> Iterator[Finding]:
    family = own_family(config)
    if family is None:
        return
    module, build = family
    outline = Outline(Seat(Layout()), torch.bfloat16, checkpoint)
    try:
        build(
            config, outline, Shard(Seat(Layout()), None, WHOLE, torch.device("meta")), TorchKernels(torch.bfloat16), 0
        )
        outline.check_leftover(lambda name: module.is_superfluous(name, config))
    except SeodangError as error:
        yield Finding(ERROR, "weights", "everybody", error.message)


def _tokenizer(checkpoint: Checkpoint, config: PreTrainedConfig) -> Iterator[Finding]:
    try:
        tokenizer = Tokenizer(checkpoint.folder, config)
    except SeodangError as error:
        yield Finding(ERROR, "tokenizer", "everybody", error.message)
        return
    if not tokenizer.has_chat_template:
        yield Finding(WARNING, "chat-template", "chat clients", "no chat template; add chat_template.jinja")
    if not tokenizer.eos_token_ids:
        yield Finding(
            ERROR, "end-token", "everybody", "no end token is named anywhere; set eos_token_id in config.json"
        )
    if len(tokenizer.core) < config.vocab_size:
        spare = config.vocab_size - len(tokenizer.core)
        yield Finding(
            WARNING, "padded-vocabulary", "distillation", f"{spare} ids of the model have no token; mask them in losses"
        )
    ends = {tokenizer.core.eos_token_id, *_as_list(config.eos_token_id)}
    generation = checkpoint.folder / "generation_config.json"
    declared = _as_list(read_json(generation).get("eos_token_id")) if generation.is_file() else None
    if declared is not None and not ends - {None} <= set(declared):
        yield Finding(
            WARNING,
            "end-tokens-differ",
            "transformers",
            f"generation_config.json ends at {declared}, config and tokenizer name {sorted(ends - {None})}; "
            "generate() would run past the others",
        )


def _files(checkpoint: Checkpoint) -> Iterator[Finding]:
    for path in sorted(checkpoint.folder.iterdir()):
        if path.suffix in PICKLE_SUFFIXES:
            yield Finding(
                WARNING,
                "pickle",
                "old loaders",
                f"{path.name} can run code when loaded; remove it, safetensors suffice",
            )
    if "auto_map" in checkpoint.config:
        yield Finding(
            WARNING, "remote-code", "transformers", "auto_map asks for code from the folder; this engine never runs it"
        )
    index = checkpoint.folder / "model.safetensors.index.json"
    if index.is_file():
        total = sum(entry.end - entry.begin for entry in checkpoint.tensors.values())
        announced = read_json(index).get("metadata", {}).get("total_size")
        if announced is not None and int(announced) != total:
            yield Finding(
                WARNING, "index-size", "planners", f"the index announces {announced} bytes, its shards hold {total}"
            )


def _config(checkpoint: Checkpoint, config: PreTrainedConfig) -> Iterator[Finding]:
    raw = checkpoint.config
    if "rope_parameters" in raw and "rope_theta" not in raw:
        theta = config.rope_parameters["rope_theta"]
        yield Finding(
            WARNING,
            "rope-theta",
            "vLLM and transformers before 5",
            f"only rope_parameters holds rope_theta={theta:g}; older readers look at the top and fall back to 10000",
            Repair(config={"rope_theta": theta}),
        )
    if "architectures" not in raw:
        yield Finding(
            WARNING, "architectures", "vLLM", "config.json names no architecture, so vLLM cannot pick a class"
        )


def _axk1(checkpoint: Checkpoint, config: PreTrainedConfig) -> Iterator[Finding]:
    dense = [layer for layer, kind in enumerate(config.mlp_layer_types) if kind == "dense"]
    sparse = [layer for layer, kind in enumerate(config.mlp_layer_types) if kind == "sparse"]
    norms = {f"model.layers.{layer}.post_mlp_layernorm.weight": ((config.hidden_size,), 1.0) for layer in dense}
    if missing := {name: value for name, value in norms.items() if name not in checkpoint.tensors}:
        yield Finding(
            ERROR,
            "dense-norm",
            "vLLM",
            f"{', '.join(missing)} missing: vLLM wants the norm of dense layers too, which transformers does not save",
            Repair(tensors=missing),
        )
    if "first_k_dense_replace" not in checkpoint.config and dense == list(range(len(dense))):
        yield Finding(
            ERROR,
            "first-k-dense",
            "vLLM",
            f"first_k_dense_replace is missing, which vLLM reads; the layers say {len(dense)}",
            Repair(config={"first_k_dense_replace": len(dense), "moe_layer_freq": 1}),
        )
    biases = {
        f"model.layers.{layer}.mlp.gate.e_score_correction_bias": ((config.n_routed_experts,), 0.0) for layer in sparse
    }
    absent = {name: value for name, value in biases.items() if name not in checkpoint.tensors}
    if absent and checkpoint.config.get("topk_method", "noaux_tc") == "noaux_tc":
        yield Finding(
            ERROR,
            "router-bias",
            "vLLM",
            f"{len(absent)} layers have no e_score_correction_bias, which vLLM's default topk_method wants; zeros do",
            Repair(config={"topk_method": "noaux_tc"}, tensors=absent),
        )


def _as_list(value: Any) -> list[int]:
    return list(value) if isinstance(value, list) else [] if value is None else [int(value)]
