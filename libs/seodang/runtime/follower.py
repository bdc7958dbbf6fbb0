"""Every rank but the first: do what the first rank orders, in its order."""

import gc

from seodang.base.errors import SeodangError
from seodang.runtime.executor import Executor
from seodang.runtime.link import Progress
from seodang.runtime.loading import load_executor
from seodang.runtime.orders import (
    ForwardOrder,
    HeadOrder,
    LeaveOrder,
    LoadOrder,
    LogitsOrder,
    UnloadOrder,
    receive,
)
from seodang.runtime.sharding import Ranks


def follow(ranks: Ranks, progress: Progress) -> None:
    """Carry out orders until the leading rank says leave. An unforeseen error ends the process, and so the group."""
    executors: dict[str, Executor] = {}
    while True:
        progress.rest()
        order = receive()
        progress.start()
        match order:
            case LoadOrder(model_id=model_id, folder=folder, options=options):
                try:
                    executors[model_id], _ = load_executor(folder, options, ranks, lambda *_: progress.start())
                except SeodangError as error:
                    # The leading rank has met the same error, and tells the caller.
                    print(f"rank {ranks.rank}: {model_id} not loaded: {error}", flush=True)
            case UnloadOrder(model_id=model_id):
                executors.pop(model_id, None)
                gc.collect()
            case ForwardOrder(model_id=model_id):
                executors[model_id].forward(order.batch())
            case LogitsOrder(model_id=model_id):
                executors[model_id].logits(order.outputs, order.vocabulary)
            case HeadOrder(model_id=model_id, begin=begin, end=end):
                executors[model_id].head(slice(begin, end))
            case LeaveOrder():
                return
