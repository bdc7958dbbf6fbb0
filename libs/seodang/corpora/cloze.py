"""Questions on real sentences: one word is replaced by "what", and that word is the answer."""

import random
import re
from dataclasses import dataclass

_SENTENCE_END = re.compile(r"(?<=[.!?]) +")
_KOREAN_WORD = re.compile(r"([가-힣A-Za-z0-9_]{2,})(은|는|이|가|을|를|에서|에|으로|로|의|와|과)")
_ENGLISH_WORD = re.compile(r"[A-Za-z0-9_]{4,}")
_MIN_WORDS, _MAX_WORDS = 4, 22
_MIN_ASKED_WORDS, _MAX_ASKED_WORDS = 4, 9


@dataclass(frozen=True)
class Cloze:
    """A question, the word that answers it, and the sentence that it was made from."""

    question: str
    answer: str
    sentence: str


def cloze(paragraph: str, language: str, rng: random.Random) -> Cloze | None:
    """A question on a random sentence of the paragraph; ``None`` where the sentence has no word to ask for."""
    sentence = rng.choice(_SENTENCE_END.split(paragraph))
    words = sentence.split(" ")
    if not _MIN_WORDS <= len(words) <= _MAX_WORDS or '"' in sentence:
        return None
    pattern = _KOREAN_WORD if language == "ko" else _ENGLISH_WORD
    places = [place for place, word in enumerate(words) if pattern.fullmatch(word)]
    if not places:
        return None
    place = rng.choice(places)
    match = pattern.fullmatch(words[place])
    assert match is not None
    answer, particle = match.groups() if language == "ko" else (words[place], "")
    asked = [*words[:place], f"무엇{particle}" if language == "ko" else "what", *words[place + 1 :]]
    length = rng.randint(_MIN_ASKED_WORDS, _MAX_ASKED_WORDS)
    start = max(0, min(place - rng.randrange(length), len(asked) - length))
    question = " ".join(asked[start : start + length]).rstrip(".!?,:;")
    return Cloze(f"{question}?", answer, sentence)
