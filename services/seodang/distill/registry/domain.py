"""Versions never change; aliases move, one recorded move at a time, and never to a version that failed its gate."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Self

from seodang.base.errors import Conflict, InvalidInput, Superseded

_WORD = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})"
_MODEL = re.compile(rf"models/({_WORD})")
_VERSION = re.compile(rf"models/({_WORD})/versions/([1-9][0-9]{{0,8}})")
_ALIAS = re.compile(rf"models/({_WORD})@({_WORD})")


@dataclass(frozen=True, slots=True, order=True)
class VersionName:
    """``models/{model}/versions/{number}``; numbers of a model count from 1."""

    model: str
    number: int

    def __str__(self) -> str:
        return f"models/{self.model}/versions/{self.number}"

    @classmethod
    def parse(cls, text: str, field: str) -> Self:
        """Reads the resource name that came in ``field``."""
        found = cls.match(text)
        if found is None:
            raise InvalidInput(f"{field}={text[:120]!r} is not models/{{model}}/versions/{{number}}", field=field)
        return found

    @classmethod
    def match(cls, text: str) -> Self | None:
        """The name, if ``text`` is one."""
        found = _VERSION.fullmatch(text)
        return cls(found[1], int(found[2])) if found else None


@dataclass(frozen=True, slots=True)
class AliasName:
    """``models/{model}@{alias}``."""

    model: str
    alias: str

    def __str__(self) -> str:
        return f"models/{self.model}@{self.alias}"

    @classmethod
    def parse(cls, text: str, field: str) -> Self:
        """Reads the resource name that came in ``field``."""
        found = _ALIAS.fullmatch(text)
        if not found:
            raise InvalidInput(f"{field}={text[:120]!r} is not models/{{model}}@{{alias}}", field=field)
        return cls(found[1], found[2])


def parse_model(text: str, field: str) -> str:
    """The model of ``models/{model}``."""
    found = _MODEL.fullmatch(text)
    if not found:
        raise InvalidInput(f"{field}={text[:120]!r} is not models/{{model}}", field=field)
    return found[1]


def checked_word(text: str, field: str) -> str:
    """``text``, if it can be the name of a model or an alias."""
    if not re.fullmatch(_WORD, text):
        raise InvalidInput(
            f"{field}={text[:80]!r}: use 1 to 63 letters, digits and hyphens, no hyphen first", field=field
        )
    return text


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file of a version; ``path`` is relative, with forward slashes."""

    path: str
    bytes: int
    sha256: str


def files_sha256(files: Iterable[StoredFile]) -> str:
    """SHA-256 over the files in order of path, each as the line that ``sha256sum`` prints for it."""
    lines = "".join(f"{file.sha256}  {file.path}\n" for file in sorted(files, key=lambda file: file.path))
    return hashlib.sha256(lines.encode()).hexdigest()


class NodeKind(StrEnum):
    """What something in a lineage is."""

    TEACHER = "teacher"
    DATA = "data"
    RECIPE = "recipe"
    CODE = "code"
    STUDENT = "student"
    EVALUATION = "evaluation"


@dataclass(frozen=True, slots=True)
class Node:
    """Something that went into a version, or came out of it; ``facts`` are its digests, licence, seed and the like."""

    id: str
    kind: NodeKind
    facts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Lineage:
    """Nodes, ancestors first, and edges (from, to): what went into what."""

    nodes: tuple[Node, ...]
    edges: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A version that has no number yet."""

    model: str
    job_id: str
    create_time: datetime
    parameters: int
    files: tuple[StoredFile, ...]
    passed_gate: bool
    scores: Mapping[str, float]
    ancestors: tuple[Node, ...]

    @property
    def sha256(self) -> str:
        """Identity of the content."""
        return files_sha256(self.files)


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """An immutable student. ``aliases`` are those that point at it now."""

    name: VersionName
    job_id: str
    create_time: datetime
    parameters: int
    files: tuple[StoredFile, ...]
    sha256: str
    passed_gate: bool
    scores: Mapping[str, float]
    aliases: tuple[str, ...]


class Cause(StrEnum):
    """Why an alias moved."""

    GATE = "gate"
    PROMOTION = "promotion"
    ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """An alias came to stand for ``version``. A rollback goes back to the move ``previous_id``."""

    name: AliasName
    version: VersionName
    previous_id: int | None
    cause: Cause
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """Where an alias stands: the move that brought it there, and the one that a rollback goes back to."""

    move_id: int
    move: Move
    previous: Move | None

    @property
    def etag(self) -> str:
        """Changes with every move."""
        return str(self.move_id)


def promotion(alias: Alias | None, name: AliasName, version: Version, cause: Cause, now: datetime) -> Move:
    """The move that points ``name`` at ``version``.

    Raises:
        Conflict: the version did not pass its gate.
    """
    if not version.passed_gate:
        raise Conflict(
            f"{version.name} did not pass its gate, so {name} cannot stand for it: see the verdict of "
            f"jobs/{version.job_id}",
            reason="GATE_NOT_PASSED",
            metadata={"version": str(version.name), "job": f"jobs/{version.job_id}"},
        )
    previous_id = alias.move_id if alias else None
    return Move(name=name, version=version.name, previous_id=previous_id, cause=cause, time=now)


def rollback(alias: Alias, now: datetime) -> Move:
    """The move back to the version that the alias stood for before; again and again, back to its first.

    Raises:
        Conflict: it never stood for another version.
    """
    if alias.previous is None:
        raise Conflict(
            f"{alias.move.name} has stood for {alias.move.version} since it exists: there is nothing to go back to",
            reason="NO_PREVIOUS_VERSION",
        )
    return Move(
        name=alias.move.name,
        version=alias.previous.version,
        previous_id=alias.previous.previous_id,
        cause=Cause.ROLLBACK,
        time=now,
    )


def check_etag(alias: Alias | None, name: AliasName, etag: str) -> None:
    """Refuses a caller who decided on an older state of the alias; an empty ``etag`` checks nothing.

    Raises:
        Superseded: the alias has moved since.
    """
    if etag and (alias is None or alias.etag != etag):
        now = f"it stands for {alias.move.version} now" if alias else "it does not exist now"
        raise Superseded(f"{name} has moved since etag {etag!r}: {now}; read it again and decide anew")
