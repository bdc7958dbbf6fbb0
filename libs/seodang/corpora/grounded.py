"""Grounded questions: made-up facts hidden among other passages, with the sentence that proves the answer.

Entities and values are drawn at random, so the answer cannot be known but only read. One question in five has no answer
in its passages. Where documents are at hand (``SEODANG_DATA_DIR``), their paragraphs serve as further distractors.
"""

import random
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from seodang.corpora.cloze import Cloze, cloze
from seodang.corpora.files import MissingData, held_out
from seodang.corpora.grounded_words import (
    ANY_VALUES,
    NAME_PARTS,
    NOUNS,
    PERSON_PARTS,
    QUESTION_PATTERNS,
    STATEMENT_PATTERNS,
    WORDS,
)
from seodang.corpora.grounded_world import KINDS, Attribute, Kind
from seodang.corpora.plain_text import paragraphs
from seodang.tasks import Example, search

_NAME_HELD_OUT_ONE_IN = 5
_UNANSWERABLE_SHARE = 0.2
_KNOWN_KIND_SHARE = 0.5
_DOCUMENT_SHARE = 0.25
_DOCUMENT_QUESTIONS = 4
_PASSAGE_COUNTS = (1, 1, 2, 2, 3, 4)
_MAX_DISTRACTOR_CHARACTERS = 220
_PARTICLES = {"은": ("은", "는"), "이": ("이", "가"), "을": ("을", "를")}
_UNITS = {"ko": ("{}일", "{}주", "{}개월", "{}년"), "en": ("{} days", "{} weeks", "{} months", "{} years")}


@dataclass(frozen=True)
class _Sheet:
    """One entity with the attributes that its passage tells, and the sentences telling them."""

    name: str
    kind: Kind
    facts: tuple[tuple[Attribute, str, str], ...]  # (attribute, value, sentence)

    @property
    def passage(self) -> str:
        return " ".join(sentence for _, _, sentence in self.facts)


class _World:
    """Draws entities, values and sentences of one language and split."""

    def __init__(self, language: str, split: str, rng: random.Random) -> None:
        self._language, self._split, self._rng = language, split, rng

    def kind(self) -> Kind:
        """One of the known kinds; in training just as often one with made-up attributes."""
        known = self._rng.choice(KINDS[self._language])
        if self._split == "dev" or self._rng.random() < _KNOWN_KIND_SHARE:
            return known
        nouns = self._rng.sample(NOUNS[self._language], 5)
        return Kind(known.nouns, tuple(self._attribute(noun) for noun in nouns))

    def _attribute(self, noun: str) -> Attribute:
        value = self._rng.choice(ANY_VALUES)
        statements = tuple(_put(pattern, "a", noun) for pattern in STATEMENT_PATTERNS[self._language])
        return Attribute(
            value, statements, tuple(_put(pattern, "a", noun) for pattern in QUESTION_PATTERNS[self._language])
        )

    def sheet(self, kind: Kind) -> _Sheet:
        """An entity of the kind with two to four facts."""
        name = self._name(kind)
        chosen = self._rng.sample(kind.attributes, self._rng.randint(2, min(4, len(kind.attributes))))
        facts = []
        for attribute in chosen:
            value = self._value(attribute.value)
            facts.append((attribute, value, _fill(self._of_split(attribute.statements), name, value)))
        return _Sheet(name, kind, tuple(facts))

    def question(self, attribute: Attribute, name: str) -> str:
        return _fill(self._of_split(attribute.questions), name, "")

    def _of_split(self, sentences: Sequence[str]) -> str:
        """One sentence of each attribute is kept out, not always at the same place, so that no style is kept out."""
        kept = zlib.crc32(sentences[0].encode()) % len(sentences)
        if self._split == "dev":
            return sentences[kept]
        return self._rng.choice([*sentences[:kept], *sentences[kept + 1 :]])

    def _name(self, kind: Kind) -> str:
        while True:
            first, second = PERSON_PARTS[self._language] if not kind.nouns else NAME_PARTS[self._language]
            gap = " " if not kind.nouns and self._language == "en" else ""
            stem = self._rng.choice(first) + gap + self._rng.choice(second)
            if held_out(stem, _NAME_HELD_OUT_ONE_IN) == (self._split == "dev"):
                return f"{stem} {self._rng.choice(kind.nouns)}" if kind.nouns else stem

    def _value(self, value: str) -> str:
        rng, korean = self._rng, self._language == "ko"
        if value in WORDS[self._language]:
            return rng.choice(WORDS[self._language][value])
        match value:
            case "year":
                return f"{rng.randint(1900, 2029)}" + ("년" if korean else "")
            case "count":
                return str(rng.choice((rng.randint(10, 99), rng.randint(100, 999), rng.randint(1, 99) * 100)))
            case "phone":
                return f"0{rng.randint(2, 64)}-{rng.randint(200, 999)}-{rng.randint(1000, 9999)}"
            case "price":
                return f"{rng.randint(1, 99)},{rng.randint(0, 9)}00원" if korean else f"${rng.randint(1, 999)}"
            case "hours":
                hour, minute = rng.randint(1, 12), rng.choice(("", "30"))
                if korean:
                    return f"{rng.choice(('오전', '오후'))} {hour}시" + (f" {minute}분" if minute else "")
                return f"{hour}:{minute or '00'} {rng.choice(('am', 'pm'))}"
            case "weight":
                return f"{rng.randint(1, 30)}.{rng.randint(1, 9)}" + ("킬로그램" if korean else " kg")
            case "duration":
                return rng.choice(_UNITS[self._language]).format(rng.randint(2, 30))
            case "day_count":
                return f"{rng.randint(2, 20)}" + ("일" if korean else " days")
            case "person":
                first, second = PERSON_PARTS[self._language]
                return rng.choice(first) + ("" if korean else " ") + rng.choice(second)
        raise AssertionError(f"no generator for values of kind {value!r}")


def examples(language: str, split: str, seed: int) -> Iterator[Example]:
    """Questions without end with one to four passages each; about one in five has no answer there."""
    return (conversation[0] for conversation in conversations(language, split, seed))


def conversations(language: str, split: str, seed: int) -> Iterator[list[Example]]:
    """Passages without end, each time with several questions on them; the first is what ``examples`` yields."""
    rng = random.Random(f"grounded {language} {split} {seed}")
    world = _World(language, split, rng)
    distractors = _distractors(language, split)
    while True:
        if split == "train" and distractors and rng.random() < _DOCUMENT_SHARE:
            yield _on_documents(rng, distractors, language)
        else:
            yield _conversation(world, rng, distractors, language)


def _conversation(world: _World, rng: random.Random, distractors: Sequence[str], language: str) -> list[Example]:
    kind = world.kind()
    sheets = [world.sheet(kind if rng.random() < 0.6 else world.kind()) for _ in range(rng.choice(_PASSAGE_COUNTS))]
    sheets = list({sheet.name: sheet for sheet in sheets}.values())
    strange = [bool(distractors) and place > 0 and rng.random() < 0.3 for place in range(len(sheets))]
    told = [sheet for sheet, is_strange in zip(sheets, strange, strict=True) if not is_strange]
    passages = [
        rng.choice(distractors) if is_strange else sheet.passage
        for sheet, is_strange in zip(sheets, strange, strict=True)
    ]
    order = rng.sample(passages, len(passages))
    asked = [
        (world.question(attribute, sheet.name), search.Grounded(value, order.index(sheet.passage) + 1, sentence))
        for sheet in told
        for attribute, value, sentence in sheet.facts
    ]
    rng.shuffle(asked)
    turns: list[tuple[str, search.SearchAnswer]] = [*asked]
    turns.insert(0 if rng.random() < _UNANSWERABLE_SHARE else 1, (_unanswerable(world, rng, told), search.NoAnswer()))
    return _examples(turns, order, kind.nouns[0] if kind.nouns else "person", language)


def _on_documents(rng: random.Random, paragraphs_: Sequence[str], language: str) -> list[Example]:
    """Questions on real paragraphs; the one without an answer asks after a paragraph that is not there."""
    order = rng.sample(paragraphs_, rng.choice(_PASSAGE_COUNTS))
    asked: list[tuple[str, search.SearchAnswer]] = []
    while len(asked) < _DOCUMENT_QUESTIONS:
        place = rng.randrange(len(order) + 1)
        text = order[place] if place < len(order) else rng.choice(paragraphs_)
        found: Cloze | None = cloze(text, language, rng)
        if found is None:
            order = rng.sample(paragraphs_, len(order)) if not asked else order
            continue
        known = place < len(order)
        answer = search.Grounded(found.answer, place + 1, found.sentence) if known else search.NoAnswer()
        asked.append((found.question, answer))
    return _examples(asked, order, "document", language)


def _examples(
    turns: Sequence[tuple[str, search.SearchAnswer]], passages: Sequence[str], group: str, language: str
) -> list[Example]:
    return [
        Example(
            messages=tuple(search.messages(search.SearchRequest(question, tuple(passages)))),
            answer=search.render(answer),
            source="grounded",
            group=group,
            language=language,
        )
        for question, answer in turns
    ]


def _unanswerable(world: _World, rng: random.Random, told: Sequence[_Sheet]) -> str:
    """Ask what no passage says: an attribute that an entity's passage leaves out, or of an absent entity."""
    sheet = rng.choice(told)
    untold = [attribute for attribute in sheet.kind.attributes if all(attribute is not fact[0] for fact in sheet.facts)]
    if untold and rng.random() < 0.6:
        return world.question(rng.choice(untold), sheet.name)
    while (absent := world.sheet(sheet.kind)).name in {known.name for known in told}:
        pass
    return world.question(absent.facts[0][0], absent.name)


def _distractors(language: str, split: str) -> list[str]:
    try:
        texts = [text for text in paragraphs(language) if 60 <= len(text) <= _MAX_DISTRACTOR_CHARACTERS]
    except MissingData:  # documented: the made-up part stands alone
        return []
    return [text for text in texts if held_out(text, _NAME_HELD_OUT_ONE_IN) == (split == "dev")]


def _fill(template: str, name: str, value: str) -> str:
    return _put(template, "e", name).replace("{v}", value)


def _put(template: str, mark: str, word: str) -> str:
    """The template with ``{mark}`` replaced by the word, and by the word with a fitting particle in ``{mark은}``."""
    text = template.replace(f"{{{mark}}}", word)
    for particle, (after_consonant, after_vowel) in _PARTICLES.items():
        has_final = (ord(word[-1]) - ord("가")) % 28 != 0
        text = text.replace(f"{{{mark}{particle}}}", word + (after_consonant if has_final else after_vowel))
    return text
