"""What search is about: documents, the passages they fall into, and answers that stand on them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Final

from seodang.base.errors import InvalidInput

MAX_TEXT_BYTES: Final = 2**20
MAX_ID_BYTES: Final = 200
# A title is indexed with every passage of its document, so it must stay short.
MAX_TITLE_BYTES: Final = 1000
MAX_URI_BYTES: Final = 2000
MAX_METADATA_BYTES: Final = 16 * 2**10
MAX_QUERY_CHARACTERS: Final = 2000

_INDEX_NAME = re.compile(r"indexes/(?P<id>[a-z0-9][a-z0-9_-]{0,62})")


@dataclass(frozen=True, slots=True)
class Span:
    """Characters ``start`` to ``end`` (exclusive) of a text, counted in Unicode code points."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Document:
    """A text to be found."""

    id: str
    title: str
    text: str
    uri: str = ""
    metadata: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document: ``text`` is the document's text from ``span.start`` to ``span.end``."""

    document_id: str
    title: str
    uri: str
    text: str
    span: Span
    score: float


@dataclass(frozen=True, slots=True)
class IndexSize:
    """How much an index holds."""

    documents: int
    passages: int


@dataclass(frozen=True, slots=True)
class Citation:
    """A quote that stands in ``passages[passage]``, and where it stands in that passage's document."""

    passage: int
    document_id: str
    quote: str
    span: Span


class Outcome(Enum):
    """How an answer ended."""

    GROUNDED = "grounded"
    NO_ANSWER = "no answer"
    UNGROUNDED = "ungrounded"


def index_id(name: str) -> str:
    """The last part of "indexes/{index}".

    Raises:
        InvalidInput: the name has another form; it becomes a file's name, so nothing else is let through.
    """
    match = _INDEX_NAME.fullmatch(name)
    if match is None:
        raise InvalidInput(
            f"index={name[:100]!r}: must be indexes/ and 1 to 63 of a-z, 0-9, - and _, such as indexes/manuals",
            field="index",
        )
    return match["id"]


def check_document(document: Document, field_path: str) -> None:
    """Refuses a document that has no id or no text, or whose parts are too large.

    Raises:
        InvalidInput: naming the field, its size and the limit.
    """
    metadata_bytes = sum(_bytes(key) + _bytes(value) for key, value in document.metadata.items())
    for name, size, limit in (
        ("id", _bytes(document.id), MAX_ID_BYTES),
        ("title", _bytes(document.title), MAX_TITLE_BYTES),
        ("text", _bytes(document.text), MAX_TEXT_BYTES),
        ("uri", _bytes(document.uri), MAX_URI_BYTES),
        ("metadata", metadata_bytes, MAX_METADATA_BYTES),
    ):
        if size > limit:
            raise InvalidInput(
                f"{field_path}.{name} is {size} bytes, more than {limit}: shorten or split it",
                field=f"{field_path}.{name}",
            )
    for name, value in (("id", document.id), ("text", document.text)):
        if not value.strip():
            raise InvalidInput(f"{field_path}.{name} is empty: every document needs one", field=f"{field_path}.{name}")


def check_query(text: str, field_name: str) -> None:
    """Refuses a query or question that is too long.

    Raises:
        InvalidInput: naming the field.
    """
    if len(text) > MAX_QUERY_CHARACTERS:
        raise InvalidInput(
            f"{field_name} is {len(text)} characters, more than {MAX_QUERY_CHARACTERS}: shorten it", field=field_name
        )


def _bytes(text: str) -> int:
    return len(text.encode())
