"""Texts that tell two tokenizers apart: everyday sentences, short runs of unlike characters, every token alone."""

from collections.abc import Iterable, Iterator
from itertools import product
from typing import Final

_SENTENCES: Final = (
    "안녕하세요, 거실 불 좀 켜 줄래요? 온도는 23.5도로 맞춰 주세요.",
    "내일 오전 9시 30분에 '회의'라고 알려 줘!!! 고마워요~ ㅎㅎ",
    "Don't say 'turn on' twice; it's the teachers' job (I'm sure we'll see), isn't it?",
    "The mission: go to the RED ball, then open door #2 — 100% done.",
    '{"name": "turn_on", "arguments": {"room": "거실", "level": -3.0e2}}',
    "- one\n- two\n  - three\n\n1. 하나\n2. 둘\n\n\n```python\ndef f(x):\n    return x  # note\n```\n",
    "서울특별시 中區 세종대로 110, ☎ 02-120 😀👍🏽 café naïve Ångström ½ m² ①②③",
    "https://example.com/a?b=c&d=%20e  user@example.co.kr  C:\\temp\\x.txt",
)
"""Ours; what people write to the adapters, and what a tokenizer most easily gets wrong in it."""

_KINDS: Final = (
    *("a", "camelCase", "가나다", "漢", "e\u0301", "1", "½", ".", "'", "'s", '"', "(", "😀"),
    *(" ", "  ", "   ", "\t", "\n", "\r\n", "\u00a0"),
)
_MORE_KINDS: Final = (
    *("Word", "ㅋㅋ", "é", "\u1112\u1161\u11ab", "2026", "...", "'tell", "_", "/", "+=", "❤️"),
    *("    ", "\n\n", "\u3000"),
)


def probes(token_texts: Iterable[str]) -> Iterator[str]:
    """All of them, about 9,000 beside the tokens."""
    yield from _SENTENCES
    yield from ("".join(run) for run in product((*_KINDS, *_MORE_KINDS), repeat=2))
    yield from ("".join(run) for run in product(_KINDS, repeat=3))
    yield from (text for text in token_texts if text)
