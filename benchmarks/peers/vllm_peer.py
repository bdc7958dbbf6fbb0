"""vLLM's asynchronous engine on the processor, compiled, in bfloat16, with all cores given to its worker."""

import asyncio
import itertools
import math
import os
import time
from pathlib import Path

from benchmarks.peers.work import Batch, Work, installed, serve

# Read by vLLM when it is imported. Its own choice would keep one core free, which is half of a small machine.
os.environ["VLLM_CPU_OMP_THREADS_BIND"] = ",".join(str(core) for core in sorted(os.sched_getaffinity(0)))
os.environ["VLLM_LOGGING_STREAM"] = "ext://sys.stderr"
os.environ["VLLM_NO_USAGE_STATS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"

from vllm import SamplingParams
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.async_llm import AsyncLLM


class Vllm:
    def __init__(self, work: Work) -> None:
        os.environ["VLLM_CPU_KVCACHE_SPACE"] = str(math.ceil(work.cache_bytes / 2**30))  # it takes whole GiB
        arguments = AsyncEngineArgs(
            model=work.checkpoint, dtype="bfloat16", max_model_len=work.context_tokens,
            max_num_seqs=max(work.levels), skip_tokenizer_init=True, disable_log_stats=True,
        )  # fmt: skip
        self._loop = asyncio.new_event_loop()
        self._llm = self._loop.run_until_complete(self._start(arguments))
        self._numbers = itertools.count()
        self.weight_bytes = sum(path.stat().st_size for path in Path(work.checkpoint).glob("*.safetensors"))
        self.versions = installed("vllm-cpu")

    @staticmethod
    async def _start(arguments: AsyncEngineArgs) -> AsyncLLM:
        return AsyncLLM.from_engine_args(arguments)  # inside the loop that will serve

    def run(self, prompts: list[list[int]], new_tokens: int) -> Batch:
        return self._loop.run_until_complete(self._run(prompts, new_tokens))

    async def _run(self, prompts: list[list[int]], new_tokens: int) -> Batch:
        started = time.perf_counter()
        done = await asyncio.gather(*(self._complete(prompt, new_tokens) for prompt in prompts))
        total_s = time.perf_counter() - started
        return Batch([at - started for at, _ in done], total_s, [token for _, token in done])

    async def _complete(self, prompt: list[int], new_tokens: int) -> tuple[float, int]:
        """When the first token came, and which."""
        params = SamplingParams(
            temperature=0.0, max_tokens=new_tokens, ignore_eos=True, detokenize=False,
            output_kind=RequestOutputKind.DELTA,
        )  # fmt: skip
        first, count = None, 0
        async for output in self._llm.generate({"prompt_token_ids": prompt}, params, str(next(self._numbers))):
            tokens = list(output.outputs[0].token_ids)
            first = first or (time.perf_counter(), tokens[0])
            count += len(tokens)
        assert first is not None
        assert count == new_tokens, f"{count} tokens instead of {new_tokens}"
        return first


if __name__ == "__main__":
    serve(Vllm)
