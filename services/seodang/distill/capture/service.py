"""What capture decides: what is kept of an exchange, what is frozen, and what is forgotten."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Final

from seodang.api.capture.v1 import capture_pb2
from seodang.base.errors import InvalidInput, NotFound, Unavailable
from seodang.distill.capture.domain import (
    Census,
    DatasetVersion,
    DatasetVersionName,
    Kept,
    Policy,
    Pseudonyms,
    Tally,
    cleaned,
    parse_dataset,
)
from seodang.distill.capture.files import DatasetFiles
from seodang.distill.clock import Clock, utc_now
from seodang.distill.database.unit_of_work import Database, UnitOfWork
from seodang.distill.pagination import Page, checked_size
from seodang.distillation.spec import Captured

log = logging.getLogger(__name__)

_AT_ONCE: Final = 128
_LONGEST_REQUEST_ID: Final = 128
_EXPIRE_EVERY_S: Final = 600.0
_TRY_AGAIN_S: Final = 10.0


class CaptureService:
    """Keeps, freezes and forgets. One of these at a time, so that nothing erased slips into what is being frozen."""

    def __init__(
        self,
        database: Database,
        files: DatasetFiles,
        pseudonyms: Pseudonyms,
        tenant_bytes: int,
        clock: Clock = utc_now,
    ) -> None:
        self._database = database
        self._files = files
        self._pseudonyms = pseudonyms
        self._tenant_bytes = tenant_bytes
        self._clock = clock
        self._turn = asyncio.Lock()

    async def set_policy(self, policy: Policy) -> Policy:
        """Sets what may be kept of a tenant from now on.

        Raises:
            InvalidInput: with the path of the field.
        """
        policy.check()
        async with self._turn, self._database.write() as work:
            await work.captures.save_policy(policy)
            await work.commit()
        return policy

    async def policies(self, tenant: str, page_size: int, page_token: str) -> Page[Policy]:
        """What may be kept of one tenant or, without one, of all that ever had a policy, by name."""
        async with self._database.read() as work:
            return await work.captures.policy_page(tenant, checked_size(page_size), page_token)

    async def append(self, interactions: AsyncIterator[capture_pb2.Interaction]) -> Tally:
        """Keeps what may be kept; what was kept when a stream breaks stays kept.

        Raises:
            InvalidInput: an interaction without request_id, or whose dataset is not named as one.
        """
        tally = Tally()
        batch: list[capture_pb2.Interaction] = []
        async for interaction in interactions:
            batch.append(interaction)
            if len(batch) == _AT_ONCE:
                await self._keep(batch, tally)
                batch = []
        if batch:
            await self._keep(batch, tally)
        return tally

    async def freeze(self, dataset: str, request_id: str) -> DatasetVersion:
        """What is kept of a dataset as its next version; the last version again if it would be the same.

        Raises:
            InvalidInput: a bad name or request_id. NotFound: nothing is kept of the dataset.
        """
        name = parse_dataset(dataset, "dataset")
        if len(request_id) > _LONGEST_REQUEST_ID:
            raise InvalidInput(f"request_id has more than {_LONGEST_REQUEST_ID} characters", field="request_id")
        async with self._turn, self._database.write() as work:
            if request_id and (present := await work.datasets.made_by(request_id)):
                return present
            last = await work.datasets.newest(name)
            target = DatasetVersionName(name, last.name.number + 1 if last else 1)
            self._files.discard(target)
            if not await work.captures.holds(name):
                raise NotFound(f"nothing is kept of {dataset}: is there a policy, and traffic that people agreed to?")
            census, captured = await self._files.write(target, work.captures.by_prompt(name))
            if last and not last.withdrawn and last.sha256 == captured.sha256:
                self._files.discard(target)
                return last
            version = await self._draft(work, target, census, captured)
            await work.datasets.add(version, request_id, census.subjects)
            await work.commit()
        return version

    async def page(self, dataset: str, page_size: int, page_token: str) -> Page[DatasetVersion]:
        """Versions of ``datasets/{dataset}`` or, without one, of all, newest first."""
        name = parse_dataset(dataset, "dataset") if dataset else ""
        async with self._database.read() as work:
            return await work.datasets.page(name, checked_size(page_size), page_token)

    async def erase(self, tenant: str, subject: str, refuse: bool | None) -> tuple[int, Sequence[DatasetVersion]]:
        """Forgets all of a subject; says how many exchanges, and which versions are withdrawn for it."""
        pseudonym = self._pseudonyms.of("subject", tenant, subject)
        async with self._turn:
            async with self._database.write() as work:
                erased = await work.captures.erase(tenant, pseudonym)
                versions = await work.datasets.holding(tenant, pseudonym)
                await work.datasets.withdraw(versions)
                if refuse is not None:
                    await work.captures.refuse(tenant, pseudonym, refuse)
                await work.commit()
            await self._wipe(versions)
        return erased, versions

    async def forget_expired(self) -> None:
        """Forgets what is older than its tenant's policy allows, and finishes what a killed process left undone."""
        now = self._clock()
        async with self._turn:
            async with self._database.write() as work:
                for policy in (await work.captures.policies()).values():
                    if policy.retention_days:
                        await work.captures.expire(policy.tenant, now - timedelta(days=policy.retention_days))
                await work.datasets.withdraw(await work.datasets.expired(now))
                versions = await work.datasets.all()
                await work.commit()
            await asyncio.to_thread(self._files.sweep, [version.name for version in versions])
            await self._wipe([version for version in versions if version.withdrawn])

    async def keep_forgetting(self) -> None:
        """Forgets what expires, for ever."""
        while True:
            try:
                await self.forget_expired()
                pause_s = _EXPIRE_EVERY_S
            except (Unavailable, OSError) as error:
                # Neither the database nor a file that cannot be removed may take the jobs of this server with it.
                log.error("what expired is not forgotten yet, it is tried again in %g s: %s", _TRY_AGAIN_S, error)
                pause_s = _TRY_AGAIN_S
            await asyncio.sleep(pause_s)

    async def _wipe(self, versions: Sequence[DatasetVersion]) -> None:
        """Takes withdrawn versions off the disk; jobs that still read one are emptied once they have ended."""
        async with self._database.read() as work:
            jobs = await work.jobs.ended_on({str(version.name) for version in versions})
        for version in versions:
            await asyncio.to_thread(self._files.withdraw, version.name)
        for job_id in jobs:
            await asyncio.to_thread(self._files.empty_job, job_id)
        await self._database.wipe()

    async def _draft(
        self, work: UnitOfWork, name: DatasetVersionName, census: Census, captured: Captured
    ) -> DatasetVersion:
        now = self._clock()
        policies = await work.captures.policies(census.tenants)
        ends = [end for policy in policies.values() if (end := policy.expiry(now)) is not None]
        return DatasetVersion(
            name=name,
            interactions=captured.interactions,
            prompts=captured.prompts,
            sha256=captured.sha256,
            create_time=now,
            expire_time=min(ends, default=None),
            first_time=census.times[0],
            last_time=census.times[-1],
            redactions=captured.redactions,
            tenants=tuple(sorted(census.tenants)),
            models=captured.models,
            consents=captured.consents,
        )

    async def _keep(self, batch: Sequence[capture_pb2.Interaction], tally: Tally) -> None:
        async with self._turn:
            allowed = await self._allowed(batch, tally)
            # Some milliseconds each, which nobody else should wait for.
            clean = await asyncio.to_thread(lambda: [each() for each in allowed])
            fit = [kept for kept in clean if kept is not None]
            tally.dropped_unfit += len(clean) - len(fit)
            async with self._database.write() as work:
                weights = defaultdict(int, await work.captures.bytes_of({kept.tenant for kept in fit}))
                stored: list[Kept] = []
                for kept in fit:
                    if weights[kept.tenant] + kept.bytes <= self._tenant_bytes:
                        weights[kept.tenant] += kept.bytes
                        stored.append(kept)
                await work.captures.add(stored)
                await work.commit()
        tally.dropped_full += len(fit) - len(stored)
        tally.redactions += sum(sum(kept.redactions.values()) for kept in stored)
        tally.stored += len(stored)

    async def _allowed(self, batch: Sequence[capture_pb2.Interaction], tally: Tally) -> list[Callable[[], Kept | None]]:
        """How to clean each interaction that may be kept and is not yet."""
        exchanges = [self._exchange(each) for each in batch]
        subjects = [self._pseudonyms.of("subject", each.tenant, each.subject) for each in batch]
        people = {(each.tenant, subject) for each, subject in zip(batch, subjects, strict=True)}
        async with self._database.read() as work:
            policies = await work.captures.policies({each.tenant for each in batch})
            refused = await work.captures.refused(people)
            known = await work.captures.known(exchanges)
        allowed: list[Callable[[], Kept | None]] = []
        for interaction, exchange, subject in zip(batch, exchanges, subjects, strict=True):
            policy = policies.get(interaction.tenant)
            if policy is None or not policy.allows(interaction, exchange) or (policy.tenant, subject) in refused:
                tally.dropped_by_policy += 1
            elif exchange in known:
                tally.duplicates += 1
            else:
                known.add(exchange)
                allowed.append(partial(cleaned, interaction, exchange, subject, policy.consent, self._clock()))
        return allowed

    def _exchange(self, interaction: capture_pb2.Interaction) -> str:
        if not 1 <= len(interaction.request_id) <= _LONGEST_REQUEST_ID:
            raise InvalidInput(
                f"interaction.request_id must have 1 to {_LONGEST_REQUEST_ID} characters: it tells copies apart",
                field="interaction.request_id",
            )
        return self._pseudonyms.of("request", interaction.tenant, interaction.request_id)
