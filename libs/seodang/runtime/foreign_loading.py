"""Loading of families that we do not implement ourselves, through transformers' classes and sharding plans."""

import numpy as np
import torch
from torch.distributed.tensor import DTensor
from transformers import PreTrainedConfig

from seodang.base.errors import Unsupported
from seodang.runtime.batch import Batch, Row
from seodang.runtime.checkpoint import Checkpoint
from seodang.runtime.executor import DTYPES, Executor
from seodang.runtime.foreign_sharding import shard
from seodang.runtime.foreign_weights import load_weights
from seodang.runtime.kernels.torch_kernels import TorchKernels
from seodang.runtime.kernels.weight import NARROW
from seodang.runtime.models.foreign import Foreign
from seodang.runtime.reading import Report
from seodang.runtime.sharding import Ranks
from seodang.runtime.skeleton import skeleton
from seodang.runtime.weight_map import map_weights
from seodang.worker.messages import LoadOptions

CHECK_TOKENS = 5


def load_foreign(
    checkpoint: Checkpoint, config: PreTrainedConfig, options: LoadOptions, ranks: Ranks, report: Report
) -> tuple[Executor, tuple[int, int, int]]:
    """Build, shard, fill and check a transformers model; with parameters, bytes held and bytes read."""
    if options.dtype in NARROW:
        raise Unsupported(
            f"{config.model_type} runs on transformers' layers, which have no {options.dtype}; load it in bfloat16"
        )
    kinds = set(getattr(config, "layer_types", None) or ())
    if others := sorted(kind for kind in kinds if not kind.endswith("attention") or kind.startswith("linear")):
        raise Unsupported(
            f"layers of kind {', '.join(others)} keep a state that transformers' own code for {config.model_type} does "
            "not let an engine page and share; families with code of ours: axk1, lfm2, llama, qwen3"
        )
    dtype = DTYPES[options.dtype]
    model = skeleton(config, dtype)
    weights = map_weights(checkpoint, model)
    part = shard(model, options.layout, ranks)
    meter = load_weights(model, weights, ranks.device, report)
    local = [p.to_local() if isinstance(p, DTensor) else p for p in model.parameters()]
    decoder = Foreign(model, part)
    executor = Executor(decoder, config, part, TorchKernels(dtype), dtype, options.cache_bytes)
    _check(executor, decoder)
    return executor, (weights.parameters, sum(p.numel() * p.element_size() for p in local), meter.bytes_read)


@torch.inference_mode()
def _check(executor: Executor, decoder: Foreign) -> None:
    """Compare our path with the model's own ``forward`` on a few tokens. ``Unsupported`` if they differ.

    This catches families that do more than we know of, such as scaling their logits or capping their scores.
    """
    count = min(CHECK_TOKENS, executor.vocab_size)
    tokens = np.linspace(0, executor.vocab_size - 1, count).astype(int).tolist()
    executor.forward(Batch.of([Row(tokens, 0, (1,), slice(0, count))]))
    ours = executor.logits(slice(0, count), slice(0, executor.vocab_size))
    theirs = decoder.own_logits(tokens)
    tolerance = (1e-3 if executor.dtype == torch.float32 else 0.1) * max(1.0, theirs.abs().max().item())
    difference = (ours - theirs).abs().max().item()
    if not difference <= tolerance:
        raise Unsupported(
            f"{type(executor.config).__name__}: our logits differ by {difference:.3g} from transformers' own; "
            "the family does something that this engine does not implement"
        )
