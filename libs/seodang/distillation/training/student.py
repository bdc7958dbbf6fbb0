"""The student's model: made from its shape, read as (hidden states, head), saved as a transformers folder.

B sequences, T tokens, H width, V vocabulary.
"""

import json
import shutil
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, Lfm2Config, PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from seodang.base.errors import InvalidInput, Unsupported
from seodang.distillation.base_model import read_base_config
from seodang.distillation.folder import whole_folder
from seodang.distillation.spec import AdapterShape, ConfigShape, DenseShape, Shape
from seodang.distillation.training.adapters import adapt, merge, save_adapters
from seodang.distillation.training.place import Here, Place

CPU: Final = torch.device("cpu")
ADAPTERS: Final = "adapter"
_PROBE_TOKENS = 8
_TOKEN_STD = 0.3
"""Spread of a dense student's token table at the start. From the usual 0.02 a small model spends its first thousand
steps on telling tokens apart (docs/decisions/0009-student-architecture.md)."""


class Student:
    """A causal language model whose logits are ``hidden @ head.T``.

    Raises:
        Unsupported: the model does something else between hidden states and logits.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.place: Place = Here(model)
        self.parameters = sum(parameter.numel() for parameter in model.parameters())
        self.vocabulary_size = int(model.config.vocab_size)
        self._check_head()

    @property
    def head_VH(self) -> Tensor:
        """The output head."""
        head: Tensor = self.model.get_output_embeddings().weight
        return head

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.head_VH.device

    @property
    def context_tokens(self) -> int:
        """The longest sequence it can read."""
        return int(self.model.config.max_position_embeddings)

    def hidden(self, ids_BT: Tensor) -> Tensor:
        """What the head reads, [B, T, H]. Sequences are padded on the right: what is causal never looks there."""
        states: Tensor = self.model.base_model(input_ids=ids_BT, use_cache=False).last_hidden_state
        return states

    def save(self, folder: Path, tokenizer: Path) -> None:
        """Writes a transformers folder in bfloat16, whole or not at all, with the files of its tokenizer."""
        with whole_folder(folder) as partial:
            self._write(partial)
            for file in tokenizer.iterdir():
                shutil.copyfile(file, partial / file.name)

    def _write(self, folder: Path) -> None:
        dtype = self.model.dtype
        self.model.to(torch.bfloat16).save_pretrained(folder)
        self.model.to(dtype)

    def _check_head(self) -> None:
        head = self.model.get_output_embeddings()
        ids = torch.arange(min(_PROBE_TOKENS, self.vocabulary_size))[None].to(self.head_VH.device)
        with torch.no_grad():
            expected = self.model(input_ids=ids, use_cache=False).logits
            ours = self.hidden(ids) @ self.head_VH.T
        if getattr(head, "bias", None) is not None or not torch.allclose(ours, expected, rtol=1e-3, atol=1e-4):
            raise Unsupported(
                f"{type(self.model).__name__} does more than a matrix product between hidden states and logits "
                "(a bias, scaling or capping): choose a config without it",
                metadata={"field": "spec.shape"},
            )


class AdaptedStudent(Student):
    """A frozen base and the adapters that are trained. Its folder has both merged, and the adapters beside."""

    def __init__(self, model: Any, shape: AdapterShape, seed: int) -> None:
        adapt(model, shape, seed)
        super().__init__(model)
        self._shape = shape

    def _write(self, folder: Path) -> None:
        # In a folder of their own: libraries that find adapters beside a model put them on it a second time.
        save_adapters(self.model, folder / ADAPTERS, self._shape)
        merge(self.model)
        super()._write(folder)


def build_adapted(shape: AdapterShape, end_id: int, seed: int) -> AdaptedStudent:
    """A base with adapters that add nothing yet, always the same for the same arguments.

    Raises:
        InvalidInput: transformers cannot load the base, or it has no such layers.
    """
    try:
        model = AutoModelForCausalLM.from_pretrained(shape.base, dtype=torch.float32, local_files_only=True)
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"transformers loads no causal language model from {shape.base}: {error}", field="spec.shape.adapter.base"
        ) from error
    model.config.eos_token_id = model.generation_config.eos_token_id = end_id
    return AdaptedStudent(model, shape, seed)


def build_student(
    shape: DenseShape | ConfigShape, vocabulary_size: int, end_id: int, context_tokens: int, seed: int
) -> Student:
    """A student with random weights, always the same for the same arguments.

    Raises:
        InvalidInput: the config is none, or of another vocabulary.
    """
    if isinstance(shape, DenseShape):
        config: PreTrainedConfig = _dense_config(shape, vocabulary_size, end_id, context_tokens)
    else:
        config = _given_config(shape, vocabulary_size, end_id)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        if isinstance(shape, DenseShape):
            torch.nn.init.normal_(model.get_input_embeddings().weight, std=_TOKEN_STD)
        return Student(model)


def context_limit(shape: Shape) -> int | None:
    """The longest sequence that a student of this shape can read; None if that is for the teacher to say."""
    if isinstance(shape, DenseShape):
        return None
    body = read_base_config(Path(shape.base)) if isinstance(shape, AdapterShape) else _body(shape)
    limit: int | None = body.get("max_position_embeddings")
    return limit


def load_student(folder: Path, device: torch.device = CPU) -> Student:
    """A finished student, for evaluation, in float32 arithmetic on its stored weights."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    return Student(model.eval().to(device))


def _dense_config(shape: DenseShape, vocabulary_size: int, end_id: int, context_tokens: int) -> Lfm2Config:
    kinds = ("full_attention", "conv")
    return Lfm2Config(
        vocab_size=vocabulary_size,
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        block_auto_adjust_ff_dim=False,
        num_hidden_layers=shape.layers,
        layer_types=[kinds[(shape.layers - 1 - layer) % 2] for layer in range(shape.layers)],
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=context_tokens,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=end_id,
        pad_token_id=None,
        # What vLLM reads of this family, as in its makers' own files.
        block_dim=shape.hidden_size,
        conv_dim=shape.hidden_size,
    )


def _given_config(shape: ConfigShape, vocabulary_size: int, end_id: int) -> PreTrainedConfig:
    field = "spec.shape.config_json"
    body = _body(shape)
    kind = body.pop("model_type", None)
    if kind not in CONFIG_MAPPING:
        raise InvalidInput(f"config_json: transformers knows no model_type {kind!r}", field=field)
    if body.get("vocab_size", vocabulary_size) != vocabulary_size:
        raise InvalidInput(
            f"config_json: vocab_size={body['vocab_size']}, but the vocabulary here is {vocabulary_size}: leave it out",
            field=field,
        )
    try:
        return AutoConfig.for_model(kind, **(body | {"vocab_size": vocabulary_size, "eos_token_id": end_id}))
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"config_json is no {kind} config: {error}", field=field) from error


def _body(shape: ConfigShape) -> dict[str, Any]:
    try:
        body = json.loads(shape.config_json)
    except ValueError as error:
        raise InvalidInput(f"config_json is not JSON: {error}", field="spec.shape.config_json") from error
    if not isinstance(body, dict):
        raise InvalidInput("config_json must be a JSON object", field="spec.shape.config_json")
    return body
