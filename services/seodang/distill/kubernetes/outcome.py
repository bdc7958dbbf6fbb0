"""What has become of a worker whose TrainJob has ended: its folder says it, or else its pods do."""

import asyncio
import time
from typing import Final

from seodang.base.errors import InternalFault, NotFound, SeodangError
from seodang.distill.kubernetes.cluster import Cluster
from seodang.distill.kubernetes.settings import KubernetesSettings
from seodang.distill.kubernetes.status import RUNTIME_MISSING, Phase, TrainJob, ends
from seodang.distill.workers.launcher import Mishap, mishap_of
from seodang.distillation import JobFolder, read_fault
from seodang.rpc import to_fault

_LOOK_AGAIN_S: Final = 0.5


async def outcome(seen: TrainJob, folder: JobFolder, cluster: Cluster, settings: KubernetesSettings) -> Mishap | None:
    """Why there is no result; None if there is one."""
    if seen.phase is Phase.COMPLETE:
        return (
            None
            if await _arrives(folder, settings.visible_s)
            else died(
                seen.name,
                f"it is complete, but {folder.result} is not there after {settings.visible_s:g} s: is "
                f"SEODANG_KUBERNETES_CLAIM={settings.claim} the volume at SEODANG_DISTILL_STATE_DIR?",
            )
        )
    if folder.result.exists():
        return None
    if folder.fault.exists():
        return mishap_of(read_fault(folder.fault))
    if seen.reason == RUNTIME_MISSING:
        error = NotFound(
            f"there is no {settings.runtime_kind} {settings.runtime!r} for TrainJob {seen.name} in namespace "
            f"{settings.namespace!r} ({seen.message}): apply infra/kubernetes/overlays/cluster-jobs, or name "
            "another in SEODANG_KUBERNETES_RUNTIME and SEODANG_KUBERNETES_RUNTIME_KIND",
            reason="NO_RUNTIME",
        )
        return Mishap(to_fault(error), retriable=False)
    return died(seen.name, f"{seen.reason}: {seen.message}. {await _last_words(seen.name, cluster)}")


def died(train_job: str, how: str) -> Mishap:
    """A worker that could not say itself why it ended."""
    error = InternalFault(
        f"the worker, TrainJob {train_job}, ended without a result: {how}",
        reason="WORKER_DIED",
        metadata={"train_job": train_job},
    )
    return Mishap(to_fault(error), retriable=True)


async def _arrives(folder: JobFolder, patience_s: float) -> bool:
    """Waits for what its pods have written to be seen here: a shared volume takes its time."""
    deadline_s = time.monotonic() + patience_s
    while not folder.result.exists():
        if time.monotonic() >= deadline_s:
            return False
        await asyncio.sleep(_LOOK_AGAIN_S)
    return True


async def _last_words(train_job: str, cluster: Cluster) -> str:
    """How its pods ended, with the end of one's log, as far as the cluster still knows."""
    try:
        how = ends(await cluster.pods(train_job))
    except SeodangError as error:
        return f"How its pods ended is not known: {error.message}"
    if not how:
        return "The cluster no longer knows how its pods ended"
    told = "; ".join(f"pod {pod}: {words}" for pod, words in how.items())
    first = next(iter(how))
    try:
        return f"{told}. The end of the log of {first}: {(await cluster.log_tail(first)).strip() or '(nothing)'}"
    except SeodangError as error:
        return f"{told}. The log of {first} is not at hand: {error.message}"
