"""Measuring teacher, student and baselines on held-out data: what they do, and how close they are to the teacher."""

from seodang.distillation.evaluation.both_ways import EVAL_TARGET, NoiseFloor, forward_kl, noise_floor, reverse_kl
from seodang.distillation.evaluation.calibration import calibration_error
from seodang.distillation.evaluation.contestants import Contestant, StudentContestant, TeacherContestant
from seodang.distillation.evaluation.examination import Examination, examine
from seodang.distillation.evaluation.fidelity import (
    Fidelity,
    fidelity,
    fidelity_across,
    fidelity_of_teacher,
    top1_of,
)
from seodang.distillation.evaluation.own_text import PROMPTS, own_text
from seodang.distillation.evaluation.wilson import wilson_interval

__all__ = [
    "EVAL_TARGET",
    "PROMPTS",
    "Contestant",
    "Examination",
    "Fidelity",
    "NoiseFloor",
    "StudentContestant",
    "TeacherContestant",
    "calibration_error",
    "examine",
    "fidelity",
    "fidelity_across",
    "fidelity_of_teacher",
    "forward_kl",
    "noise_floor",
    "own_text",
    "reverse_kl",
    "top1_of",
    "wilson_interval",
]
