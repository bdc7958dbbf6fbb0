"""Versions and aliases in the database."""

import json
import re
from collections.abc import Iterable, Sequence

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from seodang.base.errors import InvalidInput, NotFound, Superseded
from seodang.distill.database.tables import AliasMoveRow, AliasRow, FileRow, VersionRow
from seodang.distill.pagination import Page, decode_token, encode_token
from seodang.distill.registry.domain import (
    Alias,
    AliasName,
    Cause,
    Draft,
    Move,
    Node,
    NodeKind,
    StoredFile,
    Version,
    VersionName,
)


class VersionRepository:
    """All versions of all models. Changes count once the unit of work is committed."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, draft: Draft) -> Version:
        """Gives a draft the next number of its model; a job that has a version already gets that one again.

        Raises:
            Superseded: another version of the model was added at the same time.
        """
        if present := await self._where(VersionRow.job_id == draft.job_id):
            return present[0]
        last = await self._session.scalar(select(func.max(VersionRow.number)).where(VersionRow.model == draft.model))
        row = VersionRow(
            model=draft.model,
            number=(last or 0) + 1,
            job_id=draft.job_id,
            create_time=draft.create_time,
            parameters=draft.parameters,
            sha256=draft.sha256,
            passed_gate=draft.passed_gate,
            scores=json.dumps(dict(draft.scores)),
            ancestors=json.dumps([[node.id, node.kind, dict(node.facts)] for node in draft.ancestors]),
        )
        self._session.add(row)
        try:
            await self._session.flush()
        except IntegrityError as error:
            raise Superseded(f"models/{draft.model} got another version at the same time: try again") from error
        self._session.add_all(
            FileRow(version_id=row.id, path=file.path, bytes=file.bytes, sha256=file.sha256) for file in draft.files
        )
        await self._session.flush()
        return (await self._where(VersionRow.id == row.id))[0]

    async def get(self, name: VersionName) -> Version:
        """One version.

        Raises:
            NotFound: there is none of that name.
        """
        version = await self.find(name)
        if version is None:
            raise _no_version(name)
        return version

    async def find(self, name: VersionName) -> Version | None:
        """The version of that name, if it exists."""
        found = await self._where(VersionRow.model == name.model, VersionRow.number == name.number)
        return found[0] if found else None

    async def newest(self, model: str) -> Version:
        """The version of the highest number.

        Raises:
            NotFound: the model has none.
        """
        found = await self._where(VersionRow.model == model, limit=1)
        if not found:
            raise NotFound(f"no model models/{model}: no job has published one", metadata={"model": f"models/{model}"})
        return found[0]

    async def ancestors(self, name: VersionName) -> tuple[Node, ...]:
        """What went into a version, as it was recorded when the version was made.

        Raises:
            NotFound: there is no version of that name.
        """
        here = (VersionRow.model == name.model, VersionRow.number == name.number)
        text = await self._session.scalar(select(VersionRow.ancestors).where(*here))
        if text is None:
            raise _no_version(name)
        return tuple(Node(identity, NodeKind(kind), facts) for identity, kind, facts in json.loads(text))

    async def page(self, model: str, size: int, token: str) -> Page[Version]:
        """Versions of a model (empty: of all), newest first."""
        listing = f"versions {model}"
        limits: list[ColumnElement[bool]] = [VersionRow.model == model] if model else []
        if (last := decode_token(token, listing)) is not None:
            if not re.fullmatch("[0-9]{1,18}", last):
                raise InvalidInput("page_token belongs to no page of this listing", field="page_token")
            limits.append(VersionRow.id < int(last))
        rows = await self._rows(*limits, limit=size + 1)
        more = len(rows) > size
        next_token = encode_token(listing, str(rows[size - 1].id)) if more else ""
        return Page(tuple(await self._versions(rows[:size])), next_token)

    async def _where(self, *limits: ColumnElement[bool], limit: int = 1) -> list[Version]:
        return await self._versions(await self._rows(*limits, limit=limit))

    async def _rows(self, *limits: ColumnElement[bool], limit: int) -> Sequence[VersionRow]:
        newest = select(VersionRow).where(*limits).order_by(VersionRow.id.desc()).limit(limit)
        return (await self._session.scalars(newest)).all()

    async def _versions(self, rows: Iterable[VersionRow]) -> list[Version]:
        ids = [row.id for row in rows]
        files: dict[int, list[StoredFile]] = {each: [] for each in ids}
        aliases: dict[int, list[str]] = {each: [] for each in ids}
        wanted = select(FileRow).where(FileRow.version_id.in_(ids)).order_by(FileRow.path)
        for file in await self._session.scalars(wanted):
            files[file.version_id].append(StoredFile(file.path, file.bytes, file.sha256))
        standing = select(AliasMoveRow.version_id, AliasMoveRow.alias).join(
            AliasRow, AliasRow.move_id == AliasMoveRow.id
        )
        for version_id, alias in await self._session.execute(standing.where(AliasMoveRow.version_id.in_(ids))):
            aliases[version_id].append(alias)
        return [_version(row, files[row.id], aliases[row.id]) for row in rows]


class AliasRepository:
    """Where every alias stands, and every move that brought it there."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def find(self, name: AliasName) -> Alias | None:
        """The alias, if it exists."""
        move_id = await self._session.scalar(
            select(AliasRow.move_id).where(AliasRow.model == name.model, AliasRow.alias == name.alias)
        )
        if move_id is None:
            return None
        row = await self._session.get_one(AliasMoveRow, move_id)
        previous = await self._session.get_one(AliasMoveRow, row.previous_id) if row.previous_id else None
        return Alias(
            move_id=move_id, move=await self._move(row), previous=await self._move(previous) if previous else None
        )

    async def get(self, name: AliasName) -> Alias:
        """The alias.

        Raises:
            NotFound: nothing was ever promoted to it.
        """
        alias = await self.find(name)
        if alias is None:
            raise NotFound(f"no alias {name}: PromoteVersion makes it", metadata={"alias": str(name)})
        return alias

    async def move(self, alias: Alias | None, move: Move) -> Alias:
        """Records a move of ``alias`` (None: it is new) and lets the alias stand where it ends.

        Raises:
            Superseded: the alias moved in between.
        """
        name = move.name
        row = AliasMoveRow(
            model=name.model,
            alias=name.alias,
            version_id=await self._version_id(move.version),
            previous_id=move.previous_id,
            cause=move.cause,
            time=move.time,
        )
        self._session.add(row)
        try:
            await self._session.flush()
            await self._stand(name, alias, row.id)
        except IntegrityError as error:
            raise Superseded(f"{name} was made by somebody else at the same time: read it again") from error
        return await self.get(name)

    async def _stand(self, name: AliasName, alias: Alias | None, move_id: int) -> None:
        if alias is None:
            self._session.add(AliasRow(model=name.model, alias=name.alias, move_id=move_id))
            await self._session.flush()
            return
        here = (AliasRow.model == name.model, AliasRow.alias == name.alias, AliasRow.move_id == alias.move_id)
        done = await self._session.execute(
            update(AliasRow).where(*here).values(move_id=move_id).returning(AliasRow.alias)
        )
        if done.one_or_none() is None:
            raise Superseded(f"{name} moved at the same time: read it again and decide anew")

    async def _version_id(self, name: VersionName) -> int:
        here = (VersionRow.model == name.model, VersionRow.number == name.number)
        return (await self._session.scalars(select(VersionRow.id).where(*here))).one()

    async def _move(self, row: AliasMoveRow) -> Move:
        version = await self._session.get_one(VersionRow, row.version_id)
        return Move(
            name=AliasName(row.model, row.alias),
            version=VersionName(version.model, version.number),
            previous_id=row.previous_id,
            cause=Cause(row.cause),
            time=row.time,
        )


def _no_version(name: VersionName) -> NotFound:
    return NotFound(f"no version {name}: ListVersions tells which there are", metadata={"version": str(name)})


def _version(row: VersionRow, files: Iterable[StoredFile], aliases: Iterable[str]) -> Version:
    return Version(
        name=VersionName(row.model, row.number),
        job_id=row.job_id,
        create_time=row.create_time,
        parameters=row.parameters,
        files=tuple(files),
        sha256=row.sha256,
        passed_gate=row.passed_gate,
        scores=json.loads(row.scores),
        aliases=tuple(sorted(aliases)),
    )
