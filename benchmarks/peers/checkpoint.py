"""The random-weight Qwen3 that all engines run, in the layout of transformers."""

import json
import shutil
from pathlib import Path
from typing import Final

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, Qwen3Config

from benchmarks.peers.work import RESERVED_IDS

VOCABULARY: Final = 32_000
LAYERS: Final = 28
KEY_VALUE_HEADS: Final = 8
HEAD_SIZE: Final = 128
WEIGHTS: Final = "model.safetensors"


def build(folder: Path, layers: int) -> Path:
    """Written once; a folder that is there is complete, for it is renamed last."""
    if folder.exists():
        return folder
    draft = folder.with_suffix(".draft")
    shutil.rmtree(draft, ignore_errors=True)
    config = Qwen3Config(
        vocab_size=VOCABULARY, hidden_size=1024, intermediate_size=3072, num_hidden_layers=layers,
        num_attention_heads=16, num_key_value_heads=KEY_VALUE_HEADS, head_dim=HEAD_SIZE,
        max_position_embeddings=4096, tie_word_embeddings=True, bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(draft, max_shard_size="100GB")
    assert (draft / WEIGHTS).exists(), "one file, as the conversion to GGUF expects"
    tokenizer().save_pretrained(draft)
    draft.rename(folder)
    return folder


def cache_bytes_per_token(folder: Path) -> int:
    """Keys and values of all layers, two bytes a number."""
    layers: int = json.loads((folder / "config.json").read_text())["num_hidden_layers"]
    return 2 * 2 * layers * KEY_VALUE_HEADS * HEAD_SIZE


def tokenizer() -> PreTrainedTokenizerFast:
    """Bytes, and nothing for the ids above: prompts come as ids."""
    special = ["<pad>", "<bos>", "<eos>", *(f"<reserved{number}>" for number in range(3, RESERVED_IDS))]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={piece: number for number, piece in enumerate([*special, *alphabet])}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>")
