"""The teacher's network: transformers' A.X K1, initialised and instrumented for training from nothing.

Shapes: B rows, T tokens, N = B*T, H hidden, E experts, K experts a token, I expert width.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AXK1Config, AXK1ForCausalLM, PreTrainedTokenizerBase
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

_EMBEDDING_STD = 0.5
_HEAD_STD = 0.02
_EXPERT_NORM = 0.3


def sorted_experts(experts: nn.Module, states_NH: Tensor, chosen_NK: Tensor, weights_NK: Tensor) -> Tensor:
    """Experts on contiguous runs of tokens: sort once, split the weights once, so that backward touches each once."""
    flat = chosen_NK.reshape(-1)
    order = flat.argsort(stable=True)
    counts = torch.bincount(flat, minlength=experts.num_experts).tolist()
    tokens = order.div(chosen_NK.shape[1], rounding_mode="floor")
    outputs = []
    runs = states_NH.index_select(0, tokens).split(counts)
    for run, gate_up, down in zip(runs, experts.gate_up_proj.unbind(0), experts.down_proj.unbind(0), strict=True):
        gate, up = functional.linear(run, gate_up).chunk(2, dim=-1)
        outputs.append(functional.linear(functional.silu(gate) * up, down))
    weighted = torch.cat(outputs) * weights_NK.reshape(-1).index_select(0, order).unsqueeze(-1)
    return torch.zeros_like(states_NH).index_add(0, tokens, weighted)


def build(model: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase, seed: int) -> AXK1ForCausalLM:
    """A fresh network.

    Every mixture-of-experts block ends in a norm of its own, so its output is as large as that norm's weight whatever
    the experts do: embeddings start large and that weight small, or the words would drown in the first block.
    """
    torch.manual_seed(seed)
    config = AXK1Config(
        **model,
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
    )
    network = AXK1ForCausalLM(config)
    ALL_EXPERTS_FUNCTIONS.register("sorted", sorted_experts)
    network.set_experts_implementation("sorted")
    with torch.no_grad():
        network.model.embed_tokens.weight.normal_(0.0, _EMBEDDING_STD)
        network.lm_head.weight.copy_(network.model.embed_tokens.weight * (_HEAD_STD / _EMBEDDING_STD))
        for layer in network.model.layers:
            if hasattr(layer.mlp, "post_mlp_layernorm"):
                layer.mlp.post_mlp_layernorm.weight.fill_(_EXPERT_NORM)
    return network


class TrainingHooks:
    """What training adds to the network and export leaves behind: dropout by token, and the routers' balance."""

    def __init__(self, network: AXK1ForCausalLM) -> None:
        self.rate_BT1: Tensor | None = None
        self._balance: list[Tensor] = []
        network.model.embed_tokens.register_forward_hook(self._drop)
        for layer in network.model.layers:
            layer.self_attn.register_forward_hook(self._drop)
            layer.mlp.register_forward_hook(self._drop)
            if hasattr(layer.mlp, "gate"):
                layer.mlp.gate.register_forward_hook(self._watch)

    def balance_loss(self) -> Tensor:
        """Mean over layers of E * sum(share of tokens * share of score): 1 when all experts are used alike."""
        total = torch.stack(self._balance).mean()
        self._balance.clear()
        return total

    def _drop(self, module: nn.Module, inputs: Any, output: Any) -> Any:
        if self.rate_BT1 is None or not module.training:
            return output
        states = output[0] if isinstance(output, tuple) else output
        kept = torch.rand_like(states) >= self.rate_BT1
        dropped = states * kept / (1 - self.rate_BT1)
        return (dropped, *output[1:]) if isinstance(output, tuple) else dropped

    def _watch(self, module: nn.Module, inputs: Any, output: tuple[Tensor, Tensor, Tensor]) -> None:
        if not module.training:
            return
        logits_NE, _, chosen_NK = output
        scores_NE = logits_NE.sigmoid()
        score_share_E = (scores_NE / scores_NE.sum(-1, keepdim=True)).mean(0)
        experts = logits_NE.shape[-1]
        token_share_E = torch.bincount(chosen_NK.reshape(-1), minlength=experts) / chosen_NK.numel()
        self._balance.append(experts * (token_share_E * score_share_E).sum())
