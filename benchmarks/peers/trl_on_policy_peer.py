"""TRL's ``DistillationTrainer``: the student answers prompts, the teacher in the same process scores what it said.

    ENVIRONMENT/bin/python -m benchmarks.peers.trl_on_policy_peer FOLDER STEPS PROMPTS NEW_TOKENS LEARNING_RATE DTYPE

FOLDER has ``teacher`` and ``student``, transformers folders, and ``prompts.json``, a list of texts. The last line that
it prints is {"seconds": [each step's]}. Only what TRL brings along is imported here.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import DistillationConfig, DistillationTrainer


class Clock(TrainerCallback):
    """When each step ended."""

    def __init__(self) -> None:
        self.ends = [time.perf_counter()]

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.ends.append(time.perf_counter())


def main(folder: Path, steps: int, prompts: int, new_tokens: int, rate: float, dtype: str) -> None:
    texts = json.loads((folder / "prompts.json").read_text())[: steps * prompts]
    clock = Clock()
    config = DistillationConfig(
        output_dir=str(folder / "trl"), beta=1.0, temperature=1.0, max_steps=steps, max_completion_length=new_tokens,
        per_device_train_batch_size=prompts, learning_rate=rate, lr_scheduler_type="constant",
        gradient_checkpointing=False, bf16=dtype == "bfloat16", use_cpu=True, report_to="none", save_strategy="no",
        logging_steps=1, disable_tqdm=True, dataloader_num_workers=0, weight_decay=0.1, seed=0, top_k=0,
    )  # fmt: skip
    trainer = DistillationTrainer(
        model=AutoModelForCausalLM.from_pretrained(folder / "student", dtype=torch.float32),
        teacher_model=AutoModelForCausalLM.from_pretrained(folder / "teacher", dtype=getattr(torch, dtype)),
        args=config,
        train_dataset=Dataset.from_dict({"prompt": texts}),
        processing_class=AutoTokenizer.from_pretrained(folder / "student"),
        callbacks=[clock],
    )
    trainer.train()
    print(json.dumps({"seconds": [end - begin for begin, end in zip(clock.ends, clock.ends[1:], strict=False)]}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]), sys.argv[6])
