"""Greedy tokens from the real vLLM, in its own environment: ``python vllm_greedy.py REQUEST.json ANSWER.json``.

The request is {"folder": ..., "prompts": [[id, ...], ...], "new_tokens": n, "overrides": {...}}. Nothing of ours is
imported here.
"""

import json
import os
import sys
from pathlib import Path

os.environ["VLLM_CPU_KVCACHE_SPACE"] = "1"
os.environ["VLLM_LOGGING_LEVEL"] = "WARNING"


def main() -> None:
    from vllm import LLM, SamplingParams

    request = json.loads(Path(sys.argv[1]).read_text())
    model = LLM(
        request["folder"], dtype="float32", enforce_eager=True, max_model_len=256, max_num_seqs=4,
        hf_overrides=request["overrides"],
    )  # fmt: skip
    sampling = SamplingParams(temperature=0, max_tokens=request["new_tokens"], ignore_eos=True, detokenize=False)
    prompts = [{"prompt_token_ids": ids} for ids in request["prompts"]]
    answers = [list(answer.outputs[0].token_ids) for answer in model.generate(prompts, sampling)]
    Path(sys.argv[2]).write_text(json.dumps(answers))


if __name__ == "__main__":  # its engine starts this file again
    main()
