"""Tiny random checkpoints of each family with a byte-level tokenizer, made on the fly; seeds fixed."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    AXK1Config,
    Lfm2Config,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3MoeConfig,
)

VOCAB_SIZE = 320
PAD, BOS, EOS = 0, 1, 2
FAMILIES = ("axk1", "lfm2", "llama", "qwen3")
CHAT_TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<eos>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SENTENCES = [
    "서당 훈장님이 학생들에게 글을 가르친다.",
    "거실 불을 켜 줘, 안녕하세요, 감사합니다.",
    "The teacher reads; many students listen and learn.",
    '{"name": "turn_on", "arguments": {"room": "living room"}}',
]


def config_of(family: str, **changes: Any) -> PreTrainedConfig:
    """A config of two or three layers."""
    shape = {
        "vocab_size": VOCAB_SIZE,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 256,
        "bos_token_id": BOS,
        "eos_token_id": EOS,
        "pad_token_id": PAD,
        "tie_word_embeddings": False,
    }
    moe = {"moe_intermediate_size": 32, "num_experts_per_tok": 2, "num_hidden_layers": 3}
    latent = {
        "num_key_value_heads": 4,
        "q_lora_rank": 24,
        "kv_lora_rank": 32,
        "qk_rope_head_dim": 8,
        "qk_nope_head_dim": 16,
        "v_head_dim": 16,
        "n_routed_experts": 8,
        "n_group": 4,
        "topk_group": 2,
    }
    grouped = {"num_key_value_heads": 2, "head_dim": 16}
    if family == "axk1":
        return AXK1Config(**{**shape, **moe, **latent, **changes})
    if family == "lfm2":
        order = ["conv", "full_attention"] * 2
        hybrid = {"num_hidden_layers": 4, "layer_types": order, "block_multiple_of": 32, "tie_word_embeddings": True}
        return Lfm2Config(**{**shape, **grouped, **hybrid, **changes})
    if family == "llama":
        return LlamaConfig(**{**shape, **grouped, **changes})
    if family == "qwen3":
        return Qwen3Config(**{**shape, **grouped, "tie_word_embeddings": True, **changes})
    if family == "qwen3_moe":
        return Qwen3MoeConfig(**{**shape, **grouped, **moe, "num_experts": 8, "norm_topk_prob": True, **changes})
    raise ValueError(family)


def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE over a few sentences."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    special = ["<pad>", "<bos>", "<eos>", "<|user|>", "<|assistant|>", "<|system|>", "<|tool|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=[AddedToken(token, special=True) for token in special],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(SENTENCES, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        chat_template=CHAT_TEMPLATE,
    )


def build(folder: Path, family: str, *, seed: int = 0, shard_size: str = "100KB", **changes: Any) -> Path:
    """Write a random checkpoint in several shards and return its folder."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config_of(family, **changes)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # Wider than the default initialisation: greedy choices then have clear margins, and no two runs tie.
            if parameter.ndim > 1:
                parameter.normal_(0.0, 0.3 if "embed" in name else parameter.shape[-1] ** -0.25)
    model.save_pretrained(folder, max_shard_size=shard_size)
    tokenizer().save_pretrained(folder)
    return folder
