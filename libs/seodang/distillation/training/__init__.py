"""Training a student: its shape, its batches, the loop, and checkpoints from which it goes on bit by bit the same."""

from seodang.distillation.training.batches import Batch, collate, micro_batches, plan_steps
from seodang.distillation.training.checkpoint import Checkpoints, TrainingState
from seodang.distillation.training.engine import Training, train
from seodang.distillation.training.sharded_checkpoint import AnyCheckpoints, checkpoints_of
from seodang.distillation.training.sharding import whole_weights
from seodang.distillation.training.student import (
    CPU,
    Student,
    build_adapted,
    build_student,
    context_limit,
    load_student,
)

__all__ = [
    "CPU",
    "AnyCheckpoints",
    "Batch",
    "Checkpoints",
    "Student",
    "Training",
    "TrainingState",
    "build_adapted",
    "build_student",
    "checkpoints_of",
    "collate",
    "context_limit",
    "load_student",
    "micro_batches",
    "plan_steps",
    "train",
    "whole_weights",
]
