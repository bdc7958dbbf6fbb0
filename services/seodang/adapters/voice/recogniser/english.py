"""How English words sound: CMUdict, with numbers read out and endings that join a word."""

import itertools
import re
from pathlib import Path

from pocketsphinx import get_model_path

from seodang.adapters.voice.recogniser.automaton import JOINED
from seodang.base.errors import InvalidInput

_ENDINGS = {"s": ["S", "Z", "AH Z"], "d": ["D", "T"], "ed": ["D", "T", "IH D"], "matic": ["M AE T IH K"]}
_UNITS = [
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
]
_TENS = ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
# Compounds of the templates that CMUdict lists in parts only.
_COMPOUNDS = {"unmute": ("un", "mute"), "unpause": ("un", "pause")}
_PREFIX_PHONES = {"un": ["AH N"]}


class EnglishDictionary:
    """CMUdict in memory, for as long as a grammar is being made."""

    def __init__(self) -> None:
        self._words: dict[str, list[str]] = {}
        path = Path(get_model_path("en-us/cmudict-en-us.dict"))
        for line in path.read_text(encoding="utf-8").splitlines():
            word, phones = line.split(maxsplit=1)
            self._words.setdefault(re.sub(r"\(\d+\)$", "", word), []).append(phones)

    def pronunciations(self, word: str) -> list[str]:
        """The ways a word of the grammar may sound.

        Raises:
            InvalidInput: CMUdict does not have it.
        """
        if word.startswith(JOINED) and word.removeprefix(JOINED) in _ENDINGS:
            return _ENDINGS[word.removeprefix(JOINED)]
        plain = word.removeprefix(JOINED)
        if plain.isdecimal():
            return self._joined(_read_out(int(plain)))
        return self._joined(list(_COMPOUNDS.get(plain, (plain,))))

    def _joined(self, parts: list[str]) -> list[str]:
        return [" ".join(way) for way in itertools.product(*(self._look_up(part) for part in parts))]

    def _look_up(self, word: str) -> list[str]:
        if word in _PREFIX_PHONES:
            return _PREFIX_PHONES[word]
        if word not in self._words:
            raise InvalidInput(f"{word!r} is not in the dictionary of English: write it in words that are")
        return self._words[word]


def _read_out(number: int) -> list[str]:
    if number == 100:
        return ["one", "hundred"]
    if number < 20:
        return [_UNITS[number]]
    tens, units = divmod(number, 10)
    return [_TENS[tens], _UNITS[units]] if units else [_TENS[tens]]
