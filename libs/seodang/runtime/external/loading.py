"""From a folder and an address to an engine: the folder has the tokenizer, the server all the rest."""

import math
import time
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig

from seodang.base.errors import NotFound
from seodang.runtime.checkpoint import BadCheckpoint, Checkpoint, read_json
from seodang.runtime.external.engine import ExternalEngine
from seodang.runtime.external.loop_thread import LoopThread
from seodang.runtime.external.vllm_server import ServedThere, VllmServer
from seodang.runtime.link import Link
from seodang.runtime.tokenizer import Tokenizer
from seodang.worker.messages import ExternalServer, Load, ModelInfo


def load_external(command: Load, external: ExternalServer, link: Link) -> tuple[ExternalEngine, ModelInfo]:
    """Read the folder, ask the server for its model and for one real token.

    Raises:
        Unavailable: the server does not answer, or not yet.
        InvalidInput: folder or server are not what was said.
    """
    started = time.monotonic()
    options = command.options
    folder = Path(command.folder)
    config, tokenizer = _read_folder(folder)
    thread = LoopThread(f"external {command.model_id}")
    server = VllmServer(external)
    try:
        served = thread.run(server.served())
        thread.run(server.prove(served, tokenizer))
    except BaseException:
        thread.run(server.close())
        thread.close()
        raise
    info = _describe(command, external, served, config, tokenizer, time.monotonic() - started)
    return ExternalEngine(server, served, tokenizer, options, link, thread), info


def _read_folder(folder: Path) -> tuple[dict[str, Any], Tokenizer]:
    """The config, and the tokenizer; the family need not be one that we, or our transformers, can compute."""
    if not folder.is_dir():
        raise NotFound(f"no folder at {folder}: give one that holds the model's config.json and its tokenizer")
    whole = read_json(folder / "config.json")
    config = whole.get("text_config", {}) | {key: value for key, value in whole.items() if key != "text_config"}
    vocabulary = config.get("vocab_size")
    if not isinstance(vocabulary, int) or vocabulary < 1:
        path = folder / "config.json"
        raise BadCheckpoint(f"{path}: vocab_size={vocabulary!r}; copy the file from the original checkpoint", file=path)
    typed = PreTrainedConfig(vocab_size=vocabulary, eos_token_id=config.get("eos_token_id"))
    return config, Tokenizer(folder, typed)


def _describe(
    command: Load,
    external: ExternalServer,
    served: ServedThere,
    config: dict[str, Any],
    tokenizer: Tokenizer,
    load_s: float,
) -> ModelInfo:
    return ModelInfo(
        model_id=command.model_id,
        folder=command.folder,
        architecture=next(iter(config.get("architectures") or ()), str(config.get("model_type", ""))),
        dtype="",
        layout=command.options.layout,
        parameters=_parameters(Path(command.folder), config),
        vocab_size=tokenizer.vocab_size,
        hidden_size=int(config.get("hidden_size") or 0),
        layers=int(config.get("num_hidden_layers") or 0),
        context_tokens=served.context_tokens,
        max_batch=command.options.max_batch,
        weight_bytes=0,
        cache_bytes_per_token=0,
        cache_tokens=0,
        latent_cache=False,
        eos_token_ids=tokenizer.eos_token_ids,
        has_chat_template=tokenizer.has_chat_template,
        weights_fingerprint="",  # whatever the folder holds, it is the server's weights that count
        tokenizer_sha256=tokenizer.sha256,
        chat_template_sha256=tokenizer.chat_template_sha256,
        load_s=load_s,
        bytes_read=0,
        external=external.url,
    )


def _parameters(folder: Path, config: dict[str, Any]) -> int:
    """From the headers of the weights, if they lie in the folder too; quantised ones do not tell."""
    if "quantization_config" in config or not any(folder.glob("*.safetensors")):
        return 0
    return sum(math.prod(entry.shape) for entry in Checkpoint.open(folder).tensors.values())
