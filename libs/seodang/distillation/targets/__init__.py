"""The target store: the teacher's signal on disk, each position asked for once, bound to what made it."""

from seodang.distillation.targets.identity import TargetIdentity, TargetMismatch
from seodang.distillation.targets.scoring import Unit, plan_units, score_units
from seodang.distillation.targets.shard import Shard
from seodang.distillation.targets.signals import ShardSignals
from seodang.distillation.targets.store import ShardRecord, TargetStore, read_identity, read_ledger

__all__ = [
    "Shard",
    "ShardRecord",
    "ShardSignals",
    "TargetIdentity",
    "TargetMismatch",
    "TargetStore",
    "Unit",
    "plan_units",
    "read_identity",
    "read_ledger",
    "score_units",
]
