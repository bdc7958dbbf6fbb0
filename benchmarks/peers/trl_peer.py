"""TRL's ``GKDTrainer`` on the data's own answers (lmbda 0) with forward KL (beta 0), the teacher in the same process.

    ENVIRONMENT/bin/python -m benchmarks.peers.trl_peer FOLDER STEPS SEQUENCES LEARNING_RATE

FOLDER has ``teacher`` and ``student``, transformers folders, and ``tokens.pt``, int64 [sequences, T]. The last line
that it prints is {"seconds": [each step's], "loss": the first step's}. Only what TRL brings along is imported here.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl.experimental.gkd import GKDConfig, GKDTrainer


class Clock(TrainerCallback):
    """When each step ended."""

    def __init__(self) -> None:
        self.ends = [time.perf_counter()]

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.ends.append(time.perf_counter())


def collate(rows: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    ids = torch.tensor([row["input_ids"] for row in rows])
    labels = ids.clone()
    labels[:, 0] = -100  # the first token is the prompt
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


def main(folder: Path, steps: int, sequences: int, rate: float) -> None:
    tokens = torch.load(folder / "tokens.pt")[: steps * sequences]
    clock = Clock()
    config = GKDConfig(
        output_dir=str(folder / "trl"), lmbda=0.0, beta=0.0, temperature=1.0, max_steps=steps,
        per_device_train_batch_size=sequences, learning_rate=rate, lr_scheduler_type="constant",
        gradient_checkpointing=False, bf16=False, use_cpu=True, report_to="none", save_strategy="no",
        logging_steps=1, disable_tqdm=True, dataloader_num_workers=0, weight_decay=0.1, seed=0,
    )  # fmt: skip
    trainer = GKDTrainer(
        model=AutoModelForCausalLM.from_pretrained(folder / "student", dtype=torch.float32),
        teacher_model=AutoModelForCausalLM.from_pretrained(folder / "teacher", dtype=torch.float32),
        args=config,
        data_collator=collate,
        train_dataset=Dataset.from_dict({"input_ids": tokens.tolist()}),
        processing_class=AutoTokenizer.from_pretrained(folder / "student"),
        callbacks=[clock],
    )
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    seconds = [end - begin for begin, end in zip(clock.ends, clock.ends[1:], strict=False)]
    print(json.dumps({"seconds": seconds, "loss": losses[0]}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
