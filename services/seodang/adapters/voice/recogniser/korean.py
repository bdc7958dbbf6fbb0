"""How Korean words sound, in the phones of an English acoustic model (ARPAbet as in CMUdict).

Rules of pronunciation (liaison, assimilation, aspiration, palatalisation) are those of standard Korean; which English
phone stands for which Korean sound was chosen by what recognises synthetic Korean speech best.
"""

import itertools
from dataclasses import dataclass, replace

from seodang.adapters.voice.recogniser.automaton import JOINED
from seodang.adapters.voice.recogniser.grammar import NATIVE
from seodang.base.errors import InvalidInput

_LEADS = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"
_VOWELS = "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ"
_TAILS = ["", *"ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ"]
_FIRST, _LAST = ord("가"), ord("힣")
_SILENT = "ㅇ"

_VOWEL_PHONES = {
    "ㅏ": "AA", "ㅐ": "EH", "ㅑ": "Y AA", "ㅒ": "Y EH", "ㅓ": "AO", "ㅔ": "EH", "ㅕ": "Y AO", "ㅖ": "Y EH",
    "ㅗ": "OW", "ㅘ": "W AA", "ㅙ": "W EH", "ㅚ": "W EH", "ㅛ": "Y OW", "ㅜ": "UW", "ㅝ": "W AO", "ㅞ": "W EH",
    "ㅟ": "W IY", "ㅠ": "Y UW", "ㅡ": "UH", "ㅢ": "IY", "ㅣ": "IY",
}  # fmt: skip
_LEAD_PHONES = {
    "ㄱ": "K", "ㄲ": "K", "ㄴ": "N", "ㄷ": "T", "ㄸ": "T", "ㄹ": "R", "ㅁ": "M", "ㅂ": "P", "ㅃ": "P", "ㅅ": "S",
    "ㅆ": "S", "ㅇ": "", "ㅈ": "CH", "ㅉ": "CH", "ㅊ": "CH", "ㅋ": "K", "ㅌ": "T", "ㅍ": "P", "ㅎ": "HH",
}  # fmt: skip
# Between voiced sounds the plain stops are voiced; at the beginning of a word speakers and synthesisers differ.
_VOICED = {"ㄱ": "G", "ㄷ": "D", "ㅂ": "B", "ㅈ": "JH"}
_VOICING = frozenset({"", "N", "M", "NG", "L"})  # codas after which a plain stop is voiced
_PALATAL = frozenset("ㅣㅑㅕㅛㅠㅖㅒㅟ")  # vowels before which ㅅ is SH
_CODA_PHONES = {
    "": "",
    **dict.fromkeys("ㄱㄲㄳㅋㄺ", "K"),
    **dict.fromkeys("ㄴㄵㄶ", "N"),
    **dict.fromkeys("ㄷㅅㅆㅈㅊㅌㅎ", "T"),
    **dict.fromkeys("ㄹㄼㄽㄾㅀ", "L"),
    **dict.fromkeys("ㅁㄻ", "M"),
    **dict.fromkeys("ㅂㅄㅍㄿ", "P"),
    "ㅇ": "NG",
}
# A double coda before a vowel: the first stays, the second moves over.
_SPLIT = {
    "ㄳ": ("ㄱ", "ㅅ"), "ㄵ": ("ㄴ", "ㅈ"), "ㄶ": ("ㄴ", "ㅎ"), "ㄺ": ("ㄹ", "ㄱ"), "ㄻ": ("ㄹ", "ㅁ"),
    "ㄼ": ("ㄹ", "ㅂ"), "ㄽ": ("ㄹ", "ㅅ"), "ㄾ": ("ㄹ", "ㅌ"), "ㄿ": ("ㄹ", "ㅍ"), "ㅀ": ("ㄹ", "ㅎ"),
    "ㅄ": ("ㅂ", "ㅅ"),
}  # fmt: skip
_ASPIRATED = {"ㄱ": "ㅋ", "ㄷ": "ㅌ", "ㅂ": "ㅍ", "ㅈ": "ㅊ"}
_NASALISED = {"K": "NG", "T": "N", "P": "M"}

_DIGITS = "영일이삼사오육칠팔구"
_NATIVE_UNITS = ["", "한", "두", "세", "네", "다섯", "여섯", "일곱", "여덟", "아홉"]
_NATIVE_TENS = ["", "열", "스물", "서른", "마흔", "쉰"]


@dataclass(frozen=True, slots=True)
class _Syllable:
    lead: str
    vowel: str
    tail: str


def pronunciations(word: str) -> list[str]:
    """The ways a word of the grammar may sound, each as phones with blanks between; numbers are read out.

    Raises:
        InvalidInput: the word has something else than Hangul syllables or a number up to 100.
    """
    plain = word.removeprefix(JOINED)
    syllables = _syllables(_read_out(plain))
    at_start = not word.startswith(JOINED)
    # Before a particle that begins with a vowel the last consonant moves over, and is voiced.
    ways = itertools.product((False, True), (True, False) if at_start else (True,))
    return list(dict.fromkeys(_phones(syllables, moves_over, voiced) for moves_over, voiced in ways))


def _read_out(word: str) -> str:
    number = word.removesuffix(NATIVE)
    if not number.isdecimal():
        return word
    tens, units = divmod(int(number), 10)
    if word.endswith(NATIVE):
        return "스무" if number == "20" else _NATIVE_TENS[tens] + _NATIVE_UNITS[units]
    if int(number) < 10:
        return _DIGITS[units]
    if int(number) == 100:
        return "백"
    return (_DIGITS[tens] if tens > 1 else "") + "십" + (_DIGITS[units] if units else "")


def _syllables(word: str) -> list[_Syllable]:
    if not word or not all(_FIRST <= ord(character) <= _LAST for character in word):
        raise InvalidInput(f"{word!r} is not written in Hangul: write names as they are spoken, such as 티비 for TV")
    numbers = [ord(character) - _FIRST for character in word]
    return [_Syllable(_LEADS[n // 588], _VOWELS[n // 28 % 21], _TAILS[n % 28]) for n in numbers]


def _phones(syllables: list[_Syllable], moves_over: bool, voiced_start: bool) -> str:
    """The phones of a word; ``moves_over``: a vowel follows that takes its last consonant."""
    follower = [_Syllable(_SILENT, "ㅏ", "")] if moves_over else []
    linked = _linked([*syllables, *follower])
    phones: list[str] = []
    before = "" if voiced_start else "T"  # what the first consonant takes for the coda before it
    for index, syllable in enumerate(linked):
        lead = _lead_phone(syllable, before, is_first=index == 0)
        if phones and before in _NASALISED and lead in ("N", "M"):
            phones[-1] = _NASALISED[before]
        if phones and lead == "L" and before == "N":
            phones[-1] = "L"
        coda = _CODA_PHONES[syllable.tail]
        is_follower = moves_over and index == len(linked) - 1
        phones += [lead] if is_follower else [lead, _VOWEL_PHONES[syllable.vowel], coda]
        before = coda
        phones = [phone for phone in phones if phone]
    return " ".join(phones)


def _lead_phone(syllable: _Syllable, before: str, *, is_first: bool) -> str:
    lead = syllable.lead
    if lead == "ㄹ" and not is_first and before:
        return "L" if before in ("L", "N") else "N"
    if lead in _VOICED and before in _VOICING:
        return _VOICED[lead]
    if lead in "ㅅㅆ" and syllable.vowel in _PALATAL:
        return "SH"
    return _LEAD_PHONES[lead]


def _linked(syllables: list[_Syllable]) -> list[_Syllable]:
    """With codas moved over to vowels, and ㅎ melted into the stop beside it."""
    linked = [syllables[0]]
    for after in syllables[1:]:
        before = linked[-1]
        stays, moves = _SPLIT.get(before.tail, ("", before.tail))
        if before.tail and before.tail != _SILENT and after.lead == _SILENT:
            moved = _palatalised(moves, after.vowel) if moves != "ㅎ" else _SILENT
            linked[-1], after = replace(before, tail=stays), replace(after, lead=moved)
        elif moves == "ㅎ" and after.lead in _ASPIRATED:
            linked[-1], after = replace(before, tail=stays), replace(after, lead=_ASPIRATED[after.lead])
        elif moves in _ASPIRATED and after.lead == "ㅎ":
            linked[-1], after = replace(before, tail=stays), replace(after, lead=_ASPIRATED[moves])
        linked.append(after)
    return linked


def _palatalised(lead: str, vowel: str) -> str:
    return {"ㄷ": "ㅈ", "ㅌ": "ㅊ"}.get(lead, lead) if vowel == "ㅣ" else lead
