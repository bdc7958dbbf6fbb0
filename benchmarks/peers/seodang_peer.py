"""Our own engine."""

import itertools
import time

import torch

from benchmarks.peers.work import Batch, Work, installed, serve
from seodang.runtime.loading import load_engine
from seodang.runtime.sharding import Ranks
from seodang.worker.messages import DType, Failed, Generate, LoadOptions, SamplingParams, TokenDelta, TokenPrompt

GREEDY = SamplingParams(temperature=0.0)
DTYPES: dict[str, DType] = {"bf16": "bfloat16", "int8": "int8", "int4": "int4"}


class Seodang:
    def __init__(self, work: Work) -> None:
        torch.set_num_threads(work.threads)
        options = LoadOptions(dtype=DTYPES[work.weights], max_batch=max(work.levels), cache_bytes=work.cache_bytes)
        self._engine, info = load_engine("bench", work.checkpoint, options, Ranks.alone(), lambda *_: None)
        self.weight_bytes, self.versions = info.weight_bytes, installed("torch")
        self._numbers = itertools.count()

    def run(self, prompts: list[list[int]], new_tokens: int) -> Batch:
        ids = [str(next(self._numbers)) for _ in prompts]
        first: dict[str, tuple[float, int]] = {}
        started = time.perf_counter()
        for request_id, prompt in zip(ids, prompts, strict=True):
            self._engine.generate(
                Generate(
                    request_id=request_id, model_id="bench", prompt=TokenPrompt(token_ids=tuple(prompt)),
                    sampling=GREEDY, max_new_tokens=new_tokens, ignore_eos=True,
                )
            )  # fmt: skip
        while self._engine.busy:
            events = self._engine.step()
            now = time.perf_counter() - started
            for event in events:
                if isinstance(event, Failed):
                    raise RuntimeError(f"request {event.request_id}: {event.message}")
                if isinstance(event, TokenDelta):
                    first.setdefault(event.request_id, (now, event.token_ids[0]))
        total_s = time.perf_counter() - started
        return Batch([first[each][0] for each in ids], total_s, [first[each][1] for each in ids])


if __name__ == "__main__":
    serve(Seodang)
