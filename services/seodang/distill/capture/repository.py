"""Policies, captured exchanges and frozen versions in the database."""

import json
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, delete, func, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from seodang.distill.capture.domain import DatasetVersion, DatasetVersionName, Kept, Policy
from seodang.distill.database.tables import (
    CapturePolicyRow,
    CaptureRefusalRow,
    DatasetSubjectRow,
    DatasetVersionRow,
    InteractionRow,
)
from seodang.distill.pagination import Page, decode_token, encode_token

_AT_ONCE: Final = 500


class CaptureRepository:
    """Policies, refusals and exchanges. Changes count once the unit of work is committed."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def save_policy(self, policy: Policy) -> None:
        """Keeps a tenant's policy instead of the one before."""
        await self._session.merge(
            CapturePolicyRow(
                tenant=policy.tenant,
                enabled=policy.enabled,
                sample_rate=policy.sample_rate,
                retention_days=policy.retention_days,
                consent=policy.consent,
            )
        )

    async def policies(self, tenants: Collection[str] | None = None) -> dict[str, Policy]:
        """The policies of these tenants, or all, by tenant."""
        query = select(CapturePolicyRow)
        if tenants is not None:
            query = query.where(CapturePolicyRow.tenant.in_(tenants))
        return {row.tenant: _policy(row) for row in await self._session.scalars(query)}

    async def policy_page(self, tenant: str, size: int, token: str) -> Page[Policy]:
        """At most ``size`` policies, by tenant, after the page that ``token`` came from."""
        listing = f"policies {tenant}"
        query = select(CapturePolicyRow).order_by(CapturePolicyRow.tenant).limit(size + 1)
        if tenant:
            query = query.where(CapturePolicyRow.tenant == tenant)
        after = decode_token(token, listing)
        if after is not None:
            query = query.where(CapturePolicyRow.tenant > after)
        found = [_policy(row) for row in await self._session.scalars(query)]
        following = encode_token(listing, found[size - 1].tenant) if len(found) > size else ""
        return Page(tuple(found[:size]), following)

    async def refuse(self, tenant: str, subject: str, refused: bool) -> None:
        """Sets whether nothing of a subject is kept."""
        if refused:
            await self._session.merge(CaptureRefusalRow(tenant=tenant, subject=subject))
        else:
            here = (CaptureRefusalRow.tenant == tenant, CaptureRefusalRow.subject == subject)
            await self._session.execute(delete(CaptureRefusalRow).where(*here))

    async def refused(self, subjects: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
        """Which of these (tenant, subject) refuse."""
        key = tuple_(CaptureRefusalRow.tenant, CaptureRefusalRow.subject)
        rows = await self._session.execute(
            select(CaptureRefusalRow.tenant, CaptureRefusalRow.subject).where(key.in_(subjects))
        )
        return {(tenant, subject) for tenant, subject in rows}

    async def known(self, exchanges: Collection[str]) -> set[str]:
        """Which of these exchanges are kept already."""
        found = select(InteractionRow.exchange).where(InteractionRow.exchange.in_(exchanges))
        return set(await self._session.scalars(found))

    async def bytes_of(self, tenants: Collection[str]) -> dict[str, int]:
        """What is kept of each tenant weighs."""
        query = select(InteractionRow.tenant, func.sum(InteractionRow.bytes)).where(InteractionRow.tenant.in_(tenants))
        rows = await self._session.execute(query.group_by(InteractionRow.tenant))
        return {tenant: int(total) for tenant, total in rows}

    async def add(self, every: Iterable[Kept]) -> None:
        """Keeps exchanges that are not there yet."""
        self._session.add_all(
            InteractionRow(
                exchange=kept.exchange,
                tenant=kept.tenant,
                subject=kept.subject,
                dataset=kept.dataset,
                model=kept.model,
                time=kept.time,
                prompt_sha256=kept.prompt_sha256,
                messages=kept.messages,
                answer=kept.answer,
                redactions=json.dumps(dict(kept.redactions)),
                consent=kept.consent,
                bytes=kept.bytes,
            )
            for kept in every
        )
        await self._session.flush()

    async def by_prompt(self, dataset: str) -> AsyncIterator[Kept]:
        """All exchanges of a dataset, those of one prompt after another, oldest first."""
        query = select(InteractionRow).where(InteractionRow.dataset == dataset)
        query = query.order_by(InteractionRow.prompt_sha256, InteractionRow.time, InteractionRow.id)
        rows = await self._session.stream_scalars(query.execution_options(yield_per=_AT_ONCE))
        async for row in rows:
            yield _kept(row)

    async def holds(self, dataset: str) -> bool:
        """Whether anything is kept of a dataset."""
        found = select(InteractionRow.id).where(InteractionRow.dataset == dataset).limit(1)
        return await self._session.scalar(found) is not None

    async def erase(self, tenant: str, subject: str) -> int:
        """Removes all of a subject; says how many exchanges there were."""
        return await self._delete(InteractionRow.tenant == tenant, InteractionRow.subject == subject)

    async def expire(self, tenant: str, before: datetime) -> int:
        """Removes what is older; says how many exchanges there were."""
        return await self._delete(InteractionRow.tenant == tenant, InteractionRow.time < before)

    async def _delete(self, *where: ColumnElement[bool]) -> int:
        gone = await self._session.execute(delete(InteractionRow).where(*where).returning(InteractionRow.id))
        return len(gone.all())


class DatasetRepository:
    """Frozen versions. Changes count once the unit of work is committed."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, version: DatasetVersion, request_id: str, subjects: Collection[tuple[str, str]]) -> None:
        """Keeps a version, and of whom it holds something."""
        facts = {
            "redactions": dict(version.redactions),
            "tenants": version.tenants,
            "models": version.models,
            "consents": version.consents,
        }
        row = DatasetVersionRow(
            dataset=version.name.dataset,
            number=version.name.number,
            request_id=request_id or None,
            interactions=version.interactions,
            prompts=version.prompts,
            sha256=version.sha256,
            create_time=version.create_time,
            expire_time=version.expire_time,
            first_time=version.first_time,
            last_time=version.last_time,
            facts=json.dumps(facts, ensure_ascii=False),
            withdrawn=False,
        )
        self._session.add(row)
        await self._session.flush()
        self._session.add_all(
            DatasetSubjectRow(version_id=row.id, tenant=tenant, subject=subject) for tenant, subject in subjects
        )
        await self._session.flush()

    async def made_by(self, request_id: str) -> DatasetVersion | None:
        """The version that a request made."""
        found = await self._where(DatasetVersionRow.request_id == request_id)
        return found[0] if found else None

    async def newest(self, dataset: str) -> DatasetVersion | None:
        """The last version of a dataset, withdrawn or not."""
        query = select(DatasetVersionRow).where(DatasetVersionRow.dataset == dataset)
        row = await self._session.scalar(query.order_by(DatasetVersionRow.number.desc()).limit(1))
        return _version(row) if row else None

    async def all(self) -> list[DatasetVersion]:
        """Every version, withdrawn or not."""
        return await self._where()

    async def holding(self, tenant: str, subject: str) -> list[DatasetVersion]:
        """Those not yet withdrawn that hold something of a subject."""
        ids = select(DatasetSubjectRow.version_id).where(
            DatasetSubjectRow.tenant == tenant, DatasetSubjectRow.subject == subject
        )
        return await self._where(DatasetVersionRow.id.in_(ids), DatasetVersionRow.withdrawn.is_(False))

    async def expired(self, now: datetime) -> list[DatasetVersion]:
        """Those not yet withdrawn whose time is over."""
        return await self._where(DatasetVersionRow.expire_time < now, DatasetVersionRow.withdrawn.is_(False))

    async def withdraw(self, versions: Sequence[DatasetVersion]) -> None:
        """Notes that these may no longer be used."""
        key = tuple_(DatasetVersionRow.dataset, DatasetVersionRow.number)
        names = [(version.name.dataset, version.name.number) for version in versions]
        await self._session.execute(update(DatasetVersionRow).where(key.in_(names)).values(withdrawn=True))

    async def page(self, dataset: str, size: int, token: str) -> Page[DatasetVersion]:
        """Versions of a dataset, or of all, newest first."""
        listing = f"datasets {dataset}"
        query = select(DatasetVersionRow).order_by(DatasetVersionRow.id.desc()).limit(size + 1)
        if dataset:
            query = query.where(DatasetVersionRow.dataset == dataset)
        if (last := decode_token(token, listing)) is not None:
            query = query.where(DatasetVersionRow.id < int(last))
        rows = list(await self._session.scalars(query))
        next_token = encode_token(listing, str(rows[size - 1].id)) if len(rows) > size else ""
        return Page(tuple(_version(row) for row in rows[:size]), next_token)

    async def _where(self, *where: ColumnElement[bool]) -> list[DatasetVersion]:
        rows = await self._session.scalars(select(DatasetVersionRow).where(*where).order_by(DatasetVersionRow.id))
        return [_version(row) for row in rows]


def _policy(row: CapturePolicyRow) -> Policy:
    return Policy(row.tenant, row.enabled, row.sample_rate, row.retention_days, row.consent)


def _kept(row: InteractionRow) -> Kept:
    redactions: Mapping[str, int] = json.loads(row.redactions)
    return Kept(
        row.exchange, row.tenant, row.subject, row.dataset, row.model, row.time, row.messages, row.answer, redactions,
        row.consent,
    )  # fmt: skip


def _version(row: DatasetVersionRow) -> DatasetVersion:
    facts = json.loads(row.facts)
    return DatasetVersion(
        name=DatasetVersionName(row.dataset, row.number),
        interactions=row.interactions,
        prompts=row.prompts,
        sha256=row.sha256,
        create_time=row.create_time,
        expire_time=row.expire_time,
        first_time=row.first_time,
        last_time=row.last_time,
        redactions=facts["redactions"],
        tenants=tuple(facts["tenants"]),
        models=tuple(facts["models"]),
        consents=tuple(facts["consents"]),
        withdrawn=row.withdrawn,
    )
