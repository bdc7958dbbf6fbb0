"""This process among the ranks of its group, and its part in each layout."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import FileStore

from seodang.runtime.weights import Seat
from seodang.worker.messages import Layout


@dataclass(frozen=True, slots=True)
class Stage:
    """This rank's part of a pipeline, and its neighbours by global rank."""

    index: int
    count: int
    previous: int
    next: int
    last: int
    group: dist.ProcessGroup | None

    @property
    def is_first(self) -> bool:
        """Holds the embedding."""
        return self.index == 0

    @property
    def is_last(self) -> bool:
        """Holds the final norm and the output head."""
        return self.index == self.count - 1


WHOLE = Stage(index=0, count=1, previous=0, next=0, last=0, group=None)


@dataclass(frozen=True, slots=True)
class Shard:
    """How this rank takes part in one layout: its seat, its tensor parallel group and its pipeline stage."""

    seat: Seat
    tp_group: dist.ProcessGroup | None
    stage: Stage
    device: torch.device


class Ranks:
    """This process among those of its group, and where it computes. Ranks count tensor parallel neighbours first."""

    def __init__(self, rank: int, size: int, device: torch.device) -> None:
        self.rank = rank
        self.size = size
        self.device = device
        self._groups: dict[tuple[int, ...], dist.ProcessGroup] = {}

    @classmethod
    def alone(cls, device: str = "cpu") -> "Ranks":
        """A group of one, without torch.distributed."""
        return cls(0, 1, torch.device(device))

    @classmethod
    def join(cls, rank: int, size: int, device: str, rendezvous: Path) -> "Ranks":
        """Meet the other ranks at a file that all can reach; returns when all have come."""
        if size == 1:
            return cls.alone(device)
        here = torch.device(device, rank) if device == "cuda" else torch.device(device)
        if here.type == "cuda":
            torch.cuda.set_device(here)
        dist.init_process_group(
            backend="cpu:gloo,cuda:nccl" if here.type == "cuda" else "gloo",
            store=FileStore(str(rendezvous), size),
            rank=rank,
            world_size=size,
            timeout=timedelta(days=1),  # idle followers wait in a collective; the host watches over hung ranks
        )
        return cls(rank, size, here)

    def all_agree(self, yes: bool) -> bool:
        """Whether every rank says yes. Every rank calls this."""
        if self.size == 1:
            return yes
        votes = torch.tensor([int(yes)])
        dist.all_reduce(votes, op=dist.ReduceOp.MIN)
        return bool(votes.item())

    def part(self, layout: Layout) -> Shard:
        """This rank's part in a layout. Every rank calls this for the same layouts in the same order."""
        if layout.ranks == 1:
            return Shard(Seat(layout), None, WHOLE, self.device)
        rows = [range(stage * layout.tp, (stage + 1) * layout.tp) for stage in range(layout.pp)]
        columns = [range(place, self.size, layout.tp) for place in range(layout.tp)]
        groups = [self._group(tuple(members)) for members in (*rows, *columns)]
        stage, place = divmod(self.rank, layout.tp)
        column = columns[place]
        pipeline = Stage(
            index=stage,
            count=layout.pp,
            previous=column[stage - 1],
            next=column[(stage + 1) % layout.pp],
            last=column[-1],
            group=groups[layout.pp + place],
        )
        seat = Seat(layout, tp_rank=place, stage=stage)
        tp_group = groups[stage] if layout.tp > 1 else None
        return Shard(seat, tp_group, pipeline if layout.pp > 1 else WHOLE, self.device)

    def _group(self, members: tuple[int, ...]) -> dist.ProcessGroup | None:
        if len(members) == 1:
            return None
        if members not in self._groups:
            self._groups[members] = dist.new_group(list(members))
        return self._groups[members]
