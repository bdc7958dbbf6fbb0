"""A ``tokenizer.json`` as a GGUF file holds it: tokens, types, merges, the name of a pre-tokenizer, ends, template."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gguf import TokenType
from tokenizers import Tokenizer as CoreTokenizer
from transformers import PreTrainedConfig
from transformers.convert_slow_tokenizer import bytes_to_unicode

from seodang.base.errors import Unsupported
from seodang.runtime.checkpoint import read_json
from seodang.runtime.export.likeness import Difference, Likeness, closest
from seodang.runtime.export.probes import probes
from seodang.runtime.tokenizer import Tokenizer

_TO_BYTE: Final = {char: byte for byte, char in bytes_to_unicode().items()}
_MAX_ENDS: Final = 3
"""GGUF has a place for the end of a text, of a turn and of a message."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """V tokens, ids in order, as llama.cpp reads them."""

    tokens: tuple[str, ...]
    """Byte-level text; of a token that stands for itself, its plain text."""
    types: tuple[TokenType, ...]
    merges: tuple[str, ...]
    likeness: Likeness
    bos_id: int | None
    end_ids: tuple[int, ...]
    pad_id: int | None
    adds_bos: bool
    """A text that is no chat begins with it by itself."""
    chat_template: str

    def show(self, difference: Difference) -> str:
        """One difference for people: the pieces that either side cuts."""
        ours, theirs = ("|".join(map(self._plain, ids)) for ids in (difference.ours, difference.theirs))
        return f"{difference.text!r}: {ours} here, {theirs} in llama.cpp"

    def _plain(self, index: int) -> str:
        return repr(_text(self.tokens[index]) or self.tokens[index])[1:-1].replace(" ", "␣")


def read_vocabulary(folder: Path, config: PreTrainedConfig) -> Vocabulary:
    """The vocabulary of a checkpoint, and how close llama.cpp comes to its tokenizer.

    Raises:
        BadCheckpoint: there is no tokenizer, or one of another model.
        Unsupported: it is none that a GGUF file can describe.
    """
    tokenizer = Tokenizer(folder, config)
    path = folder / "tokenizer.json"
    spec = read_json(path)
    _check_kind(spec, path)
    added = {entry["id"]: entry for entry in spec["added_tokens"]}
    names = {index: token for token, index in spec["model"]["vocab"].items()}
    texts = {index: _text(token) for index, token in names.items() if index not in added}
    blanks = [text for text in texts.values() if len(text) > 1 and text.isspace()]
    whole = {entry["content"]: index for index, entry in added.items()}
    likeness = closest(spec, probes(texts.values()), whole, blanks)

    tokens, types = list[str](), list[TokenType]()
    for index in range(config.vocab_size):
        if index in added:
            tokens.append(added[index]["content"])
            types.append(TokenType.CONTROL if added[index]["special"] else TokenType.USER_DEFINED)
        elif texts.get(index) in likeness.blanks:
            tokens.append(texts[index])
            types.append(TokenType.USER_DEFINED)
        else:
            tokens.append(names.get(index, f"[PAD{index}]"))
            types.append(TokenType.NORMAL if index in names else TokenType.UNUSED)
    core = tokenizer.core
    bos_id = None if core.bos_token_id is None else int(core.bos_token_id)
    return Vocabulary(
        tokens=tuple(tokens),
        types=tuple(types),
        merges=tuple(merge if isinstance(merge, str) else " ".join(merge) for merge in spec["model"]["merges"]),
        likeness=likeness,
        bos_id=bos_id,
        end_ids=_ends(tokenizer, config, path),
        pad_id=None if core.pad_token_id is None else int(core.pad_token_id),
        adds_bos=_adds_bos(core.backend_tokenizer, bos_id, path),
        chat_template=str(core.chat_template or ""),
    )


def _text(token: str) -> str:
    """What a byte-level token says; empty for half a character."""
    try:
        return bytes(_TO_BYTE[char] for char in token).decode()
    except (KeyError, UnicodeDecodeError):
        return ""


def _check_kind(spec: Mapping[str, Any], path: Path) -> None:
    model, decoder = spec["model"], spec.get("decoder") or {}
    if model["type"] != "BPE" or decoder.get("type") != "ByteLevel" or model.get("byte_fallback"):
        raise Unsupported(
            f"{path} is a {model['type']} tokenizer with decoder {decoder.get('type')}; only byte-level BPE is "
            "exported to GGUF. Export the student as --format transformers"
        )
    for entry in spec["added_tokens"]:
        if odd := [name for name in ("lstrip", "rstrip", "single_word") if entry[name]]:
            raise Unsupported(
                f"{path}: token {entry['content']!r} has {odd[0]}, which a GGUF file cannot say. "
                "Export the student as --format transformers"
            )


def _ends(tokenizer: Tokenizer, config: PreTrainedConfig, path: Path) -> tuple[int, ...]:
    """Ids that end an answer, the config's own first."""
    own = config.eos_token_id
    first = own[0] if isinstance(own, list) and own else own
    ends = sorted(tokenizer.eos_token_ids, key=lambda index: (index != first, index))
    if not 1 <= len(ends) <= _MAX_ENDS:
        raise Unsupported(
            f"{path.parent} names {len(ends)} tokens that end an answer; GGUF has room for 1 to {_MAX_ENDS}. "
            "Set eos_token_id in generation_config.json to the ones that matter"
        )
    return tuple(ends)


def _adds_bos(core: CoreTokenizer, bos_id: int | None, path: Path) -> bool:
    """Whether the tokenizer puts the token of beginning before a text; it may add nothing else."""
    bare, dressed = (core.encode("a", add_special_tokens=special).ids for special in (False, True))
    if dressed not in (bare, [bos_id, *bare]):
        raise Unsupported(
            f"{path} adds other tokens to a text than one at its beginning ({dressed} for {bare}), which GGUF cannot "
            "say. Export the student as --format transformers"
        )
    return dressed != bare
