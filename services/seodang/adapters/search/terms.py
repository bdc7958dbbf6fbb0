"""How text becomes the terms that an index holds and a query looks up: one function for both.

Korean glues particles to nouns and Chinese and Japanese write no spaces, so a run of such characters becomes its
first character and its overlapping pairs; words of other scripts are kept whole, without regard to case. Pairs need
no dictionary: ``benchmarks/search.py`` measures them beside SQLite's own tokenisers.
"""

import re
import unicodedata
from typing import Final

MAX_QUERY_TERMS: Final = 256

# Hangul (letters and syllables), Kana, and Han with its extensions.
_PAIRED = r"\u1100-\u11ff\u3040-\u30ff\u3130-\u318f\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f"
_PAIRED += r"\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff"
_RUN = re.compile(rf"(?P<paired>[{_PAIRED}]+)|[^\W_{_PAIRED}]+")


def terms(text: str) -> list[str]:
    """The terms of a text, in order. Each is made of letters and digits alone."""
    found: list[str] = []
    for run in _RUN.finditer(unicodedata.normalize("NFKC", text).casefold()):
        word = run[0]
        if run["paired"]:
            # The first character alone lets a one-syllable query find the words that begin with it.
            found += [word[0], *(word[i : i + 2] for i in range(len(word) - 1))]
        else:
            found.append(word)
    return found


def match_expression(query: str) -> str:
    """A full-text expression that any term of the query satisfies; empty when the query has none.

    A term cannot hold a quotation mark, so nothing in a query is ever read as query syntax.
    """
    unique = list(dict.fromkeys(terms(query)))[:MAX_QUERY_TERMS]
    return " OR ".join(f'"{term}"' for term in unique)
