"""One worker as a TrainJob: made or found, and watched to its end."""

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing, suppress
from typing import Any, Final

from seodang.base.errors import AlreadyExists, Conflict, Exhausted, Retriable, SeodangError, Superseded
from seodang.distill.kubernetes.cluster import Cluster
from seodang.distill.kubernetes.contact import Contact
from seodang.distill.kubernetes.manifest import train_job_name
from seodang.distill.kubernetes.outcome import died, outcome
from seodang.distill.kubernetes.settings import KubernetesSettings
from seodang.distill.kubernetes.status import Phase, TrainJob, have_begun, hindrance
from seodang.distill.workers.launcher import Errand, Mishap, mishap_of
from seodang.distillation import read_fault
from seodang.rpc import to_fault

_LOOK_AGAIN_S: Final = 0.5
"""A TrainJob that is being deleted is looked at this often, and none is watched more often."""


class Attempt:
    """A job's TrainJob, for as long as one worker lasts.

    Args:
        manifest: makes it, once the job's spec is written.
    """

    def __init__(
        self, cluster: Cluster, settings: KubernetesSettings, errand: Errand, manifest: Callable[[], dict[str, Any]]
    ) -> None:
        self._cluster = cluster
        self._settings = settings
        self._errand = errand
        self._manifest = manifest
        self._contact = Contact(errand.tell, settings.retry_backoff_max_s)
        self._job = f"jobs/{errand.job_id}"
        self._name = train_job_name(errand.job_id)
        self._begun = False
        self._waiting_since_s = time.monotonic()
        self._last_word_s: float | None = None

    async def to_its_end(self) -> Mishap | None:
        """Sees a worker through; None if there is a result.

        Raises:
            SeodangError: the cluster refuses the TrainJob, and will again.
        """
        seen = await self._present()
        while not seen.ended:
            result, verdict = self._errand.folder.result.exists(), self._verdict()
            if self._overdue(result or verdict is not None):
                return await self._forsaken(None if result else verdict)
            try:
                latest = await self._next(seen)
                if latest is None:
                    return died(self._name, "somebody deleted it")
                seen = latest
                if not seen.ended and not self._begun and (mishap := await self._waiting(seen)):
                    return mishap
            except SeodangError as error:
                await self._contact.failed(error)
            else:
                await self._contact.answered()
        return await outcome(seen, self._errand.folder, self._cluster, self._settings)

    async def removed(self) -> None:
        """Returns when there is no such TrainJob, nor any pod of it; asks until that is so."""
        while found := await self._contact.persistently(self._get, SeodangError):
            if found.job != self._job:
                return
            if found.leaving:
                await self._leaving()
            else:
                await self._contact.persistently(self._delete, SeodangError)

    async def _present(self) -> TrainJob:
        """The one that an earlier server left at work, or a new one in the place of any that has ended."""
        begun = False
        while True:
            found = await self._contact.persistently(self._get, Retriable)
            if found is None:
                if not begun:
                    await self._errand.begin()
                    begun = True
                # What an earlier worker gave up for is no longer true.
                self._errand.folder.fault.unlink(missing_ok=True)
                try:
                    return await self._contact.persistently(self._create, Retriable)
                except AlreadyExists:  # an earlier call was carried out, though its answer was lost
                    await asyncio.sleep(_LOOK_AGAIN_S)
            elif found.job != self._job:
                raise Conflict(
                    f"TrainJob {self._name} in namespace {self._settings.namespace!r} is not of {self._job} but of "
                    f"{found.job or 'somebody else'}: delete it, then resume the job",
                    reason="TRAIN_JOB_TAKEN",
                )
            elif found.leaving:
                await self._leaving()
            elif found.ended:
                await self._contact.persistently(self._delete, Retriable)
            else:
                return found

    async def _get(self) -> TrainJob | None:
        return await self._cluster.get(self._name)

    async def _delete(self) -> None:
        await self._cluster.delete(self._name)

    async def _leaving(self) -> None:
        await self._contact.tell(f"waits until the pods of TrainJob {self._name} are gone")
        await asyncio.sleep(_LOOK_AGAIN_S)

    async def _create(self) -> TrainJob:
        """A call that is cancelled may be carried out all the same, so it is waited for, which its deadline bounds."""
        call = asyncio.ensure_future(self._cluster.create(self._manifest()))
        try:
            return await asyncio.shield(call)
        except asyncio.CancelledError:
            await asyncio.wait({call})
            raise

    async def _next(self, seen: TrainJob) -> TrainJob | None:
        """It after one watch, or as soon as it has ended; None once it is gone."""
        began_s, latest = time.monotonic(), seen
        try:
            async with aclosing(self._cluster.watch(self._name, seen.version)) as changes:
                async for change in changes:
                    if change is None or change.ended:
                        return change
                    latest = change
        except Superseded:
            if (found := await self._get()) is None:
                return None
            latest = found
        # Something between us and the cluster may end watches early; that must not become a storm of them.
        await asyncio.sleep(max(0.0, began_s + _LOOK_AGAIN_S - time.monotonic()))
        return latest

    async def _waiting(self, seen: TrainJob) -> Mishap | None:
        """Tells what keeps its pods from starting; a mishap once that has lasted too long."""
        if seen.phase is Phase.SUSPENDED:
            self._waiting_since_s = time.monotonic()
            await self._contact.tell(f"TrainJob {self._name} is suspended, as in the queue of Kueue: {seen.message}")
            return None
        pods = await self._cluster.pods(self._name)
        self._begun = have_begun(pods)
        if self._begun:
            return None
        why = hindrance(pods) or ("its pods are being started" if pods else "the cluster has made no pods for it yet")
        if time.monotonic() - self._waiting_since_s < self._settings.start_patience_s:
            await self._contact.tell(f"TrainJob {self._name} waits: {why}")
            return None
        await self.removed()
        return self._not_started(why)

    def _not_started(self, why: str) -> Mishap:
        settings = self._settings
        error = Exhausted(
            f"the pods of TrainJob {self._name} did not start in {settings.start_patience_s:g} s: {why}. Give the "
            f"cluster what they ask for, or ask for something else: SEODANG_KUBERNETES_NODE_CPUS={settings.node_cpus}, "
            f"_NODE_MEMORY={settings.node_memory}, _GPU={settings.gpu!r}, _IMAGE={settings.image}, "
            f"_CLAIM={settings.claim}",
            reason="PODS_DID_NOT_START",
        )
        return Mishap(to_fault(error), retriable=False)

    async def _forsaken(self, verdict: Mishap | None) -> Mishap | None:
        """The cluster is away, its pods hang, or its runtime starts again and again what can only say the same."""
        if verdict is not None:
            await self.removed()
            return verdict
        with suppress(SeodangError):  # with a result there, nobody has to wait for a cluster
            await self._delete()
        return None

    def _verdict(self) -> Mishap | None:
        """What the worker gave up for, if every other would too."""
        try:
            mishap = mishap_of(read_fault(self._errand.folder.fault))
        except FileNotFoundError:
            return None
        return None if mishap.retriable else mishap

    def _overdue(self, has_ended: bool) -> bool:
        """Whether the worker said its last word so long ago that the cluster should have told of its end."""
        now_s = time.monotonic()
        self._last_word_s = (self._last_word_s or now_s) if has_ended else None
        return self._last_word_s is not None and now_s - self._last_word_s >= self._settings.visible_s
