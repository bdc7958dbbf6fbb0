"""The teacher's own tokenizer: byte-level BPE over Korean and English, digits one by one."""

import itertools
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from seodang.corpora import SOURCES, open_source
from seodang.corpora.intents import INTENT_SETS
from seodang.corpora.plain_text import TEXTS, texts

BOS, END, PAD = "<|bos|>", "<|end|>", "<|pad|>"
SPECIAL_TOKENS = [BOS, END, PAD, "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>"]
CONTEXT_TOKENS = 1024
# A word with the space before it, one digit, a run of punctuation, or space.
_PIECES = Regex(r" ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+")
_CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_GENERATED_EXAMPLES = 4_000
_PUBLISHED_REPEATS = 4
_CHARACTERS_A_TEXT = 300_000


def train(vocabulary: int, folder: Path) -> None:
    """Learn the merges from the training splits and write ``tokenizer.json`` and ``tokenizer_config.json``."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(_PIECES, "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_training_text(), trainer)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=END,
        pad_token=PAD,
        chat_template=_CHAT_TEMPLATE,
        model_max_length=CONTEXT_TOKENS,
        clean_up_tokenization_spaces=False,
    ).save_pretrained(folder)


def _training_text() -> Iterator[str]:
    """Published requests several times over, so that their words become tokens; made-up names must stay in pieces."""
    for name in SOURCES:
        published = name in INTENT_SETS or name == "songys"
        for example in open_source(name, "train", seed=1, limit=None if published else _GENERATED_EXAMPLES):
            for text in (*(message.content for message in example.messages), example.answer):
                yield from itertools.repeat(text, _PUBLISHED_REPEATS if published else 1)
    for name in TEXTS:
        left = _CHARACTERS_A_TEXT
        for text in texts(name, "train"):
            yield text
            left -= len(text)
            if left < 0:
                break
