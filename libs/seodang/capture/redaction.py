"""Personal data and secrets in free text, Korean or English, become typed placeholders such as ``[PHONE]``.

What has a form of its own is found: numbers, addresses of houses, mailboxes and machines, keys. Names of people have
none, so they stay; whoever cannot accept that must not capture.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from seodang.capture.houses import ENGLISH_ADDRESS, KOREAN_ADDRESS
from seodang.capture.numbers import has_birthday, is_bare_resident_number, is_card, is_internet_address, is_phone

# One character for one, so that what is found here stands at the same place in the text as it was written.
_PLAIN: Final = str.maketrans("０１２３４５６７８９－‐‑–—＋＠．：（）　\u00a0", "0123456789-----+@.:()  ")


@dataclass(frozen=True, slots=True)
class Redacted:
    """A text without personal data, and how many pieces of each kind were replaced in it."""

    text: str
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Rule:
    """Replaces the group ``secret`` of a match, or all of it, by ``[kind]``, if ``holds`` says so of that text."""

    kind: str
    pattern: re.Pattern[str]
    holds: Callable[[str], bool] = lambda found: True

    def spans(self, plain: str) -> Iterator[tuple[int, int]]:
        """Where it applies, in order."""
        group = "secret" if "secret" in self.pattern.groupindex else 0
        for match in self.pattern.finditer(plain):
            if self.holds(match[group]):
                yield match.span(group)


def redact(text: str) -> Redacted:
    """The text without what the rules find. Doing it again changes nothing."""
    counts: Counter[str] = Counter()
    plain = text.translate(_PLAIN)
    for rule in _RULES:
        if spans := list(rule.spans(plain)):
            text, plain = (_replaced(each, spans, f"[{rule.kind}]") for each in (text, plain))
            counts[rule.kind] += len(spans)
    return Redacted(text, counts)


def _replaced(text: str, spans: Sequence[tuple[int, int]], placeholder: str) -> str:
    parts, last = [], 0
    for begin, end in spans:
        parts += [text[last:begin], placeholder]
        last = end
    return "".join([*parts, text[last:]])


def _rule(kind: str, pattern: str, holds: Callable[[str], bool] = lambda found: True) -> _Rule:
    # ASCII: a Korean particle ends a number or an address as a space does.
    return _Rule(kind, re.compile(pattern, re.VERBOSE | re.ASCII), holds)


_NUMBER: Final = r"(?<![A-Za-z0-9_+]) (?<!\d[.-]) {body} (?!\d | [.-]\d)"
_KOREAN_AREAS: Final = r"2|3[1-3]|4[1-4]|5[0-5]\d?|6[1-4]|70|80"
# A number may be read aloud: 공일공 일이삼사 오육칠팔.
_SPOKEN: Final = (
    r"(?<![가-힣])공일[공일육칠팔구] (?:[\s,-]*[공영일이삼사오육륙칠팔구]){7,8} (?![공영일이삼사오육륙칠팔구])"
)
_IS: Final = r"(?: \s*(?:[:=]|은|는|이|가)\s* | \ is\ | \s+)"
_PASSWORD: Final = rf"""
    (?: (?i:\bpassw(?:or)?d|\bpassphrase|\bpwd|\bpin) (?:\s*[:=]\s*|\ is\ )
      | (?:비밀\ ?번호|비번|암호|인증\ ?번호) {_IS} )
    ["'`]? (?P<secret> (?=[^\s"'`,;\[\]가-힣]*[0-9!@\#$%^&*]) [^\s"'`,;\[\]가-힣]{{4,200}} )
"""
_NAMED_KEY: Final = r"""
    (?i: api[ _-]?key | access[ _-]?key | secret(?:[ _-]?key)? | token | 토큰 | 키 )
    (?:\s*[:=]\s* | \s*[은는]\s* | \ is\ ) ["'`]?
    (?P<secret> (?=[^\s"'`,;\[\]가-힣]*[0-9]) (?=[^\s"'`,;\[\]가-힣]*[A-Za-z]) [^\s"'`,;\[\]가-힣]{8,400} )
"""

# Earlier rules win: what they replaced holds nothing that a later one finds.
_RULES: Final = (
    _rule(
        "SECRET",
        r"-----BEGIN\ [A-Z ]{0,30}PRIVATE\ KEY-----(?s:.{0,20000}?)(?:-----END\ [A-Z ]{0,30}PRIVATE\ KEY-----|\Z)",
    ),
    _rule("CREDENTIALS", r"\b[a-z][a-z0-9+.-]{1,20}://(?P<secret>[^\s/@:\[\]]{0,200}:[^\s/@\[\]]{1,200})(?=@)"),
    _rule("SECRET", r"\beyJ[\w-]{8,4000}\.[\w-]{4,8000}\.[\w-]{4,4000}"),
    _rule(
        "SECRET",
        r"""\b(?:sk-[\w-]{16,200} | (?:gh[pousr]|github_pat|hf|glpat|xox[abeprs])[_-][\w-]{16,200}
        | (?:AKIA|ASIA)[0-9A-Z]{16} | AIza[\w-]{35})(?![\w-])""",
    ),
    _rule("SECRET", r"(?i:\bbearer|\bbasic)\ +(?P<secret>(?=[A-Za-z]*[0-9+/=._-])[\w+/=.~-]{16,4000})"),
    _rule("SECRET", _PASSWORD),
    _rule("SECRET", _NAMED_KEY),
    _rule("EMAIL", r"(?<![\w.%+-])[\w.%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![A-Za-z0-9])"),
    # Half of it hidden is still a birthday and a sex.
    _rule("RRN", _NUMBER.format(body=r"\d{6}\ ?-\ ?[0-9](?:\d{6}|\*{6}|[xX]{6})"), has_birthday),
    _rule("RRN", _NUMBER.format(body=r"\d{13}"), is_bare_resident_number),
    _rule("CARD", _NUMBER.format(body=r"[2-6](?:[ -]?\d){12,18}"), is_card),
    _rule("ID", r"(?:여권(?:\ ?번호)?|(?i:passport))[^\n0-9A-Z]{0,12}(?P<secret>[A-Z]\d{3}[A-Z0-9]\d{4})(?!\w)"),
    _rule("ID", _NUMBER.format(body=r"(?:1[1-9]|2[0-8])-\d{2}-\d{6}-\d{2}")),
    _rule(
        "ACCOUNT",
        r"""(?:계좌(?:\ ?번호)?|(?i:\baccount|\biban))[^\n0-9A-Z]{0,16}
        (?P<secret>\d(?:-?\d){9,15}|[A-Z]{2}\d{2}(?:\ ?[A-Z0-9]{4}){3,7}(?:\ ?[A-Z0-9]{1,3})?)(?!\w|-\d)""",
    ),
    _rule("ADDRESS", KOREAN_ADDRESS),
    _rule("ADDRESS", ENGLISH_ADDRESS),
    _rule("PHONE", r"(?<![\w.])\+\d{1,3}(?:[ .-]?\(?\d{1,4}\)?){2,6}(?!\d)", is_phone),
    _rule("PHONE", _NUMBER.format(body=r"\(?01[016-9]\)?[ .-]{0,2}\d{3,4}[ .-]?\d{4}")),
    _rule("PHONE", _NUMBER.format(body=rf"\(?0(?:{_KOREAN_AREAS})\)?[ .-]{{0,2}}\d{{3,4}}[ .-]?\d{{4}}")),
    _rule("PHONE", _NUMBER.format(body=r"(?:1[ .-])?(?:\([2-9]\d{2}\)\ ?|[2-9]\d{2}[.-])[2-9]\d{2}[ .-]\d{4}")),
    _rule("PHONE", _SPOKEN),
    _rule("DEVICE", r"(?<![\w:-])[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5}(?![\w:-])"),
    _rule("IP", r"(?<![\w.-])(?:\d{1,3}\.){3}\d{1,3}(?!\w|\.\d)", is_internet_address),
    _rule("IP", r"(?<![\w:.])(?=[0-9A-Fa-f]{0,4}:[0-9A-Fa-f]{0,4}:)[0-9A-Fa-f:]{3,39}(?![\w:])", is_internet_address),
)  # fmt: skip
