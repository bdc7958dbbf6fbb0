"""Tokenizers that differ in all that matters, trained on the fly on a few sentences."""

import json
from collections.abc import Callable
from typing import Any

from tests.tiny_checkpoints import SENTENCES
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
SPECIAL = ["<unk>", "<s>", "</s>"]
TEMPLATE = (
    "{% for m in messages %}[{{ m.role }}] {{ m.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)
KNOWN = frozenset("거실을켜감사합니다열둘셋은이 0123456789abcdefghilmnoprstuv.,")
MORE_SENTENCES = [*SENTENCES, "1 plus 2 is 3", "열둘 더하기 셋은 열다섯이다 🙂", "grandmother's lamp 👩‍👩‍👧"]


def sentence_piece_bpe(size: int = 340) -> PreTrainedTokenizerFast:
    """As Llama 2 has it: a space before every text, spaces as a letter, unknown characters as bytes."""
    core = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    core.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    core.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    trainer = trainers.BpeTrainer(vocab_size=size - 256, special_tokens=_special(SPECIAL), show_progress=False)
    core.train_from_iterator(("".join(filter(KNOWN.__contains__, text)) for text in MORE_SENTENCES), trainer)
    # Bytes are tokens like others, which no text can spell.
    learned = json.loads(core.to_str())["model"]
    vocabulary = learned["vocab"] | {byte: len(learned["vocab"]) + number for number, byte in enumerate(BYTES)}
    merges = [(one, two) for one, two in learned["merges"]]
    core.model = models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    return _wrapped(core)


def unigram(size: int = 420) -> PreTrainedTokenizerFast:
    """As newer SentencePiece models have it: no space before, words apart, unknown characters as bytes."""
    text = "\u2581".join(word for sentence in MORE_SENTENCES for word in sentence.split())
    # Whoever trains one by this library gets another each time; these pieces are as good as trained ones here.
    pieces = [*sorted(set(text)), *sorted({text[at : at + 3] for at in range(0, len(text), 2)})]
    scores = [*((piece, -12.0) for piece in SPECIAL), *((piece, -10.0 + len(piece)) for piece in pieces)]
    scores = [*scores[: size - 256], *((byte, -20.0) for byte in BYTES)]
    core = Tokenizer(models.Unigram(scores, unk_id=0, byte_fallback=True))
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    core.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    core.add_special_tokens(_special(SPECIAL))
    return _wrapped(core)


def bytes_alone() -> PreTrainedTokenizerFast:
    """A byte-level BPE without merges: every byte a token."""
    return _byte_level(SPECIAL, 256 + len(SPECIAL), pre_tokenizers.ByteLevel(add_prefix_space=False))


def digits_apart(size: int = 300) -> PreTrainedTokenizerFast:
    """A byte-level BPE of other words, every digit and every letter before a break a token of its own."""
    split = pre_tokenizers.Split(Regex(r"\d|\s+|[^\s\d]+"), "isolated")
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return _byte_level(SPECIAL, size, pre_tokenizers.Sequence([split, level]))


def composing() -> PreTrainedTokenizerFast:
    """Normalises: composes characters, and has no capitals."""
    tokenizer = digits_apart()
    tokenizer.backend_tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    return tokenizer


def word_piece() -> PreTrainedTokenizerFast:
    """Loses spaces: nobody can tell which bytes a token has."""
    core = Tokenizer(models.WordPiece(unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.decoder = decoders.WordPiece()
    core.train_from_iterator(
        SENTENCES, trainers.WordPieceTrainer(vocab_size=200, special_tokens=SPECIAL, show_progress=False)
    )
    return _wrapped(core)


FAITHFUL: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "sentence piece BPE": sentence_piece_bpe,
    "unigram": unigram,
    "bytes": bytes_alone,
    "digits apart": digits_apart,
}


def _byte_level(special: list[str], size: int, pre_tokenizer: Any) -> PreTrainedTokenizerFast:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizer
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=_special(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(MORE_SENTENCES, trainer)
    return _wrapped(core)


def _special(tokens: list[str]) -> list[AddedToken]:
    return [AddedToken(token, special=True) for token in tokens]


def _wrapped(core: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="<unk>", bos_token="<s>", eos_token="</s>", chat_template=TEMPLATE
    )
