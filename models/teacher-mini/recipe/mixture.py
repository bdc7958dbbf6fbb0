"""Batches of packed rows from all sources; batch number n is always the same, so that training resumes exactly.

Shapes: R rows, T tokens a row, P = R*T positions, S selected positions.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pools
import torch
from recipe import Recipe
from tokenizers import Tokenizer
from torch import Tensor
from tutor import EMBEDDED, load
from tutor import TUTORED as TUTORED_CATALOGUES

from seodang.corpora import open_source
from seodang.corpora.plain_text import texts
from seodang.corpora.probes import Turn
from seodang.tasks import Example

_TEXT_WEIGHT = 0.3
_GIVE_UP_AFTER = 12
_PROMPT_TOKENS_LEARNT = 0.25
_DRILL = "drill"
_FIRST_ORDINARY_TOKEN = 7


@dataclass(frozen=True)
class Entry:
    """One example as text, with the row of the tutor's embedding of its request, or -1, and the turns that follow."""

    example: Example | str
    embedding: int = -1
    turns: Sequence[Turn] = ()


@dataclass(frozen=True)
class Batch:
    """Packed rows and what to learn from them."""

    tokens_RT: Tensor
    positions_RT: Tensor
    mask_R1TT: Tensor
    weights_P: Tensor  # of predicting the next token
    dropout_RT1: Tensor
    tutored_S: Tensor  # positions (into P) just before an answer
    embeddings_S: Tensor  # (S, 384) the tutor's view of the request there


@dataclass(frozen=True)
class _Piece:
    tokens: list[int]
    weights: list[float]
    dropout: float
    embedding: int
    answer_at: int


class Mixture:
    """All sources in memory, and how to draw batch number n from them."""

    def __init__(self, recipe: Recipe, tokenizer: Tokenizer, folder: Path) -> None:
        self._recipe, self._tokenizer = recipe, tokenizer
        self._pools: dict[str, list[Entry]] = {}
        embeddings: list[Tensor] = []
        for name in recipe.sources:
            if name in EMBEDDED or name.removesuffix("-tutored") in TUTORED_CATALOGUES:
                tutored = load(folder / "tutor", name)
                first = sum(map(len, embeddings))
                self._pools[name] = [Entry(example, first + row) for row, example in enumerate(tutored.examples)]
                embeddings.append(tutored.embeddings)
            elif recipe.sources[name].pool is not None:
                cases = pools.load(recipe, folder / "pools", name)
                self._pools[name] = [Entry(case.example, turns=case.turns) for case in cases]
            else:
                self._pools[name] = [Entry(example) for example in open_source(name, "train", recipe.seed)]
            print(f"mixture: {name}: {len(self._pools[name])} examples", flush=True)
        for name in recipe.texts:
            self._pools[name] = [Entry(text) for text in texts(name, "train")]
        self._embeddings = torch.cat(embeddings)
        self._shares = {**recipe.sources, **recipe.texts, _DRILL: recipe.drill}
        self._lengths = {name: self._mean_tokens(name) for name in self._shares}

    def batch(self, number: int, rank: int = 0) -> Batch:
        """The part of batch ``number`` that process ``rank`` learns: short rows, or long ones every so often."""
        training = self._recipe.training
        is_long = number % training.long_every == training.long_every - 1
        row_tokens = training.long_row if is_long else training.short_row
        rng = random.Random(f"batch {self._recipe.seed} {number} {rank}")
        names = [name for name, share in self._shares.items() if (share.long if is_long else share.short) > 0]
        odds = [self._share(name, is_long) / self._lengths[name] for name in names]
        rows: list[list[_Piece]] = [[] for _ in range(training.tokens_per_step // row_tokens // training.processes)]
        room = [row_tokens] * len(rows)
        failures = 0
        while failures < _GIVE_UP_AFTER:
            piece = self._piece(rng.choices(names, odds)[0], rng, row_tokens)
            row = next((row for row in range(len(rows)) if room[row] >= len(piece.tokens)), None)
            if row is None:
                failures += 1
                continue
            rows[row].append(piece)
            room[row] -= len(piece.tokens)
        return self._packed(rows, row_tokens)

    def _share(self, name: str, is_long: bool) -> float:
        return self._shares[name].long if is_long else self._shares[name].short

    def _mean_tokens(self, name: str) -> float:
        rng = random.Random(0)
        lengths = [len(self._piece(name, rng, self._recipe.training.long_row).tokens) for _ in range(100)]
        return sum(lengths) / len(lengths)

    def _piece(self, name: str, rng: random.Random, row_tokens: int) -> _Piece:
        if name == _DRILL:
            return self._drill(rng)
        entry, share = rng.choice(self._pools[name]), self._shares[name]
        if isinstance(entry.example, str):
            tokens = self._tokenizer.encode(f"<|bos|>{entry.example}<|end|>").ids[:row_tokens]
            return _Piece(tokens, [_TEXT_WEIGHT] * (len(tokens) - 1) + [0.0], 0.0, -1, -1)
        example = noisy(entry.example, rng) if share.regularised else entry.example
        encode = self._tokenizer.encode
        tokens = encode(prompt_text(example)).ids
        answer_at = len(tokens) - 1
        # A quarter of the prompt's tokens with four times the weight: the same pull, and less work for the head.
        heavy = share.prompt_weight / _PROMPT_TOKENS_LEARNT
        targets = [heavy if heavy and rng.random() < _PROMPT_TOKENS_LEARNT else 0.0 for _ in tokens]
        answer = encode(f"{example.answer}<|end|>").ids
        tokens, targets = tokens + answer, targets + [share.answer_weight] * len(answer)
        for asked, answered in entry.turns:
            question, answer = encode(f"<|user|>{asked}<|assistant|>").ids, encode(f"{answered}<|end|>").ids
            if len(tokens) + len(question) + len(answer) > row_tokens:
                break
            tokens, targets = tokens + question + answer, targets + [0.0] * len(question) + [1.0] * len(answer)
        dropout = self._recipe.training.dropout if share.regularised else 0.0
        return _Piece(tokens, [*targets[1:], 0.0], dropout, entry.embedding, answer_at)

    def _drill(self, rng: random.Random) -> _Piece:
        """Random tokens said twice or thrice: nothing can be known, so the repeats can only be copied."""
        words = [rng.randrange(_FIRST_ORDINARY_TOKEN, self._recipe.vocabulary) for _ in range(rng.randint(4, 40))]
        repeats = rng.randint(1, 2)
        targets = [0.0] * len(words) + ([0.0] + [1.0] * (len(words) - 1)) * repeats
        return _Piece(words * (1 + repeats), [*targets[1:], 0.0], 0.0, -1, -1)

    def _packed(self, rows: list[list[_Piece]], row_tokens: int) -> Batch:
        shape = (len(rows), row_tokens)
        tokens, positions = torch.full(shape, 2), torch.zeros(shape, dtype=torch.long)
        segments, weights, dropout = torch.full(shape, -1), torch.zeros(shape), torch.zeros(shape)
        tutored, embedded = [], []
        for row, pieces in enumerate(rows):
            start = 0
            for number, piece in enumerate(pieces):
                span = slice(start, start + len(piece.tokens))
                tokens[row, span] = torch.tensor(piece.tokens)
                positions[row, span] = torch.arange(len(piece.tokens))
                segments[row, span] = number
                weights[row, span] = torch.tensor(piece.weights)
                dropout[row, span] = piece.dropout
                if piece.embedding >= 0:
                    tutored.append(row * row_tokens + start + piece.answer_at)
                    embedded.append(piece.embedding)
                start += len(piece.tokens)
        same = segments[:, None, :, None] == segments[:, None, None, :]
        causal = torch.ones(row_tokens, row_tokens, dtype=torch.bool).tril()
        return Batch(
            tokens, positions, same & causal, weights.reshape(-1), dropout.unsqueeze(-1),
            torch.tensor(tutored, dtype=torch.long), self._embeddings[embedded],
        )  # fmt: skip


def prompt_text(example: Example) -> str:
    """The example's prompt as the chat template writes it, up to where the assistant speaks."""
    turns = "".join(f"<|{message.role}|>{message.content}" for message in example.messages)
    return f"<|bos|>{turns}<|assistant|>"


def noisy(example: Example, rng: random.Random) -> Example:
    """The example with its request lightly damaged: a word lost, two swapped, a letter wrong, other capitals.

    Words that the answer repeats are left alone.
    """
    words = example.messages[-1].content.split()
    free = [index for index, word in enumerate(words) if word not in example.answer]
    if len(words) > 3 and free and rng.random() < 0.3:
        words[rng.choice(free)] = ""
    if len(free) > 1 and rng.random() < 0.1:
        at = rng.randrange(len(words) - 1)
        words[at], words[at + 1] = words[at + 1], words[at]
    if free and rng.random() < 0.1:
        at = rng.choice(free)
        if len(words[at]) > 3:
            cut = rng.randrange(1, len(words[at]) - 1)
            words[at] = words[at][:cut] + words[at][cut + 1 :]
    text = " ".join(word for word in words if word)
    dice = rng.random()
    if dice < 0.05:
        text = text[:1].upper() + text[1:]
    elif dice < 0.1:
        text = text.rstrip("?.!")
    elif dice < 0.13:
        text += "?"
    last = type(example.messages[-1])(example.messages[-1].role, text)
    return Example((*example.messages[:-1], last), example.answer, example.source, example.group, example.language)
