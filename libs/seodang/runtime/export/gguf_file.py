"""Writing a checkpoint as one GGUF file, a tensor at a time."""

import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType, RopeScalingType
from gguf.quants import quant_shape_to_byte_shape, quantize
from transformers import PreTrainedConfig

from seodang.base.errors import AlreadyExists, Unsupported
from seodang.runtime.architecture import read_config
from seodang.runtime.checkpoint import BadCheckpoint, Checkpoint
from seodang.runtime.export.families import (
    CONVOLUTION,
    Family,
    Placed,
    by_neighbours,
    family_of,
    frequency_divisors,
    head_size,
    layer_types,
    place_tensors,
)
from seodang.runtime.export.vocabulary import Vocabulary, read_vocabulary
from seodang.runtime.fingerprint import fingerprint
from seodang.runtime.models.lfm2 import intermediate_size
from seodang.runtime.models.llama import is_superfluous
from seodang.runtime.reading import ShardFiles

Array = npt.NDArray[Any]
_Q8_BLOCK: Final = 32
_F16_MAX: Final = 65504.0
_ROPE_DIVISORS: Final = "rope_freqs.weight"


class Weights(StrEnum):
    """What matrices are stored as; norms are always float32."""

    F32 = "f32"
    F16 = "f16"
    BF16 = "bf16"
    Q8_0 = "q8_0"
    """Blocks of 32 int8 under a float16 scale; rows that are no multiple of 32 stay float16."""


_FILE_TYPES: Final = {
    Weights.F32: LlamaFileType.ALL_F32,
    Weights.F16: LlamaFileType.MOSTLY_F16,
    Weights.BF16: LlamaFileType.MOSTLY_BF16,
    Weights.Q8_0: LlamaFileType.MOSTLY_Q8_0,
}
_STORED: Final = {"F32": Weights.F32, "F16": Weights.F16, "BF16": Weights.BF16}


@dataclass(frozen=True, slots=True)
class Exported:
    """A file that was written."""

    path: Path
    architecture: str
    weights: Weights
    tensors: int
    file_bytes: int


class Export:
    """A checkpoint that can become a GGUF file; what it can be refused for is found out here, before writing.

    Raises:
        NotFound, BadCheckpoint: there is no whole checkpoint in the folder.
        Unsupported: GGUF or llama.cpp cannot say what it computes.
    """

    def __init__(self, folder: Path) -> None:
        self._checkpoint = Checkpoint.open(folder)
        self._config: PreTrainedConfig = read_config(self._checkpoint)
        self._family: Family = family_of(self._config)
        self._placed = place_tensors(self._config, self._family)
        self._check_tensors()
        self.vocabulary: Vocabulary = read_vocabulary(folder, self._config)

    def write(self, out: Path, weights: Weights | None, name: str) -> Exported:
        """Writes the file, whole or not at all.

        Args:
            out: must not exist.
            weights: None keeps what the checkpoint has.
            name: of the model, for people.

        Raises:
            AlreadyExists: there is something at ``out``.
            Unsupported: a weight is beyond float16's range.
        """
        if out.exists():
            raise AlreadyExists(f"{out} exists; name a place that is free")
        out.parent.mkdir(parents=True, exist_ok=True)
        chosen = weights or self._stored()
        beside = out.with_name(f".{out.name}.partial")
        writer = GGUFWriter(beside, self._family.architecture)
        try:
            self._describe(writer, chosen, name)
            self._describe_vocabulary(writer)
            divisors = frequency_divisors(self._config)
            if divisors is not None:
                writer.add_tensor_info(_ROPE_DIVISORS, divisors.shape, divisors.dtype, divisors.nbytes)
            for placed in self._placed.values():
                self._announce(writer, placed, chosen)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_ti_data_to_file()
            if divisors is not None:
                writer.write_tensor_data(divisors)
            with ShardFiles() as files:
                for source, placed in self._placed.items():
                    writer.write_tensor_data(self._read(files, source, placed, chosen))
            writer.flush()
        except BaseException:
            writer.close()
            beside.unlink(missing_ok=True)
            raise
        writer.close()
        with beside.open("rb") as written:
            os.fsync(written.fileno())
        beside.replace(out)
        count = len(self._placed) + (divisors is not None)
        return Exported(out, self._family.architecture, chosen, count, out.stat().st_size)

    def _check_tensors(self) -> None:
        found = self._checkpoint.tensors
        for source, placed in self._placed.items():
            if source not in found or found[source].shape != placed.shape:
                there = list(found[source].shape) if source in found else "missing"
                raise BadCheckpoint(
                    f"{self._checkpoint.folder}: {source} is {there}, config.json needs {list(placed.shape)}; "
                    "config.json and weights are of different models",
                    file=self._checkpoint.folder,
                    tensor=source,
                )
        for source in found.keys() - self._placed.keys():
            if not is_superfluous(source, self._config):
                raise BadCheckpoint(
                    f"{found[source].file}: {source} belongs to no part of a {self._config.model_type} model; "
                    "config.json and weights are of different models",
                    file=found[source].file,
                    tensor=source,
                )

    def _stored(self) -> Weights:
        """As the token table is stored."""
        dtype = self._checkpoint.tensors["model.embed_tokens.weight"].dtype
        if dtype not in _STORED:
            raise Unsupported(f"the checkpoint's weights are {dtype}; say which of {', '.join(Weights)} to write")
        return _STORED[dtype]

    def _describe(self, writer: GGUFWriter, weights: Weights, name: str) -> None:
        config, rope = self._config, self._config.rope_parameters
        writer.add_name(name)
        writer.add_file_type(_FILE_TYPES[weights])
        writer.add_quantization_version(2)
        writer.add_string("seodang.checkpoint_fingerprint", fingerprint(self._checkpoint))
        writer.add_context_length(config.max_position_embeddings)
        writer.add_embedding_length(config.hidden_size)
        writer.add_block_count(config.num_hidden_layers)
        writer.add_head_count(config.num_attention_heads)
        writer.add_key_length(head_size(config))
        writer.add_value_length(head_size(config))
        if config.model_type == "lfm2":
            kinds = layer_types(config)
            writer.add_feed_forward_length(intermediate_size(config))
            writer.add_head_count_kv([0 if kind == CONVOLUTION else config.num_key_value_heads for kind in kinds])
            writer.add_layer_norm_rms_eps(config.norm_eps)
            writer.add_shortconv_l_cache(config.conv_L_cache)
        else:
            writer.add_feed_forward_length(config.intermediate_size)
            writer.add_head_count_kv(config.num_key_value_heads)
            writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        writer.add_rope_dimension_count(head_size(config))
        writer.add_rope_freq_base(rope["rope_theta"])
        if rope["rope_type"] == "linear":
            writer.add_rope_scaling_type(RopeScalingType.LINEAR)
            writer.add_rope_scaling_factor(rope["factor"])
        writer.add_vocab_size(config.vocab_size)

    def _describe_vocabulary(self, writer: GGUFWriter) -> None:
        vocabulary = self.vocabulary
        writer.add_tokenizer_model("gpt2")  # GGUF's name for byte-level BPE
        writer.add_tokenizer_pre(vocabulary.likeness.pre_tokenizer.name)
        writer.add_token_list(vocabulary.tokens)
        writer.add_token_types(vocabulary.types)
        writer.add_token_merges(vocabulary.merges)
        if vocabulary.bos_id is not None:
            writer.add_bos_token_id(vocabulary.bos_id)
        add_end = (writer.add_eos_token_id, writer.add_eot_token_id, writer.add_eom_token_id)
        for add, index in zip(add_end, vocabulary.end_ids, strict=False):
            add(index)
        if vocabulary.pad_id is not None:
            writer.add_pad_token_id(vocabulary.pad_id)
        writer.add_add_bos_token(vocabulary.adds_bos)
        writer.add_add_eos_token(False)
        if vocabulary.chat_template:
            writer.add_chat_template(vocabulary.chat_template)

    def _announce(self, writer: GGUFWriter, placed: Placed, weights: Weights) -> None:
        kind = _kind(placed, weights)
        stored = quant_shape_to_byte_shape(_in_file(placed.shape), kind)
        writer.add_tensor_info(placed.name, stored, np.dtype(np.uint8), int(np.prod(stored)), kind)

    def _read(self, files: ShardFiles, source: str, placed: Placed, weights: Weights) -> Array:
        """The bytes of one tensor as the file holds them."""
        entry = self._checkpoint.tensors[source]
        whole = files.read(entry, tuple((0, size) for size in entry.shape))
        values = whole.float().numpy().reshape(_in_file(placed.shape))
        if placed.turned_heads:
            values = by_neighbours(values, placed.turned_heads)
        kind = _kind(placed, weights)
        if kind is GGMLQuantizationType.F16 and (largest := float(np.abs(values).max(initial=0))) > _F16_MAX:
            raise Unsupported(f"{source} holds {largest:g}, beyond float16's {_F16_MAX:g}; write bf16 or f32")
        stored: Array = np.ascontiguousarray(quantize(values, kind)).view(np.uint8)
        return stored


def _in_file(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Without the axis of one input channel that a convolution has."""
    return tuple(size for size in shape if size != 1) if len(shape) > 2 else shape


def _kind(placed: Placed, weights: Weights) -> GGMLQuantizationType:
    if len(placed.shape) == 1 or placed.exact or weights is Weights.F32:
        return GGMLQuantizationType.F32
    if weights is Weights.Q8_0 and placed.shape[-1] % _Q8_BLOCK:
        return GGMLQuantizationType.F16
    return GGMLQuantizationType[weights.name]
