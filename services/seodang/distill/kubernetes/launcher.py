"""Workers as TrainJobs: one a job, found again by its name, made anew after a failure, gone after a cancellation."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from seodang.base.errors import InvalidInput
from seodang.distill.kubernetes.attempt import Attempt
from seodang.distill.kubernetes.cluster import Cluster, open_cluster
from seodang.distill.kubernetes.manifest import train_job
from seodang.distill.kubernetes.settings import KubernetesSettings
from seodang.distill.settings import DistillSettings
from seodang.distill.workers.launcher import Errand, Mishap, follow
from seodang.distillation import read_spec


class KubernetesLauncher:
    """Has jobs done by TrainJobs. A server that dies leaves them at work; the next one finds them by their names.

    Args:
        environment: of the server; settings of workers in it are passed on.
    """

    def __init__(
        self,
        cluster: Cluster,
        settings: KubernetesSettings,
        state_dir: Path,
        poll_interval_s: float,
        environment: Mapping[str, str],
    ) -> None:
        self._cluster = cluster
        self._settings = settings
        self._state_dir = state_dir
        self._poll_interval_s = poll_interval_s
        self._environment = environment

    async def work_on(self, errand: Errand) -> Mishap | None:
        """As the protocol says; if this server is stopped, the TrainJob works on."""
        folder = errand.folder
        attempt = Attempt(
            self._cluster,
            self._settings,
            errand,
            lambda: train_job(folder, read_spec(folder.spec), self._state_dir, self._settings, self._environment),
        )
        if not errand.stop.is_set():
            end = asyncio.ensure_future(attempt.to_its_end())
            try:
                await follow(end, errand, self._poll_interval_s)
            finally:
                if not end.done():
                    end.cancel()
                    await asyncio.wait({end})
            if not errand.stop.is_set():
                await errand.intake.take_in()
                return end.result()
        await attempt.removed()
        await errand.intake.take_in()
        return None


@asynccontextmanager
async def running_launcher(settings: DistillSettings) -> AsyncIterator[KubernetesLauncher]:
    """A launcher on the cluster that ``SEODANG_KUBERNETES_*`` names.

    Raises:
        InvalidInput: a setting is bad, or the server keeps something where no pod sees it.
    """
    cluster_settings = KubernetesSettings.load()
    state_dir = settings.state_dir
    if not state_dir.is_absolute():
        raise InvalidInput(
            f"SEODANG_DISTILL_STATE_DIR={state_dir}: pods mount it at the same place, so it must be an absolute path"
        )
    for root in settings.data_roots:
        if not root.resolve().is_relative_to(state_dir.resolve()):
            raise InvalidInput(
                f"SEODANG_DISTILL_DATA_ROOTS names {root}, which pods do not see: only what is below "
                f"SEODANG_DISTILL_STATE_DIR={state_dir} is on the volume that they mount"
            )
    async with open_cluster(cluster_settings) as cluster:
        yield KubernetesLauncher(cluster, cluster_settings, state_dir, settings.poll_interval_s, os.environ)
