"""The ranks that train a student together: processes that torchrun, or ``launching.py``, told who they are."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Self, TypeVar

import torch
import torch.distributed as dist

from seodang.base.errors import Unavailable

Item = TypeVar("Item")

# Rank 0 may score for weeks before it comes to the others; that a rank has died is told by its socket, not by time.
_PATIENCE: Final = timedelta(days=365)


class RankLost(Unavailable):
    """A rank went away, and with it the group: the job goes on from its last checkpoint when it is started again."""

    default_reason = "RANK_LOST"


@dataclass(frozen=True)
class Group:
    """This process among the ranks of its job."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    """Among the ranks of its machine; the number of its device."""

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] = os.environ) -> Self | None:
        """As torchrun's variables say; None if nobody set them."""
        if "RANK" not in environment or "WORLD_SIZE" not in environment:
            return None
        rank = int(environment["RANK"])
        return cls(rank, int(environment["WORLD_SIZE"]), int(environment.get("LOCAL_RANK", rank)))

    @property
    def first(self) -> bool:
        """Whether it is this rank that writes, tells and measures."""
        return self.rank == 0

    @contextmanager
    def joined(self, device: torch.device) -> Iterator[None]:
        """Meets the other ranks; returns when all have come.

        Raises:
            RankLost: another rank went away in the meantime.
        """
        if self.size == 1:
            yield
            return
        if device.type == "cuda":
            torch.cuda.set_device(device)
        try:
            dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
            yield
            # Only here: a rank that failed ends, and by that the others learn of it after it has said why.
            dist.destroy_process_group()
        except RuntimeError as error:
            if not _is_of_the_group(error):
                raise
            raise RankLost(f"rank {self.rank} of {self.size} lost another rank: {error}") from error

    def sum(self, value: float) -> float:
        """The sum of every rank's value, the same to the last bit on each; all ranks call this together."""
        if self.size == 1:
            return value
        everywhere = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(everywhere)
        return float(everywhere)

    def any(self, here: bool) -> bool:
        """Whether it is so on any rank; all ranks call this together."""
        return self.sum(float(here)) > 0

    def wait(self) -> None:
        """Returns when every rank has come here."""
        self.sum(0.0)

    def owns(self, number: int) -> bool:
        """Whether it is this rank that gives an item of work, by its number, a weight of 1 in ``share``."""
        return number % self.size == self.rank

    def part(self, name: str, rank: int) -> str:
        """Of what each rank writes for itself, the name of one rank's."""
        return name if self.size == 1 else f"{name}-{rank}"

    def share(self, items: Sequence[Item]) -> list[tuple[Item, float]]:
        """What this rank does of work that all ranks see, each with a weight of 1.

        Every rank gets as many, because they exchange parameters for each: who would have none left does one again,
        with a weight of 0.
        """
        rounds = -(-len(items) // self.size)
        numbers = range(self.rank, rounds * self.size, self.size)
        return [(items[number % len(items)], float(number < len(items))) for number in numbers]

    def takes(self, count: int) -> set[int]:
        """Which of so many items, by number, are in this rank's ``share``."""
        return {number for number, _ in self.share(range(count))}


ALONE: Final = Group()


def _is_of_the_group(error: RuntimeError) -> bool:
    # gloo's own errors, when a peer's socket closes, are plain ones.
    return isinstance(error, dist.DistError) or "gloo" in str(error)
