"""BabyAI missions of one object in Korean, one Korean sentence for each English one."""

import re

from seodang.base.errors import InvalidInput

_COLOURS = {"red": "빨간", "green": "초록", "blue": "파란", "purple": "보라", "yellow": "노란", "grey": "회색"}
_KINDS = {"ball": "공", "box": "상자", "key": "열쇠", "door": "문", "object": "물건"}
_PLACES = {
    "on your left": "왼쪽에 있는 ",
    "on your right": "오른쪽에 있는 ",
    "in front of you": "앞에 있는 ",
    "behind you": "뒤에 있는 ",
}
_MISSION = re.compile(
    r"(?P<verb>go to|pick up|open) (?P<article>the|a)"
    rf"(?: (?P<colour>{'|'.join(_COLOURS)}))? (?P<kind>{'|'.join(_KINDS)})(?: (?P<place>{'|'.join(_PLACES)}))?"
)
_ENDINGS_AFTER_VOWEL = {"go to": "로 가", "pick up": "를 집어", "open": "를 열어"}
_ENDINGS_AFTER_CONSONANT = {"go to": "으로 가", "pick up": "을 집어", "open": "을 열어"}


class UnknownMission(InvalidInput):
    """The English mission is outside the grammar of single-object missions."""

    default_reason = "UNKNOWN_MISSION"


def to_korean(mission: str) -> str:
    """Say an English BabyAI mission in Korean: "go to the red ball" is "그 빨간 공으로 가".

    The article is kept ("the" is 그, "a" is 아무), so that no two English missions share a Korean one.

    Raises:
        UnknownMission: the sentence is not a single-object mission.
    """
    match = _MISSION.fullmatch(mission)
    if match is None:
        raise UnknownMission(
            f"no Korean for mission {mission!r}: only 'go to', 'pick up' and 'open' one object are known"
        )
    article = "그 " if match["article"] == "the" else "아무 "
    colour = f"{_COLOURS[match['colour']]} " if match["colour"] else ""
    place = _PLACES[match["place"]] if match["place"] else ""
    kind = _KINDS[match["kind"]]
    # 공, 문 and 물건 end in a consonant; 상자 and 열쇠 in a vowel.
    has_final = (ord(kind[-1]) - ord("가")) % 28 != 0
    endings = _ENDINGS_AFTER_CONSONANT if has_final else _ENDINGS_AFTER_VOWEL
    return f"{place}{article}{colour}{kind}{endings[match['verb']]}"
