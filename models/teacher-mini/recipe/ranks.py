"""Several one-threaded training processes instead of one with several threads.

The network is small, so its operations are too: threads would mostly wait for one another, the more so on a machine
that does other work as well. Each process takes its share of every batch; gradients are averaged once a step.
"""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch import multiprocessing as torch_multiprocessing


def run(processes: int, meeting_point: Path, body: Callable[..., None], *arguments: Any) -> None:
    """Run ``body(rank, *arguments)`` in so many processes that can talk; a failure of one ends all."""
    meeting_point.unlink(missing_ok=True)
    torch_multiprocessing.spawn(_enter, (processes, str(meeting_point), body, arguments), nprocs=processes)


def _enter(
    rank: int, processes: int, meeting_point: str, body: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with group(rank, processes, meeting_point):
        body(rank, *arguments)


def _end_with_parent() -> None:
    """A build that is killed must not leave processes that train on and overwrite its checkpoints."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@contextmanager
def group(rank: int, processes: int, meeting_point: str) -> Any:
    """Membership of the group of training processes."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    distributed.init_process_group("gloo", f"file://{meeting_point}", rank=rank, world_size=processes)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace every gradient by its mean over the processes; one that is missing counts as zero."""
    if not distributed.is_initialized():
        return
    members = list(parameters)
    flat = torch.cat([(torch.zeros_like(each) if each.grad is None else each.grad).reshape(-1) for each in members])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    for member, gradient in zip(members, flat.split([member.numel() for member in members]), strict=True):
        member.grad = gradient.view_as(member)


def shared_work(items: Tensor, work: Callable[[Tensor], Tensor]) -> Tensor:
    """``work(items)`` along the first dimension, each process doing its part and all getting the whole."""
    if not distributed.is_initialized():
        return work(items)
    processes = distributed.get_world_size()
    each = -(-len(items) // processes)
    padded = torch.cat([items, items.new_ones(each * processes - len(items), *items.shape[1:])])
    mine = work(padded[distributed.get_rank() * each :][:each]).contiguous()
    parts = [torch.empty_like(mine) for _ in range(processes)]
    distributed.all_gather(parts, mine)
    return torch.cat(parts)[: len(items)]
