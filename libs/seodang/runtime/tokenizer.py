"""A checkpoint's tokenizer and chat template: prompts to token ids, token ids to bytes and text."""

import hashlib
import json
import re
from collections.abc import Sequence as Seq
from functools import cached_property
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from transformers import AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode

from seodang.base.errors import InvalidInput
from seodang.runtime.checkpoint import BadCheckpoint, read_json
from seodang.worker.messages import ChatMessage, ChatPrompt, Prompt, TextPrompt, TokenPrompt

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


class Tokenizer:
    """Fast tokenizers only: ``tokenizer.json`` says everything, and nothing of the folder is executed."""

    def __init__(self, folder: Path, config: PreTrainedConfig) -> None:
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise BadCheckpoint(f"{path} is missing; export the tokenizer with save_pretrained", file=path)
        self.core: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        if len(self.core) > config.vocab_size:
            raise BadCheckpoint(
                f"{path} has {len(self.core)} tokens, but the model's vocabulary is {config.vocab_size}; "
                "tokenizer and weights are of different models",
                file=path,
            )
        self.vocab_size: int = config.vocab_size
        self.eos_token_ids = _eos_ids(folder, config, self.core)
        self.sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        template = self.core.chat_template
        self.has_chat_template = bool(template)
        self.chat_template_sha256 = hashlib.sha256(json.dumps(template).encode()).hexdigest() if template else ""

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """Ids of control tokens, which are no part of the text."""
        return frozenset(self.core.all_special_ids) | frozenset(
            index for index, token in self.core.added_tokens_decoder.items() if token.special
        )

    @cached_property
    def pieces(self) -> list[bytes]:
        """UTF-8 bytes of every token; empty for ids that the tokenizer does not have."""
        decoder = json.loads(self.core.backend_tokenizer.to_str())["decoder"] or {}
        kinds = {part["type"] for part in decoder.get("decoders", [decoder]) if "type" in part}
        to_byte = {char: byte for byte, char in bytes_to_unicode().items()} if "ByteLevel" in kinds else None
        added = self.core.added_tokens_decoder
        pieces = [b""] * self.vocab_size
        for token, index in self.core.get_vocab().items():
            if index in added:
                pieces[index] = added[index].content.encode()
            elif to_byte is not None:
                pieces[index] = bytes(to_byte[char] for char in token)
            elif match := _BYTE_TOKEN.fullmatch(token):
                pieces[index] = bytes([int(match[1], 16)])
            else:
                pieces[index] = token.replace("\u2581", " ").encode()
        return pieces

    def piece(self, token_id: int) -> bytes:
        """Bytes of one token."""
        return self.pieces[token_id]

    def text_piece(self, token_id: int) -> bytes:
        """Bytes of one token, none for control tokens."""
        return b"" if token_id in self.special_ids else self.pieces[token_id]

    def encode(self, prompt: Prompt) -> list[int]:
        """Token ids of a prompt; ``InvalidInput`` for an empty one, ids out of the vocabulary or a bad conversation."""
        if isinstance(prompt, TokenPrompt):
            ids = list(prompt.token_ids)
            if wrong := [index for index in ids if not 0 <= index < self.vocab_size]:
                raise InvalidInput(
                    f"token id {wrong[0]} is outside the vocabulary 0..{self.vocab_size - 1}; "
                    "is the prompt of another tokenizer?",
                    field="prompt.token_ids",
                )
        elif isinstance(prompt, TextPrompt):
            ids = self.core.encode(prompt.text, add_special_tokens=prompt.add_special_tokens)
        else:
            # The template has written every special token that belongs there.
            ids = self.core.encode(self.render(prompt), add_special_tokens=False)
        if not ids:
            raise InvalidInput("the prompt has no tokens; send at least one", field="prompt")
        return ids

    def render(self, prompt: ChatPrompt) -> str:
        """A conversation as the text that the model was trained on."""
        if not self.has_chat_template:
            raise InvalidInput(
                "this model has no chat template; send the prompt as text or token ids", field="prompt.messages"
            )
        if not prompt.messages:
            raise InvalidInput("the conversation is empty; send at least one message", field="prompt.messages")
        try:
            text = self.core.apply_chat_template(
                [_as_template_message(message) for message in prompt.messages],
                tools=[_as_template_tool(tool.name, tool.description, tool.parameters) for tool in prompt.tools]
                or None,
                add_generation_prompt=prompt.add_generation_prompt,
                tokenize=False,
                **prompt.template_args,
            )
        except (TemplateError, TypeError, ValueError, KeyError) as error:
            raise InvalidInput(
                f"the model's chat template refuses the conversation: {error}", field="prompt.messages"
            ) from error
        return str(text)

    def decode(self, token_ids: Seq[int], *, skip_special_tokens: bool) -> str:
        """Text of token ids."""
        if wrong := [index for index in token_ids if not 0 <= index < self.vocab_size]:
            raise InvalidInput(
                f"token id {wrong[0]} is outside the vocabulary 0..{self.vocab_size - 1}", field="token_ids"
            )
        piece = self.text_piece if skip_special_tokens else self.piece
        return b"".join(map(piece, token_ids)).decode(errors="replace")


def _eos_ids(folder: Path, config: PreTrainedConfig, core: PreTrainedTokenizerFast) -> tuple[int, ...]:
    generation = folder / "generation_config.json"
    declared = [read_json(generation).get("eos_token_id")] if generation.is_file() else []
    found: set[int] = set()
    for value in [*declared, config.eos_token_id, core.eos_token_id]:
        found.update(value if isinstance(value, list) else [] if value is None else [value])
    return tuple(sorted(index for index in found if index < config.vocab_size))


def _as_template_message(message: ChatMessage) -> dict[str, Any]:
    fields: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        calls = [
            {
                "type": "function",
                "id": call.call_id,
                "function": {"name": call.name, "arguments": _json(call.arguments)},
            }
            for call in message.tool_calls
        ]
        fields["tool_calls"] = calls
    if message.tool_call_id:
        fields["tool_call_id"] = message.tool_call_id
    if message.name:
        fields["name"] = message.name
    return fields


def _as_template_tool(name: str, description: str, parameters: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "description": description, "parameters": _json(parameters)}}


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise InvalidInput(f"{text[:80]!r} is not JSON: {error}", field="prompt") from error
