"""What the registry decides: which version a name means, and when an alias may move."""

import asyncio
from collections.abc import AsyncIterator, Collection
from datetime import datetime

from seodang.base.errors import InvalidInput
from seodang.distill.clock import Clock, utc_now
from seodang.distill.database.unit_of_work import Database, UnitOfWork
from seodang.distill.pagination import Page, checked_size
from seodang.distill.registry.domain import (
    Alias,
    AliasName,
    Cause,
    Lineage,
    Node,
    NodeKind,
    StoredFile,
    Version,
    VersionName,
    check_etag,
    checked_word,
    parse_model,
    promotion,
    rollback,
)
from seodang.distill.registry.files import VersionFiles


class RegistryService:
    """Versions, aliases and lineage."""

    def __init__(self, database: Database, files: VersionFiles, clock: Clock = utc_now) -> None:
        self._database = database
        self._files = files
        self._clock = clock

    async def get(self, name: str) -> Version:
        """The version of that resource name."""
        async with self._database.read() as work:
            return await work.versions.get(VersionName.parse(name, "name"))

    async def page(self, parent: str, page_size: int, page_token: str) -> Page[Version]:
        """Versions of ``models/{model}`` or, without a parent, of all models, newest first."""
        model = parse_model(parent, "parent") if parent else ""
        async with self._database.read() as work:
            return await work.versions.page(model, checked_size(page_size), page_token)

    async def resolve(self, name: str) -> Version:
        """The version that an alias, a version's name or a model's name stands for."""
        async with self._database.read() as work:
            if "@" in name:
                alias = await work.aliases.get(AliasName.parse(name, "name"))
                return await work.versions.get(alias.move.version)
            if "/versions/" in name:
                return await work.versions.get(VersionName.parse(name, "name"))
            return await work.versions.newest(parse_model(name, "name"))

    async def promote(self, version: str, alias: str, etag: str) -> Alias:
        """Points an alias at a version that passed its gate; if it stands there already, nothing moves."""
        name = VersionName.parse(version, "version")
        target = AliasName(name.model, checked_word(alias, "alias"))
        async with self._database.write() as work:
            moved = await move_alias(work, target, await work.versions.get(name), etag, Cause.PROMOTION, self._clock())
            await work.commit()
        return moved

    async def roll_back(self, name: str, etag: str) -> Alias:
        """Points an alias back at the version it stood for before."""
        target = AliasName.parse(name, "name")
        async with self._database.write() as work:
            alias = await work.aliases.get(target)
            check_etag(alias, target, etag)
            moved = await work.aliases.move(alias, rollback(alias, self._clock()))
            await work.commit()
        return moved

    async def lineage(self, version: str) -> Lineage:
        """What made a version, and what made its teachers where they are versions of this registry too."""
        async with self._database.read() as work:
            nodes: dict[str, Node] = {}
            edges: list[tuple[str, str]] = []
            await _collect(work, await work.versions.get(VersionName.parse(version, "version")), nodes, edges)
        return Lineage(tuple(nodes.values()), tuple(edges))

    async def download(
        self, version: str, paths: Collection[str], skip_bytes: int
    ) -> AsyncIterator[tuple[str, int, bytes]]:
        """The files of a version, or those of ``paths``, as (path, offset, at most 1 MiB), without the first bytes."""
        async with self._database.read() as work:
            found = await work.versions.get(VersionName.parse(version, "version"))
        chosen = _chosen(found, paths)
        total = sum(file.bytes for file in chosen)
        if not 0 <= skip_bytes <= total:
            raise InvalidInput(f"skip_bytes={skip_bytes}: these files have {total} bytes", field="skip_bytes")
        for file in chosen:
            skipped = min(skip_bytes, file.bytes)
            skip_bytes -= skipped
            if skipped and skipped == file.bytes:
                continue
            chunks = self._files.chunks(found.sha256, file, skipped)
            while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
                yield file.path, *chunk

    def folder(self, version: Version) -> str:
        """Where the files of a version lie on this host."""
        return str(self._files.folder(version.sha256))


async def move_alias(
    work: UnitOfWork, name: AliasName, version: Version, etag: str, cause: Cause, now: datetime
) -> Alias:
    """Promotes within a unit of work that the caller commits."""
    alias = await work.aliases.find(name)
    check_etag(alias, name, etag)
    move = promotion(alias, name, version, cause, now)
    if alias and alias.move.version == version.name:
        return alias
    return await work.aliases.move(alias, move)


async def _collect(work: UnitOfWork, version: Version, nodes: dict[str, Node], edges: list[tuple[str, str]]) -> None:
    for node in await work.versions.ancestors(version.name):
        teacher = VersionName.match(node.id) if node.kind is NodeKind.TEACHER else None
        distilled_here = await work.versions.find(teacher) if teacher else None
        if distilled_here and node.id not in nodes:
            await _collect(work, distilled_here, nodes, edges)
        nodes.setdefault(node.id, node)
        edges.append((node.id, str(version.name)))
    student, evaluation = str(version.name), f"{version.name}/evaluation"
    facts = {"sha256": version.sha256, "parameters": str(version.parameters), "job": f"jobs/{version.job_id}"}
    scores = {metric: f"{value:.6g}" for metric, value in version.scores.items()}
    nodes[student] = Node(student, NodeKind.STUDENT, facts)
    nodes[evaluation] = Node(evaluation, NodeKind.EVALUATION, {"passed_gate": str(version.passed_gate), **scores})
    edges.append((student, evaluation))


def _chosen(version: Version, paths: Collection[str]) -> list[StoredFile]:
    by_path = {file.path: file for file in version.files}
    unknown = [path for path in paths if path not in by_path]
    if unknown:
        raise InvalidInput(
            f"{version.name} has no file {unknown[0]!r}: it has {', '.join(sorted(by_path))}", field="paths"
        )
    return [by_path[path] for path in paths] if paths else list(version.files)
