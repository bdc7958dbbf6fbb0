"""How llama.cpp cuts a text before it merges: patterns that a GGUF file can only choose by name.

A tokenizer's own pattern cannot be written into the file. These are the byte-level ones of llama.cpp that models of our
families are trained with, as ``src/llama-vocab.cpp`` of October 2026 defines them; the oldest come first, so that a
file runs in as many versions as possible. Several patterns cut one after another.
"""

from dataclasses import dataclass
from typing import Final

_CONTRACTION: Final = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
_GPT2: Final = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
_WORD: Final = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_REST: Final = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"((?=[\p{L}])([^a-z]))", r"((?=[\p{L}])([^A-Z]))"


@dataclass(frozen=True, slots=True)
class PreTokenizer:
    """One of llama.cpp's."""

    name: str
    """Value of ``tokenizer.ggml.pre``."""
    patterns: tuple[str, ...]
    ignore_merges: bool = False
    """A piece that is a token as it stands becomes it, whatever the merges say."""


PRE_TOKENIZERS: Final = (
    PreTokenizer("gpt-2", (_GPT2,)),
    PreTokenizer("smollm", (r"\p{N}", _GPT2)),
    PreTokenizer("qwen2", (rf"{_CONTRACTION}|{_WORD}|\p{{N}}|{_REST}",)),
    PreTokenizer("llama-bpe", (rf"{_CONTRACTION}|{_WORD}|\p{{N}}{{1,3}}|{_REST}",), ignore_merges=True),
    PreTokenizer(
        "tekken",
        (
            rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*"
            r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ),
        ignore_merges=True,
    ),
    PreTokenizer(
        "deepseek-v3",
        (
            r"\p{N}{1,3}",
            "[一-龥぀-ゟ゠-ヿ]+",
            r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
            r"""| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+""",
        ),
    ),
    PreTokenizer("ufakzeka", (rf"{_WORD}|\p{{N}}|{_REST}",)),
)
