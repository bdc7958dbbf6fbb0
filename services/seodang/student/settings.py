"""Settings of the student server's process, from ``SEODANG_STUDENT_*``."""

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr
from pydantic_settings import NoDecode

from seodang.base import ports
from seodang.base.settings import Settings, settings_config
from seodang.inference import ModelName
from seodang.rpc import ServerConfig
from seodang.worker import HostSettings
from seodang.worker.messages import DType, ExternalServer, LoadOptions

Count = Annotated[int, Field(ge=1)]


def _split(value: Any) -> Any:
    return [part for part in value.split(os.pathsep) if part] if isinstance(value, str) else value


class Engine(BaseModel):
    """A vLLM server that computes one student instead of our engine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    """Such as http://10.0.0.6:8000."""
    model: str = ""
    """The student's name there; unset, the only one there is."""


class StudentSettings(Settings):
    """Where the server listens, which students it may hold, and how much memory they may take together."""

    model_config = settings_config("SEODANG_STUDENT_")

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = ports.STUDENT
    """0 takes a free one."""
    grace_s: Annotated[float, Field(ge=0)] = 20.0
    """How long calls in flight may go on after SIGTERM."""
    model_roots: Annotated[tuple[Path, ...], NoDecode, BeforeValidator(_split)] = (Path("models/students"),)
    """Folders of checkpoint folders, separated by ':'. Each checkpoint is served as models/FOLDER-NAME, and LoadModel
    reads folders below them only."""
    registry_address: str = ports.local(ports.DISTILL)
    """host:port of the RegistryService that knows versions and aliases."""
    alias_ttl_s: Annotated[float, Field(ge=0)] = 2.0
    """How long a resolved alias may be used before the registry is asked again."""
    state_dir: Path = Path("out/state/student")
    """Where downloaded versions are kept."""
    memory_bytes: Count = 2 * 2**30
    """Weights and caches of all students together."""
    dtype: DType = "float32"
    """Of students whose load does not name one."""
    max_batch: Count = 16
    """Sequences of one student that decode together."""
    max_waiting: Count = 128
    """Requests of one student that may wait; the next one is refused with a time to try again."""
    cache_bytes: Count = 32 * 2**20
    """Memory for cached tokens of each student."""
    threads: Count | None = None
    """Torch threads; unset, the machine's cores."""
    unread_tokens: Count = 2048
    """Generated tokens that may wait for a slow reader."""
    engines: dict[str, Engine] = Field(default_factory=dict)
    """As JSON, the students that vLLM servers compute: {"models/robot": {"url": "http://10.0.0.6:8000"}}. Their folders
    need config.json and the tokenizer only."""
    engine_api_key: SecretStr = SecretStr("")
    """What those servers were started with as ``--api-key``."""

    def host_settings(self) -> HostSettings:
        """For the engine's process."""
        return HostSettings(ranks=1, threads=self.threads)

    def load_options(self) -> LoadOptions:
        """For every student; the dtype may be another one for some."""
        return LoadOptions(
            dtype=self.dtype, max_batch=self.max_batch, max_waiting=self.max_waiting, cache_bytes=self.cache_bytes
        )

    def external_servers(self) -> dict[str, ExternalServer]:
        """The servers by the names of their students. ``InvalidInput`` for an address that is none."""
        key = self.engine_api_key.get_secret_value()
        return {
            str(ModelName.parse(name, field="engines")): ExternalServer.at(engine.url, engine.model, key)
            for name, engine in self.engines.items()
        }

    def server_config(self) -> ServerConfig:
        """For the gRPC server."""
        return ServerConfig(host=self.host, port=self.port, grace_s=self.grace_s)
