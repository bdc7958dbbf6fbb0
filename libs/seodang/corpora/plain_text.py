"""Plain text for learning the languages, read from ``SEODANG_DATA_DIR``; nothing under a share-alike licence."""

import re
from collections.abc import Callable, Iterator, Mapping

from seodang.corpora.files import held_out, rows

_HELD_OUT_ONE_IN = 50
_MIN_CHARACTERS = 20
_FAVOURABLE_RATING = 8
_MARKUP = re.compile(
    r":[a-z:]+:`~?!?([^`<]*?)(?: *<[^>]*>)?`|``([^`]*)``|`([^`<]*?)(?: *<[^>]*>)?`_*|\*\*?([^*]+)\*\*?"
)


def _novels() -> Iterator[str]:
    """Runs of whole paragraph lines of about a thousand characters (public domain)."""
    for row in rows("english_novels.jsonl.gz"):
        chunk: list[str] = []
        for line in row["text"].lstrip("\N{ZERO WIDTH NO-BREAK SPACE}").splitlines():
            chunk.append(line.strip())
            if sum(map(len, chunk)) > 1_000:
                yield " ".join(chunk)
                chunk = []


def _tatoeba() -> Iterator[str]:
    """A sentence and its translation, either first (CC BY 2.0 FR)."""
    for row in rows("tatoeba_koen.jsonl.gz"):
        yield f"{row['en']}\n{row['ko']}"
        yield f"{row['ko']}\n{row['en']}"


def _python_docs(language: str) -> Iterator[str]:
    for row in rows("python_docs_koen.jsonl.gz"):
        text = _MARKUP.sub(lambda match: next(group for group in match.groups() if group is not None), row[language])
        yield text.replace("\\ ", "").replace("\\", "").removesuffix("::")


def _korean_tech_docs() -> Iterator[str]:
    for row in rows("korean_tech_docs.jsonl.gz"):
        if "LICENSE" not in row["path"]:
            yield from (block.strip() for block in row["text"].split("\n\n"))


def _nsmc() -> Iterator[str]:
    """Favourable film reviews only: the others teach a tone that no reply should have (CC0)."""
    for row in rows("nsmc_reviews.jsonl.gz"):
        if row["rating"] >= _FAVOURABLE_RATING:
            yield row["text"]


TEXTS: Mapping[str, Callable[[], Iterator[str]]] = {
    "english_novels": _novels,
    "tatoeba": _tatoeba,
    "python_docs_en": lambda: _python_docs("en"),
    "python_docs_ko": lambda: _python_docs("ko"),
    "korean_tech_docs": _korean_tech_docs,
    "nsmc": _nsmc,
}


def texts(name: str, split: str) -> Iterator[str]:
    """The pieces of one plain text, in file order; every fiftieth is kept out for measuring.

    Raises:
        MissingData: the file is not in ``SEODANG_DATA_DIR``.
    """
    for text in TEXTS[name]():
        if len(text) >= _MIN_CHARACTERS and held_out(text, _HELD_OUT_ONE_IN) == (split == "dev"):
            yield text


def paragraphs(language: str) -> Iterator[str]:
    """Paragraphs of Python's documentation in ``en`` or ``ko``, on one line each and without markup.

    Raises:
        MissingData: the file is not in ``SEODANG_DATA_DIR``.
    """
    for text in _python_docs(language):
        yield " ".join(text.split())
