"""Writes the model card from the recipe, the checkpoint and the measured scores; no number in it is typed."""

import json
from pathlib import Path
from typing import Any

from recipe import Recipe
from safetensors import safe_open

_TARGETS = (
    ("CLINC150 intent, in scope", "clinc150", "name", 0.90),
    ("HWU64 intent, a tenth kept out", "hwu64", "name", 0.85),
    ("Home commands in Korean, unseen templates, exact call", "home-ko", "exact", 0.85),
    ("BabyAI GoToLocal success, English", "GoToLocal-en", "success", 0.95),
    ("BabyAI GoToLocal success, Korean", "GoToLocal-ko", "success", 0.95),
    ("BabyAI PickupLoc success, English", "PickupLoc-en", "success", 0.95),
    ("BabyAI PickupLoc success, Korean", "PickupLoc-ko", "success", 0.95),
)
_REPORTED = (
    ("CLINC150 out-of-scope recall", "clinc150", "out_of_scope_recall"),
    ("HWU64 exact call with its arguments", "hwu64", "exact"),
    ("Home commands in English, unseen templates, exact call", "home-en", "exact"),
    ("Grounded answers in Korean: text and passage right", "grounded-ko", "exact"),
    ("Grounded answers in Korean: no-answer recall", "grounded-ko", "no_answer_recall"),
    ("Grounded answers in English: text and passage right", "grounded-en", "exact"),
    ("Grounded answers in English: no-answer recall", "grounded-en", "no_answer_recall"),
    ("Korean replies: next-token accuracy", "songys", "token_accuracy"),
    ("Korean replies: perplexity a token", "songys", "perplexity"),
)
_TEMPLATE = Path(__file__).with_name("card.md")


def write_card(recipe: Recipe, folder: Path) -> None:
    """Fill ``card.md`` with what was measured and write it as ``README.md`` of the checkpoint."""
    scores = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    text = _TEMPLATE.read_text(encoding="utf-8")
    for mark, table in {
        "{architecture}": _architecture(config, folder),
        "{targets}": _targets(scores),
        "{reported}": _reported(scores),
        "{training}": _training(recipe, scores),
        "{mixture}": _mixture(recipe),
    }.items():
        text = text.replace(mark, table)
    (folder / "README.md").write_text(text, encoding="utf-8")


def _architecture(config: dict[str, Any], folder: Path) -> str:
    shards = sorted(folder.glob("*.safetensors"))
    parameters = 0
    for shard in shards:
        with safe_open(shard, "pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118  (not a mapping)
                size = 1
                for extent in tensors.get_slice(name).get_shape():
                    size *= extent
                parameters += size
    size_bytes = sum(shard.stat().st_size for shard in shards)
    rows = {
        "class": "`AXK1ForCausalLM`",
        "parameters": f"{parameters:,}",
        "weights": f"{size_bytes:,} bytes in {len(shards)} shards, bfloat16",
        "layers": f"{config['num_hidden_layers']} ({config['mlp_layer_types'].count('dense')} dense)",
        "hidden size": config["hidden_size"],
        "routed experts": f"{config['n_routed_experts']} in {config['n_group']} groups",
        "shared experts": config["n_shared_experts"],
        "experts a token": f"{config['num_experts_per_tok']} from {config['topk_group']} groups",
        "attention": f"MLA, {config['num_attention_heads']} heads",
        "cached a token and layer": f"{config['kv_lora_rank']} latent + {config['qk_rope_head_dim']} rope",
        "context": f"{config['max_position_embeddings']} tokens",
        "vocabulary": f"{config['vocab_size']}, byte-level BPE, Korean and English",
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])


def _targets(scores: dict[str, Any]) -> str:
    lines = ["| job | score | goal | |", "|---|---|---|---|"]
    for title, source, key, goal in _TARGETS:
        score = scores[source][key]
        verdict = "reached" if score >= goal else f"short by {goal - score:.3f}"
        lines.append(f"| {title} | {score:.3f} | {goal:.2f} | {verdict} |")
    return "\n".join(lines)


def _reported(scores: dict[str, Any]) -> str:
    lines = ["| | score |", "|---|---|"]
    return "\n".join([*lines, *(f"| {title} | {scores[source][key]:.3f} |" for title, source, key in _REPORTED)])


def _training(recipe: Recipe, scores: dict[str, Any]) -> str:
    training, run = recipe.training, scores["training"]
    tokens = training.steps * training.tokens_per_step
    return (
        f"{training.steps:,} steps of {training.tokens_per_step:,} tokens ({tokens:,} in all), float32, "
        f"{run['hours']:.1f} hours in {run['processes']} one-threaded processes on a CPU shared with other work, "
        "no accelerator."
    )


def _mixture(recipe: Recipe) -> str:
    lines = ["| source | share of short rows | share of long rows |", "|---|---|---|"]
    shares = {**recipe.sources, **recipe.texts}
    short, long = sum(share.short for share in shares.values()), sum(share.long for share in shares.values())
    lines += [f"| {name} | {share.short / short:.3f} | {share.long / long:.3f} |" for name, share in shares.items()]
    return "\n".join(lines)
