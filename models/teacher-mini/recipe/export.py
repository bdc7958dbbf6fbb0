"""Writes the trained network as a checkpoint folder: bfloat16 shards with an index, configuration and tokenizer."""

from pathlib import Path

import torch
from architecture import build
from recipe import Recipe
from transformers import AutoTokenizer

_SHARD_SIZE = "6MB"
MAX_BYTES = 24_000_000


def export(recipe: Recipe, work: Path, target: Path) -> int:
    """Write the checkpoint of ``work`` to ``target`` and return the bytes of its shards.

    Raises:
        SystemExit: the shards are larger than the repository allows.
    """
    tokenizer = AutoTokenizer.from_pretrained(work / "tokenizer")
    network = build(recipe.model, tokenizer, recipe.seed)
    network.load_state_dict(torch.load(work / "checkpoint.pt", weights_only=True)["network"])
    network.config.use_cache = True
    network.generation_config.do_sample = False
    network.generation_config.bos_token_id = tokenizer.bos_token_id
    network.generation_config.eos_token_id = tokenizer.eos_token_id
    network.generation_config.pad_token_id = tokenizer.pad_token_id
    for stale in target.glob("model*.safetensors*"):
        stale.unlink()
    network.to(torch.bfloat16).save_pretrained(target, max_shard_size=_SHARD_SIZE)
    tokenizer.save_pretrained(target)
    size = sum(shard.stat().st_size for shard in target.glob("*.safetensors"))
    if size > MAX_BYTES:
        raise SystemExit(f"the shards hold {size:,} bytes, more than {MAX_BYTES:,}: make the model smaller")
    return size


def training_facts(work: Path, processes: int) -> dict[str, float]:
    """What the finished training took."""
    checkpoint = torch.load(work / "checkpoint.pt", weights_only=True, mmap=True)
    return {"hours": checkpoint["seconds"] / 3600, "processes": processes, "steps": checkpoint["done"]}
