"""The directory of one model: absent while it loads, then the same until the process ends."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from seodang.api.inference.v1 import model_pb2
from seodang.base.errors import NotFound, Retriable, Unavailable
from seodang.inference import AbsentModel, ListedModel, ModelName, ServedModel, active_parameters, read_defaults
from seodang.worker import EngineHost
from seodang.worker.messages import LoadOptions, LoadProgress, ModelInfo

log = logging.getLogger(__name__)

RETRY_WHILE_LOADING_S = 2.0
LOG_EVERY_S = 2.0


class Teacher:
    """Loads the teacher's checkpoint and lends it to requests."""

    def __init__(self, host: EngineHost, name: str, folder: Path, options: LoadOptions) -> None:
        self._host = host
        self._name = str(ModelName.parse(name))
        self._folder = folder
        self._options = options
        self._served: ServedModel | None = None

    async def load(self) -> None:
        """Brings the model in, with its progress in the log; a broken checkpoint is ``InvalidInput`` and says where."""
        log.info("loading %s from %s as %s", self._name, self._folder, self._options.external or self._options.layout)
        info = await self._load_patiently()
        self._served = ServedModel(
            name=self._name,
            info=info,
            active_parameters=active_parameters(Path(info.folder), info.parameters),
            sampling=read_defaults(Path(info.folder)),
        )
        log.info("%s", _summary(self._served))

    async def _load_patiently(self) -> ModelInfo:
        """An external server may take longer to start than we do, so its answer is waited for."""
        folder = str(self._folder.resolve())
        while True:
            try:
                return await self._host.load(self._name, folder, options=self._options, on_progress=_ProgressLog())
            except Retriable as error:
                if self._options.external is None:
                    raise
                log.warning("waiting: %s", error.message)
                await asyncio.sleep(RETRY_WHILE_LOADING_S)

    @asynccontextmanager
    async def lease(self, name: str) -> AsyncIterator[ServedModel]:
        """The model; it is never freed, so nothing needs holding."""
        found = await self.find(name)
        if not isinstance(found, ServedModel):
            raise Unavailable(f"{name} is still loading: try again", retry_after_s=RETRY_WHILE_LOADING_S)
        yield found

    async def find(self, name: str) -> ListedModel:
        """The model, or ``NotFound`` if another one is meant."""
        if str(ModelName.parse(name)) != self._name:
            raise NotFound(
                f"this server teaches {self._name} only, not {name}: use that name, or ask a student server",
                metadata={"model": name},
            )
        return self.listing()[0]

    def listing(self) -> Sequence[ListedModel]:
        """Exactly one."""
        return (self._served or AbsentModel(self._name, model_pb2.MODEL_STATE_LOADING),)


class _ProgressLog:
    """Says how far the load is, no more often than every ``LOG_EVERY_S``, and at its end."""

    def __init__(self) -> None:
        self._said_at = time.monotonic()

    def __call__(self, progress: LoadProgress) -> None:
        done = progress.bytes_read >= progress.bytes_total
        if not done and time.monotonic() - self._said_at < LOG_EVERY_S:
            return
        self._said_at = time.monotonic()
        megabytes = progress.bytes_read / 1e6
        log.info(
            "read %.1f of %.1f MB of weights on rank 0, %.0f MB/s",
            megabytes,
            progress.bytes_total / 1e6,
            megabytes / max(progress.elapsed_s, 1e-6),
        )


def _summary(model: ServedModel) -> str:
    info: ModelInfo = model.info
    if info.external:
        return f"{model.name}: {info.architecture}, {info.context_tokens} tokens of context, at {info.external}"
    return (
        f"{model.name}: {info.architecture}, {info.parameters / 1e6:.1f} M parameters "
        f"({model.active_parameters / 1e6:.1f} M active), {info.dtype}, room for {info.cache_tokens} tokens of "
        f"{info.cache_bytes_per_token} bytes, loaded in {info.load_s:.1f} s"
    )
