"""transformers' ``generate`` over one static batch, which is what it does best with equal lengths."""

import time
from typing import Any

import torch
from transformers import AutoModelForCausalLM, StoppingCriteria, StoppingCriteriaList

from benchmarks.peers.work import Batch, Work, installed, serve


class FirstToken(StoppingCriteria):
    """Never stops anything; remembers when the first token came."""

    def __init__(self) -> None:
        self.at: float | None = None

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        self.at = self.at or time.perf_counter()
        return torch.zeros(len(input_ids), dtype=torch.bool)


class Transformers:
    def __init__(self, work: Work) -> None:
        torch.set_num_threads(work.threads)
        self._model = AutoModelForCausalLM.from_pretrained(work.checkpoint, dtype=torch.bfloat16).eval()
        self._model.generation_config.eos_token_id = None
        self.weight_bytes = sum(weight.nbytes for weight in self._model.parameters())
        self.versions = installed("transformers", "torch")

    def run(self, prompts: list[list[int]], new_tokens: int) -> Batch:
        ids, watch = torch.tensor(prompts), FirstToken()
        started = time.perf_counter()
        with torch.inference_mode():
            output = self._model.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=new_tokens, do_sample=False, pad_token_id=0,
                stopping_criteria=StoppingCriteriaList([watch]),
            )  # fmt: skip
        total_s = time.perf_counter() - started
        assert output.shape[1] == ids.shape[1] + new_tokens
        assert watch.at is not None
        return Batch([watch.at - started] * len(prompts), total_s, output[:, ids.shape[1]].tolist())


if __name__ == "__main__":
    serve(Transformers)
