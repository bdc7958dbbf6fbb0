"""A model: its layout, what it is, and how it is loaded and freed."""

from typing import Literal, TypeAlias
from urllib.parse import urlsplit

from seodang.base.errors import InvalidInput
from seodang.worker.messages.record import Message, Record

DType: TypeAlias = Literal["float32", "bfloat16", "int8", "int4"]
"""int8: the layers' matrices have int8 rows with a scale each, all else is bfloat16; int4: they have codes of four bits
in groups of 32 inputs with a step and a minimum each."""


class Layout(Record, frozen=True):
    """How one model lies over the ranks of its group: tensor, expert and pipeline parallel degrees.

    Expert parallelism reuses the tensor-parallel ranks, as transformers does, so ``ep`` is 1 or equal to ``tp``.
    """

    tp: int = 1
    ep: int = 1
    pp: int = 1

    @property
    def ranks(self) -> int:
        """Processes that the layout needs."""
        return self.tp * self.pp


class ExternalServer(Record, frozen=True):
    """A vLLM server that holds a model's weights, and computes what comes of them."""

    url: str
    """Without the path of its interface, such as ``http://10.0.0.5:8000``."""
    model: str = ""
    """The model's name there; empty: the only one there is."""
    api_key: str = ""

    def __repr__(self) -> str:
        return f"ExternalServer(url={self.url!r}, model={self.model!r})"  # the key belongs in no log

    @classmethod
    def at(cls, url: str, model: str = "", api_key: str = "") -> "ExternalServer":
        """The server at an address; ``InvalidInput`` for what is none, or holds a key."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            shown = "an external server" if "@" in url else f"external server {url!r}"
            raise InvalidInput(f"{shown}: give an address such as http://10.0.0.5:8000, and a key beside it, not in it")
        return cls(url=url, model=model, api_key=api_key)


class ModelInfo(Record, frozen=True):
    """What a loaded model is and can hold. What an external server keeps to itself is empty or 0."""

    model_id: str
    folder: str
    architecture: str
    dtype: DType | Literal[""]
    layout: Layout
    parameters: int
    """Parameters of the whole model, over all ranks."""
    vocab_size: int
    hidden_size: int
    layers: int
    context_tokens: int
    """Prompt and completion together may be this long."""
    max_batch: int
    weight_bytes: int
    """Bytes of weights that rank 0 holds."""
    cache_bytes_per_token: int
    """Bytes of cache that one token takes on rank 0; a latent cache shows here."""
    cache_tokens: int
    """Tokens that fit into the cache."""
    latent_cache: bool
    eos_token_ids: tuple[int, ...]
    has_chat_template: bool
    weights_fingerprint: str
    """Hex digest over the config, every safetensors header and content sampled from each shard."""
    tokenizer_sha256: str
    chat_template_sha256: str
    load_s: float
    bytes_read: int
    """Bytes of weights that rank 0 read from disk."""
    external: str = ""
    """URL of the external server that computes; empty: the engine does."""


class Draft(Record, frozen=True):
    """A small model with the same tokenizer that drafts for the one being loaded."""

    folder: str
    dtype: DType = "float32"
    depth: int = 4
    """Tokens to draft at most; fewer, or none, are drafted where that is faster."""
    cache_bytes: int = 64 * 2**20
    """Memory for its cached tokens."""


class LoadOptions(Record, frozen=True):
    """How a checkpoint is loaded and how much it may hold."""

    layout: Layout = Layout()
    dtype: DType = "float32"
    max_batch: int = 32
    """Sequences that decode together."""
    max_waiting: int = 256
    """Requests that may wait; the next one is refused with a time to try again."""
    cache_bytes: int = 256 * 2**20
    """Memory for cached tokens, on each rank."""
    max_context: int | None = None
    """Shorten the checkpoint's own context."""
    implementation: Literal["auto", "transformers"] = "auto"
    """auto: our own code for the families that have it, else transformers' code."""
    ignored_config_fields: tuple[str, ...] = ()
    """Fields of config.json that are known not to change the computation."""
    prefill_tokens: int = 512
    """Prompt tokens computed in one step, over all requests."""
    reproducible_scores: bool = False
    """Score every sequence alone and from its first token: the same bits whatever else is asked for, and slower."""
    draft: Draft | None = None
    """Speculative decoding: the same tokens, sooner."""
    external: ExternalServer | None = None
    """Who computes instead of this engine; the folder then needs ``config.json`` and the tokenizer only."""


class Load(Message, frozen=True, tag="load"):
    """Load a checkpoint folder under a name."""

    request_id: str
    model_id: str
    folder: str
    options: LoadOptions = LoadOptions()


class Unload(Message, frozen=True, tag="unload"):
    """Free a model; its requests end with Unavailable."""

    request_id: str
    model_id: str


class LoadProgress(Message, frozen=True, tag="load_progress"):
    """Bytes of weights that rank 0 has read so far, of those it will read."""

    request_id: str
    bytes_read: int
    bytes_total: int
    elapsed_s: float


class Loaded(Message, frozen=True, tag="loaded"):
    """The model serves."""

    request_id: str
    info: ModelInfo


class Unloaded(Message, frozen=True, tag="unloaded"):
    """The model is gone and its memory is free."""

    request_id: str
