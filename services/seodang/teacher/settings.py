"""Settings of the teacher's process, from ``SEODANG_TEACHER_*``."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from seodang.base import ports
from seodang.base.errors import InvalidInput
from seodang.base.settings import Settings, settings_config
from seodang.rpc import ServerConfig
from seodang.worker import HostSettings
from seodang.worker.messages import Draft, DType, ExternalServer, Layout, LoadOptions

Count = Annotated[int, Field(ge=1)]


class TeacherSettings(Settings):
    """Where the teacher listens, which checkpoint it serves, and how it is spread and fed."""

    model_config = settings_config("SEODANG_TEACHER_")

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = ports.TEACHER
    """0 takes a free one."""
    grace_s: Annotated[float, Field(ge=0)] = 20.0
    """How long calls in flight may go on after SIGTERM."""
    folder: Path = Path("models/teacher-mini")
    """A transformers checkpoint: config, safetensors shards, tokenizer. With ``engine_url``, shards are not needed."""
    model: str = "models/teacher-mini"
    """Resource name that callers use."""
    tp: Count = 1
    """Tensor parallel degree; the process starts tp * pp ranks."""
    ep: Count = 1
    """Expert parallel degree: 1, or the same as tp."""
    pp: Count = 1
    """Pipeline parallel degree."""
    dtype: DType = "float32"
    device: Literal["cpu", "cuda"] = "cpu"
    max_batch: Count = 32
    """Sequences that decode together."""
    max_waiting: Count = 256
    """Requests that may wait; the next one is refused with a time to try again."""
    cache_bytes: Count = 256 * 2**20
    """Memory for cached tokens, on each rank."""
    threads: Count | None = None
    """Torch threads of each rank; unset, the machine's cores divided by the ranks."""
    unread_tokens: Count = 2048
    """Generated tokens that may wait for a slow reader."""
    reproducible_scores: bool = False
    """Score every sequence alone and from its first token: the same bits whatever else is asked for, and slower
    (docs/decisions/0010-reproducible-scores.md)."""
    draft_folder: Path | None = None
    """A checkpoint with the same tokenizer, such as a student of this model, that drafts for it: the same answers,
    sooner (docs/decisions/0015-speculation-changes-no-token.md)."""
    draft_dtype: DType = "float32"
    draft_depth: Count = 4
    """Tokens that it drafts at most; fewer, or none, where that is faster."""

    engine_url: str = ""
    """A vLLM server that computes the model instead of our engine, such as http://10.0.0.5:8000."""
    engine_model: str = ""
    """The model's name there; unset, the only one there is."""
    engine_api_key: SecretStr = SecretStr("")
    """What that server was started with as ``--api-key``."""

    def layout(self) -> Layout:
        """How the model lies over the ranks."""
        return Layout(tp=self.tp, ep=self.ep, pp=self.pp)

    def host_settings(self) -> HostSettings:
        """For the engine's processes."""
        return HostSettings(ranks=self.layout().ranks, device=self.device, threads=self.threads)

    def load_options(self) -> LoadOptions:
        """For the checkpoint. ``InvalidInput`` names settings that do not go together."""
        return LoadOptions(
            layout=self.layout(),
            dtype=self.dtype,
            max_batch=self.max_batch,
            max_waiting=self.max_waiting,
            cache_bytes=self.cache_bytes,
            reproducible_scores=self.reproducible_scores,
            draft=self._draft(),
            external=self._external(),
        )

    def _draft(self) -> Draft | None:
        if self.draft_folder is None:
            if self.model_fields_set & {"draft_dtype", "draft_depth"}:
                raise InvalidInput("draft_dtype and draft_depth are of a draft model: set draft_folder too")
            return None
        return Draft(folder=str(self.draft_folder), dtype=self.draft_dtype, depth=self.draft_depth)

    def _external(self) -> ExternalServer | None:
        key = self.engine_api_key.get_secret_value()
        if not self.engine_url:
            if self.engine_model or key:
                raise InvalidInput("engine_model and engine_api_key are of an external server: set engine_url too")
            return None
        if self.layout() != Layout() or self.reproducible_scores or self.draft_folder:
            raise InvalidInput(
                "tp, ep, pp, reproducible_scores and draft_folder are for our own engine: leave them out, or engine_url"
            )
        return ExternalServer.at(self.engine_url, self.engine_model, key)

    def server_config(self) -> ServerConfig:
        """For the gRPC server."""
        return ServerConfig(host=self.host, port=self.port, grace_s=self.grace_s)
