"""From a checkpoint folder to an engine that serves it."""

import time
from dataclasses import dataclass

import torch
from transformers import PreTrainedConfig

from seodang.base.errors import InvalidInput
from seodang.runtime.architecture import read_config
from seodang.runtime.attention import BLOCK_TOKENS
from seodang.runtime.checkpoint import Checkpoint
from seodang.runtime.decoder import Decoder, own_family
from seodang.runtime.drafter import Drafter
from seodang.runtime.engine import Engine
from seodang.runtime.executor import DTYPES, Announce, Executor
from seodang.runtime.fingerprint import fingerprint
from seodang.runtime.kernels.choice import choose_kernels
from seodang.runtime.kernels.weight import NARROW
from seodang.runtime.layout import check_layout, is_latent
from seodang.runtime.reading import Report, ShardFiles
from seodang.runtime.sharding import Ranks
from seodang.runtime.speculation import Speculation
from seodang.runtime.tokenizer import Tokenizer
from seodang.runtime.weights import Disk, Outline, Seat
from seodang.worker.messages import Draft, Layout, LoadOptions, ModelInfo


@dataclass(frozen=True, slots=True)
class LoadFacts:
    """What loading found out about the whole model and about this rank's part."""

    checkpoint: Checkpoint
    parameters: int
    weight_bytes: int
    bytes_read: int
    load_s: float


def load_executor(
    folder: str, options: LoadOptions, ranks: Ranks, report: Report, announce: Announce | None = None
) -> tuple[Executor, LoadFacts]:
    """Read this rank's part of a checkpoint and make its cache. Every rank of the group calls this."""
    started = time.monotonic()
    checkpoint = Checkpoint.open(folder)
    config = read_config(checkpoint, options.ignored_config_fields)
    check_layout(options.layout, config)
    own = own_family(config) if options.implementation == "auto" else None
    if own is not None:
        executor, facts = _load_own(checkpoint, config, options, ranks, report)
    else:
        from seodang.runtime.foreign_loading import load_foreign  # a second of imports that our families do not need

        executor, facts = load_foreign(checkpoint, config, options, ranks, report)
    if announce is not None:
        executor.announce = announce  # only now: so far, every rank knew what comes next
    parameters, weight_bytes, bytes_read = facts
    return executor, LoadFacts(checkpoint, parameters, weight_bytes, bytes_read, time.monotonic() - started)


def _load_own(
    checkpoint: Checkpoint, config: PreTrainedConfig, options: LoadOptions, ranks: Ranks, report: Report
) -> tuple[Executor, tuple[int, int, int]]:
    """Outline the whole model against the checkpoint, then this rank's part, and only then read."""
    family = own_family(config)
    assert family is not None
    module, build = family
    dtype = DTYPES[options.dtype]
    form = NARROW.get(options.dtype)
    whole = Outline(Seat(Layout()), dtype, checkpoint, form=form)
    kernels = choose_kernels(ranks, dtype)
    build(config, whole, Ranks.alone("meta").part(Layout()), kernels, 0)
    whole.check_leftover(lambda name: module.is_superfluous(name, config))
    part = ranks.part(options.layout)
    outline = Outline(part.seat, dtype, checkpoint, form=form)
    build(config, outline, part, kernels, 0)
    positions = min(config.max_position_embeddings, options.max_context or config.max_position_embeddings)
    with ShardFiles() as files:
        source = Disk(outline, checkpoint, files, ranks.device, report)
        with torch.inference_mode():
            decoder: Decoder = build(config, source, part, kernels, positions)
    executor = Executor(decoder, config, part, kernels, dtype, options.cache_bytes)
    return executor, (whole.parameters, outline.bytes_held, source.meter.bytes_read)


def load_engine(
    model_id: str, folder: str, options: LoadOptions, ranks: Ranks, report: Report, announce: Announce | None = None
) -> tuple[Engine, ModelInfo]:
    """Load a model on the leading rank and describe it."""
    executor, facts = load_executor(folder, options, ranks, report, announce)
    config = executor.config
    tokenizer = Tokenizer(facts.checkpoint.folder, config)
    cache_tokens = (executor.cache.blocks - 1) * BLOCK_TOKENS
    context = min(config.max_position_embeddings, options.max_context or cache_tokens, cache_tokens)
    info = ModelInfo(
        model_id=model_id,
        folder=folder,
        architecture=next(iter(config.architectures or ()), type(config).__name__),
        dtype=options.dtype,
        layout=options.layout,
        parameters=facts.parameters,
        vocab_size=config.vocab_size,
        hidden_size=config.hidden_size,
        layers=config.num_hidden_layers,
        context_tokens=context,
        max_batch=options.max_batch,
        weight_bytes=facts.weight_bytes,
        cache_bytes_per_token=executor.cache.bytes_per_token,
        cache_tokens=cache_tokens,
        latent_cache=is_latent(config),
        eos_token_ids=tokenizer.eos_token_ids,
        has_chat_template=tokenizer.has_chat_template,
        weights_fingerprint=fingerprint(facts.checkpoint),
        tokenizer_sha256=tokenizer.sha256,
        chat_template_sha256=tokenizer.chat_template_sha256,
        load_s=facts.load_s,
        bytes_read=facts.bytes_read,
    )
    engine = Engine(executor, tokenizer, options, context)
    if options.draft is not None:
        drafter = _load_drafter(options.draft, engine, ranks, report)
        engine.speculation = Speculation(drafter, engine.scheduler, options.draft.depth)
    return engine, info


def _load_drafter(draft: Draft, engine: Engine, ranks: Ranks, report: Report) -> Drafter:
    """The draft model, whole on the leading rank. ``InvalidInput`` if its tokens are not those of the served one."""
    if draft.depth < 1:
        raise InvalidInput(f"a draft of {draft.depth} tokens: draft at least 1", field="options.draft.depth")
    options = LoadOptions(dtype=draft.dtype, cache_bytes=draft.cache_bytes)
    executor, facts = load_executor(draft.folder, options, Ranks.alone(ranks.device.type), report)
    own, theirs = engine.tokenizer.sha256, Tokenizer(facts.checkpoint.folder, executor.config).sha256
    if own != theirs:
        raise InvalidInput(
            f"{draft.folder} has another tokenizer ({theirs[:12]}) than the model it would draft for ({own[:12]}): "
            "draft with a student of that model, or without a draft model",
            field="options.draft.folder",
        )
    return Drafter(executor, engine.executor.vocab_size, options.prefill_tokens)
