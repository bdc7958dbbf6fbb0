"""What is kept, against both real databases."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from seodang.api.distill.v1 import job_pb2
from seodang.api.types.v1 import fault_pb2
from seodang.base.errors import AlreadyExists, Conflict, InvalidInput, NotFound, Superseded
from seodang.distill.database.unit_of_work import Database
from seodang.distill.jobs.domain import Job, JobState, new_job
from seodang.distill.pagination import encode_token
from seodang.distill.registry.domain import (
    AliasName,
    Cause,
    Draft,
    Node,
    NodeKind,
    StoredFile,
    Version,
    VersionName,
    promotion,
    rollback,
)
from seodang.distill.registry.service import move_alias

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
ALIAS = AliasName("robot", "production")


def job(number: int = 0, student: str = "robot") -> Job:
    spec = job_pb2.JobSpec(student=student, seed=2**40, labels={"누구": "훈장 \0 '\"%s"})
    return new_job(f"00000000-0000-0000-0000-{number:012}", spec, NOW + timedelta(seconds=number))


def point(step: int, subject: str = "student", **values: float) -> job_pb2.CurvePoint:
    return job_pb2.CurvePoint(subject=subject, step=step, loss=1 / step, learning_rate=1e-3, tokens_per_s=9, **values)


async def kept(database: Database, *jobs: Job) -> list[Job]:
    async with database.write() as work:
        for each in jobs:
            await work.jobs.add(each)
        await work.commit()
    return list(jobs)


async def draft(database: Database, number: int, model: str = "robot", passed: bool = True) -> Draft:
    (made_by,) = await kept(database, job(number, model))
    return Draft(
        model=model, job_id=made_by.id, create_time=NOW, parameters=2**40, passed_gate=passed, scores={"exact": 0.5},
        files=(StoredFile("모델.safetensors", 2**40, "a" * 64), StoredFile("config.json", 2, "b" * 64)),
        ancestors=(Node("models/t", NodeKind.TEACHER, {"weights_sha256": "c"}),),
    )  # fmt: skip


async def published(database: Database, number: int, model: str = "robot", passed: bool = True) -> Version:
    made = await draft(database, number, model, passed)
    async with database.write() as work:
        version = await work.versions.add(made)
        await work.commit()
    return version


async def test_a_job_comes_back_as_it_was_kept(database: Database) -> None:
    full = (
        job()
        .claimed(NOW)
        .started(NOW)
        .reported(123, job_pb2.Progress(stage=job_pb2.Progress.STAGE_TRAINING, remaining_s=0.25), "trains", NOW)
        .failed(fault_pb2.Fault(code=13, message="한글"), NOW)
    )
    await kept(database, full)
    async with database.read() as work:
        assert await work.jobs.get(full.id) == full


async def test_what_is_not_committed_did_not_happen(database: Database) -> None:
    made = job()
    async with database.write() as work:
        await work.jobs.add(made)

    async def fail_half_way() -> None:
        async with database.write() as work:
            await work.jobs.add(made)
            raise KeyError

    with pytest.raises(KeyError):
        await fail_half_way()
    async with database.read() as work:
        with pytest.raises(NotFound):
            await work.jobs.get(made.id)


async def test_one_request_makes_one_job(database: Database) -> None:
    first, second = job(), job()
    await kept(database, first)
    with pytest.raises(AlreadyExists):
        await kept(database, second)
    async with database.read() as work:
        assert await work.jobs.by_request(first.request_id) == first


async def test_a_job_that_changed_since_it_was_read_is_not_overwritten(database: Database) -> None:
    (made,) = await kept(database, job())
    async with database.write() as work:
        saved = await work.jobs.save(made.claimed(NOW))
        await work.commit()
    assert saved.revision == made.revision + 1
    async with database.write() as work:
        with pytest.raises(Superseded):
            await work.jobs.save(made.asked_to_stop(NOW))


async def test_writers_of_one_job_wait_for_each_other(database: Database) -> None:
    (made,) = await kept(database, job().claimed(NOW))

    async def count_up() -> None:
        async with database.write() as work:
            found = await work.jobs.get(made.id, lock=True)
            await asyncio.sleep(0.01)
            await work.jobs.save(found.started(NOW))
            await work.commit()

    await asyncio.gather(*(count_up() for _ in range(8)))
    async with database.read() as work:
        assert (await work.jobs.get(made.id)).attempts == 8


async def test_the_queue_gives_the_job_that_waits_longest(database: Database) -> None:
    first, second, third = await kept(database, *(job(n) for n in range(3)))
    async with database.write() as work:
        # The first one was cancelled and resumed, so it goes to the end of the queue.
        late = NOW + timedelta(minutes=1)
        await work.jobs.save(first.asked_to_stop(late).resumed(late))
        await work.jobs.save(third.asked_to_stop(late))
        await work.commit()
    order = []
    for _ in range(3):
        async with database.write() as work:
            if found := await work.jobs.next_queued():
                await work.jobs.save(found.claimed(NOW))
            await work.commit()
            order.append(found.id if found else None)
    assert order == [second.id, first.id, None]


async def test_pages_hold_every_job_once_newest_first_even_while_jobs_are_added(database: Database) -> None:
    made = await kept(database, *(job(n) for n in range(7)))
    names, token = [], ""
    while True:
        async with database.read() as work:
            page = await work.jobs.page([], 3, token)
        names += [each.id for each in page.items]
        token = page.next_token
        if not token:
            break
        await kept(database, job(100 + len(names)))
    assert names == [each.id for each in reversed(made)]


async def test_jobs_of_the_same_moment_are_all_listed(database: Database) -> None:
    made = [
        Job(id=f"j-{n}", request_id=f"{n:036}", spec=job_pb2.JobSpec(), create_time=NOW, update_time=NOW)
        for n in range(5)
    ]
    await kept(database, *made)
    names, token = [], ""
    for _ in range(3):
        async with database.read() as work:
            page = await work.jobs.page([], 2, token)
        names += [each.id for each in page.items]
        token = page.next_token
    assert names == [f"j-{n}" for n in (4, 3, 2, 1, 0)]
    assert token == ""


async def test_a_listing_can_be_narrowed_to_states_and_its_token_belongs_to_it(database: Database) -> None:
    await kept(database, job(1), job(2).claimed(NOW), job(3), job(4).claimed(NOW))
    async with database.read() as work:
        page = await work.jobs.page([JobState.RUNNING], 1, "")
        rest = await work.jobs.page([JobState.RUNNING], 1, page.next_token)
        assert [each.state for each in (*page.items, *rest.items)] == [JobState.RUNNING] * 2
        assert rest.next_token == ""
        with pytest.raises(InvalidInput):
            await work.jobs.page([], 1, page.next_token)


@pytest.mark.parametrize("last", ["", "x", "2026-01-01", "0001-01-01T00:00:00+14:00 j-1", "2026-01-01 a\0b"])
async def test_a_token_that_was_made_up_is_refused(database: Database, last: str) -> None:
    async with database.read() as work:
        with pytest.raises(InvalidInput):
            await work.jobs.page([], 1, encode_token("jobs ", last))


@pytest.mark.parametrize("last", ["", "x", "²", "-1", "9" * 19])
async def test_a_token_of_versions_that_was_made_up_is_refused(database: Database, last: str) -> None:
    async with database.read() as work:
        with pytest.raises(InvalidInput):
            await work.versions.page("", 1, encode_token("versions ", last))


async def test_a_curve_keeps_each_step_of_each_subject_once_in_order(database: Database) -> None:
    (made,) = await kept(database, job())
    batches = [
        [point(1), point(2, eval_loss=0.0)],
        [point(2), point(1), point(3), point(1, "no-teacher")],
        [],
        [point(3), point(2, "no-teacher"), point(4)],
    ]
    for batch in batches:
        async with database.write() as work:
            await work.curves.append(made.id, batch)
            await work.commit()
    expected = [point(1), point(2, eval_loss=0.0), point(3), point(1, "no-teacher"), point(2, "no-teacher"), point(4)]
    async with database.read() as work:
        assert await work.curves.after(made.id, 0, 100) == expected
        assert await work.curves.after(made.id, 2, 3) == expected[2:5]
        assert await work.curves.after(made.id, 99, 3) == []


async def test_a_version_comes_back_as_it_was_drafted(database: Database) -> None:
    made = await draft(database, 1)
    async with database.write() as work:
        version = await work.versions.add(made)
        await work.commit()
    async with database.read() as work:
        assert await work.versions.get(version.name) == version
        assert await work.versions.ancestors(version.name) == made.ancestors
    assert version.name == VersionName("robot", 1)
    assert (version.parameters, version.scores, version.sha256) == (2**40, {"exact": 0.5}, made.sha256)
    assert sorted(file.path for file in version.files) == ["config.json", "모델.safetensors"]


async def test_a_job_makes_one_version_however_often_it_is_published(database: Database) -> None:
    made = await draft(database, 1)
    for _ in range(2):
        async with database.write() as work:
            assert (await work.versions.add(made)).name.number == 1
            await work.commit()


async def test_numbers_count_by_model_and_the_newest_is_the_last(database: Database) -> None:
    for number, model in enumerate(["robot", "search", "robot"]):
        await published(database, number, model)
    async with database.read() as work:
        assert (await work.versions.newest("robot")).name.number == 2
        assert [str(each.name) for each in (await work.versions.page("", 10, "")).items] == [
            "models/robot/versions/2", "models/search/versions/1", "models/robot/versions/1",
        ]  # fmt: skip
        first = await work.versions.page("robot", 1, "")
        rest = await work.versions.page("robot", 1, first.next_token)
        assert [each.name.number for each in (*first.items, *rest.items)] == [2, 1]
        with pytest.raises(InvalidInput):
            await work.versions.page("search", 1, first.next_token)
        with pytest.raises(NotFound):
            await work.versions.newest("voice")


async def test_an_alias_keeps_its_history_through_promotions_and_rollbacks(database: Database) -> None:
    versions = [await published(database, number) for number in range(3)]
    stood = []
    for version in versions:
        async with database.write() as work:
            alias = await move_alias(work, ALIAS, version, "", Cause.PROMOTION, NOW)
            await work.commit()
            stood.append(alias.move.version.number)
    for _ in range(2):
        async with database.write() as work:
            alias = await work.aliases.get(ALIAS)
            alias = await work.aliases.move(alias, rollback(alias, NOW))
            await work.commit()
            stood.append(alias.move.version.number)
    assert stood == [1, 2, 3, 2, 1]
    async with database.read() as work:
        with pytest.raises(Conflict):
            rollback(await work.aliases.get(ALIAS), NOW)
        assert (await work.versions.get(versions[0].name)).aliases == ("production",)
        assert (await work.versions.get(versions[2].name)).aliases == ()


async def test_of_two_moves_that_were_decided_on_the_same_state_one_is_refused(database: Database) -> None:
    versions = [await published(database, number) for number in range(3)]
    async with database.write() as work:
        await move_alias(work, ALIAS, versions[0], "", Cause.PROMOTION, NOW)
        await work.commit()
    async with database.read() as work:
        alias = await work.aliases.get(ALIAS)
    outcomes = []
    for version in versions[1:]:
        try:
            async with database.write() as work:
                await work.aliases.move(alias, promotion(alias, ALIAS, version, Cause.PROMOTION, NOW))
                await work.commit()
            outcomes.append("moved")
        except Superseded:
            outcomes.append("refused")
    assert outcomes == ["moved", "refused"]


async def test_promoting_to_where_the_alias_stands_moves_nothing(database: Database) -> None:
    version = await published(database, 1)
    etags = []
    for _ in range(2):
        async with database.write() as work:
            etags.append((await move_alias(work, ALIAS, version, "", Cause.PROMOTION, NOW)).etag)
            await work.commit()
    assert etags[0] == etags[1]
