"""CaptureService behind a real door: what is kept, what is frozen, what is forgotten."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.integration.distill.conftest import Start
from tests.integration.distill.exchanges import (
    CONSENT,
    allow,
    append,
    days_ago,
    erase,
    exchange,
    found_on_disk,
    freeze,
    prompts_of,
    versions,
)
from tests.integration.distill.requests import create, finished, job_spec, resume, run, until_step

from seodang.api.capture.v1 import capture_pb2 as pb
from seodang.api.distill.v1 import job_pb2
from seodang.api.inference.v1 import chat_pb2
from seodang.base.errors import InvalidInput, NotFound
from seodang.client import AsyncClient
from seodang.distill.capture.domain import Policy, Pseudonyms
from seodang.distill.capture.files import DatasetFiles
from seodang.distill.capture.service import CaptureService
from seodang.distill.database.unit_of_work import Database
from seodang.distill.server import running_server
from seodang.distill.settings import DistillSettings

PRIVATE = "제 번호는 010-1234-5678, 메일은 hong@example.com"


async def test_nothing_is_kept_unless_a_policy_and_the_person_say_so(start: Start) -> None:
    client = await start()
    assert (await append(client, exchange("1"))).dropped_by_policy == 1
    await allow(client, enabled=False)
    assert (await append(client, exchange("2"))).dropped_by_policy == 1
    await allow(client)
    done = await append(client, exchange("3", consented=False), exchange("4", tenant="other"), exchange("5"))
    assert (done.stored, done.dropped_by_policy) == (1, 2)
    with pytest.raises(NotFound, match="nothing is kept of datasets/robot"):
        await freeze(client, "datasets/robot")


async def test_personal_data_and_pseudonyms_never_reach_the_disk(start: Start, settings: DistillSettings) -> None:
    client = await start()
    await allow(client)
    answer = "010-1234-5678로 전화할게요."
    done = await append(client, exchange("order of hong-17", PRIVATE, answer, subject="hong-17"))
    assert (done.stored, done.redactions) == (1, 3)
    version = await freeze(client)
    secrets = ("1234-5678", "hong@example.com", "hong-17")
    assert found_on_disk(settings.state_dir, secrets) == {}
    (line,) = prompts_of(settings.state_dir, version)
    assert line["messages"][-1] == {"role": "user", "content": "제 번호는 [PHONE], 메일은 [EMAIL]"}
    assert (line["answer"], line["language"]) == ("[PHONE]로 전화할게요.", "ko")
    assert dict(version.redactions) == {"PHONE": 2, "EMAIL": 1}


async def test_equal_prompts_are_kept_once_and_copies_not_at_all(start: Start, settings: DistillSettings) -> None:
    client = await start()
    await allow(client)
    now = datetime.now(UTC)
    older, newer = days_ago(now, 2), days_ago(now, 1)
    done = await append(
        client,
        exchange("1", "몇 시야?", "모르겠어요.", time=older),
        exchange("1", "몇 시야?", "모르겠어요.", time=older),
        exchange("2", "몇 시야?", "한 시예요.", time=newer, subject="user-2"),
        exchange("3", "What time is it?", "It is one.", time=newer, model="models/chat/versions/3"),
    )
    assert (done.stored, done.duplicates) == (3, 1)
    assert (await append(client, exchange("1"))).duplicates == 1
    version = await freeze(client)
    assert (version.name, version.interactions, version.prompts) == ("datasets/chat/versions/1", 3, 2)
    kept = {line["messages"][-1]["content"]: line for line in prompts_of(settings.state_dir, version)}
    assert kept["몇 시야?"]["answer"] == "한 시예요."
    assert kept["What time is it?"]["language"] == "en"
    assert version.first_time.ToSeconds() == older.ToSeconds()
    assert version.last_time.ToSeconds() == newer.ToSeconds()
    assert list(version.models) == ["models/chat/versions/2", "models/chat/versions/3"]
    assert (list(version.tenants), list(version.consents)) == (["shop"], [CONSENT])
    assert version.license == "LicenseRef-Consented-Traffic"


async def test_a_version_never_changes_and_a_new_one_needs_something_new(
    start: Start, settings: DistillSettings
) -> None:
    client = await start()
    await allow(client)
    await append(client, exchange("1", "하나"))
    first = await freeze(client, request_id="once")
    assert await freeze(client) == first
    await append(client, exchange("2", "둘"))
    assert await freeze(client, request_id="once") == first
    second = await freeze(client)
    assert (second.name, second.prompts) == ("datasets/chat/versions/2", 2)
    assert len(prompts_of(settings.state_dir, first)) == 1
    assert await versions(client) == [second, first]
    assert await versions(client, "datasets/other") == []


async def test_what_no_job_could_use_is_counted_and_dropped(start: Start) -> None:
    client = await start(capture_tenant_bytes=400)
    await allow(client)
    tools = chat_pb2.ChatPrompt(
        messages=[chat_pb2.Message(role=chat_pb2.ROLE_USER, content="불 켜")], tools=[chat_pb2.Tool(name="on")]
    )
    done = await append(
        client,
        exchange("1", answer=" "),
        exchange("2", "가" * 16_001),
        exchange("3", prompt=tools),
        exchange("4", prompt=chat_pb2.ChatPrompt()),
        exchange("5", "가" * 50),
        exchange("6", "가" * 50),
    )
    assert (done.dropped_unfit, done.stored, done.dropped_full) == (4, 1, 1)


async def test_a_share_of_the_traffic_can_be_kept(start: Start) -> None:
    client = await start()
    await allow(client, sample_rate=0.25)
    done = await append(client, *(exchange(str(number), str(number)) for number in range(400)))
    assert 60 < done.stored < 140
    assert done.stored + done.dropped_by_policy == 400
    again = await append(client, *(exchange(str(number), str(number)) for number in range(400)))
    assert (again.stored, again.duplicates) == (0, done.stored)


async def test_a_person_is_forgotten_and_versions_with_them_are_withdrawn(
    start: Start, settings: DistillSettings
) -> None:
    client = await start()
    await allow(client)
    everyone = [exchange(f"other {n}", f"비가 {n}번 왔어", subject="user-2") for n in range(30)]
    await append(client, *everyone[:20])
    before = await freeze(client)
    await append(client, exchange("mine", "제 고양이는 나비예요", subject="user-1"), *everyone[20:])
    holding = await freeze(client)
    done = await erase(client, "user-1")
    assert (done.erased, list(done.withdrawn_versions)) == (1, [holding.name])
    assert found_on_disk(settings.state_dir, ["고양이"]) == {}
    listed = {version.name: version.withdrawn for version in await versions(client)}
    assert listed == {before.name: False, holding.name: True}
    with pytest.raises(InvalidInput, match="versions/2 was withdrawn: freeze the dataset anew"):
        await create(client, job_spec(data=job_pb2.DataSpec(dataset_version=holding.name)))
    after = await freeze(client)
    assert (after.name, after.prompts) == ("datasets/chat/versions/3", 30)
    assert (await erase(client, "user-1")).erased == 0


async def test_a_person_can_refuse_and_agree_again(start: Start) -> None:
    client = await start()
    await allow(client)
    await erase(client, "user-1", refuse=True)
    await erase(client, "user-1")
    assert (await append(client, exchange("1"))).dropped_by_policy == 1
    assert (await append(client, exchange("2", subject="user-2"))).stored == 1
    await erase(client, "user-1", refuse=False)
    assert (await append(client, exchange("3"))).stored == 1


async def test_a_job_names_a_version_as_its_data_and_is_told_what_is_wrong(start: Start) -> None:
    client = await start()
    await allow(client)
    await append(client, *(exchange(str(n), f"{n} 더하기 1은?", str(n + 1)) for n in range(12)))
    version = await freeze(client)
    made = await create(client, job_spec(data=job_pb2.DataSpec(dataset_version=version.name)))
    assert made.spec.data.dataset_version == version.name
    for name, words in (
        ("datasets/chat/versions/7", "no datasets/chat/versions/7 on this server"),
        ("datasets/../versions/1", "is not datasets/{dataset}/versions/{number}"),
    ):
        with pytest.raises(InvalidInput, match=words) as caught:
            await create(client, job_spec(data=job_pb2.DataSpec(dataset_version=name)))
        assert caught.value.field == "spec.data.dataset_version"
    few = job_pb2.DataSpec(dataset_version=version.name, language="en")
    with pytest.raises(InvalidInput, match="leaves 0 examples to train on"):
        await create(client, job_spec(data=few))


async def test_an_ended_job_loses_what_it_read_and_cannot_go_on(start: Start, settings: DistillSettings) -> None:
    client = await start()
    await allow(client)
    await append(client, *(exchange(str(n), f"{n} 더하기 1은?", str(n + 1)) for n in range(12)))
    data = job_pb2.DataSpec(dataset_version=(await freeze(client)).name)
    failed = await run(client, job_spec(data=data, labels={"always-fault": "InvalidInput"}))
    assert failed.state == job_pb2.JOB_STATE_FAILED
    folder = settings.state_dir / "jobs" / failed.name.removeprefix("jobs/")
    for part in ("data", "evaluation/student"):
        (folder / part).mkdir(parents=True)
        (folder / part / "answers.jsonl").write_text("3 더하기 1은?")
    await erase(client, "user-1")
    assert found_on_disk(settings.state_dir, ["더하기"]) == {}
    assert (folder / "job.json").exists()
    await resume(client, failed.name)
    ended = await finished(client, failed.name)
    assert (ended.state, "was withdrawn" in ended.fault.message) == (job_pb2.JOB_STATE_FAILED, True)


async def test_a_job_under_way_on_a_withdrawn_version_is_emptied_once_it_has_ended(settings: DistillSettings) -> None:
    async with running_server(settings) as server, AsyncClient(server.address) as client:
        await allow(client)
        await append(client, *(exchange(str(n), f"{n} 더하기 1은?", str(n + 1)) for n in range(12)))
        data = job_pb2.DataSpec(dataset_version=(await freeze(client)).name)
        made = await create(client, job_spec(data=data, labels={"step-ms": "20"}))
        await until_step(client, made.name, 1)
        await erase(client, "user-1")
        assert (await finished(client, made.name)).state == job_pb2.JOB_STATE_SUCCEEDED
    training = settings.state_dir / "jobs" / made.name.removeprefix("jobs/") / "training"
    assert training.exists()
    # It looks every so often, and when it starts.
    async with running_server(settings), asyncio.timeout(10):
        while training.exists():
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"tenant": ""}, "policy.tenant"),
        ({"tenant": "two words"}, "policy.tenant"),
        ({"sample_rate": 0.0}, "policy.sample_rate"),
        ({"sample_rate": 1.5}, "policy.sample_rate"),
        ({"retention_days": -1}, "policy.retention_days"),
        ({"consent": " "}, "policy.consent"),
        ({"consent": "two\nlines"}, "policy.consent"),
    ],
)
async def test_a_policy_that_cannot_be_meant_is_refused(start: Start, fields: dict[str, Any], field: str) -> None:
    client = await start()
    with pytest.raises(InvalidInput) as caught:
        await allow(client, **fields)
    assert caught.value.field == field


async def test_policies_are_told_by_tenant_a_page_at_a_time(start: Start) -> None:
    client = await start()
    for tenant, days in (("c", 3), ("a", 1), ("b", 2), ("c", 4)):
        await allow(client, tenant, retention_days=days)
    told: list[pb.Policy] = []
    request = pb.ListPoliciesRequest(page_size=2)
    while True:
        page = await client.capture.ListPolicies(request)
        told += page.policies
        request.page_token = page.next_page_token
        if not request.page_token:
            break
        assert len(page.policies) == 2
    expected = [
        pb.Policy(tenant=tenant, enabled=True, sample_rate=1.0, retention_days=days, consent=CONSENT)
        for tenant, days in (("a", 1), ("b", 2), ("c", 4))
    ]
    assert told == expected
    assert list((await client.capture.ListPolicies(pb.ListPoliciesRequest(tenant="b"))).policies) == expected[1:2]
    assert not (await client.capture.ListPolicies(pb.ListPoliciesRequest(tenant="d"))).policies


@pytest.mark.parametrize("fields", [{"dataset": "chat"}, {"dataset": "datasets/../x"}, {"request_id": ""}])
async def test_an_exchange_that_is_none_is_refused(start: Start, fields: dict[str, Any]) -> None:
    client = await start()
    await allow(client)
    wrong = exchange("1")
    wrong.MergeFrom(pb.Interaction(**{name: value for name, value in fields.items() if value}))
    if fields.get("request_id") == "":
        wrong.ClearField("request_id")
    with pytest.raises(InvalidInput):
        await append(client, wrong)


async def _service(database: Database, folder: Path, clock: Callable[[], datetime]) -> CaptureService:
    service = CaptureService(
        database, DatasetFiles(folder, folder.parent / "jobs"), Pseudonyms(b"k" * 32), 2**20, clock
    )
    await service.set_policy(Policy("shop", True, 1.0, 7, CONSENT))
    return service


async def _stream(*every: pb.Interaction) -> AsyncIterator[pb.Interaction]:
    for each in every:
        yield each


async def test_what_is_older_than_allowed_is_forgotten_and_versions_end_too(database: Database, tmp_path: Path) -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    service = await _service(database, tmp_path / "datasets", lambda: now)
    await service.append(
        _stream(
            exchange("old", "오래된 말", time=days_ago(now, 8)),
            exchange("new", "새 말", time=days_ago(now, 6)),
            exchange("ahead", "앞선 시계", time=days_ago(now, -900)),
        )
    )
    await service.forget_expired()
    version = await service.freeze("datasets/chat", "")
    assert (version.prompts, version.last_time, version.expire_time) == (2, now, now + timedelta(days=7))
    prompts = tmp_path / "datasets" / "chat" / "1" / "prompts.jsonl"
    assert prompts.exists()
    now += timedelta(days=7, seconds=1)
    await service.forget_expired()
    assert not prompts.exists()
    assert [each.withdrawn for each in (await service.page("", 0, "")).items] == [True]
    with pytest.raises(NotFound):
        await service.freeze("datasets/chat", "")


async def test_callers_at_once_and_many_versions_keep_their_order(database: Database, tmp_path: Path) -> None:
    service = await _service(database, tmp_path / "datasets", lambda: datetime.now(UTC))
    for round_ in range(3):
        tallies = await asyncio.gather(
            *(
                service.append(_stream(*(exchange(f"{round_} {n}", f"{round_} {n}") for n in range(40))))
                for _ in range(4)
            )
        )
        assert sum(tally.stored for tally in tallies) == 40
        assert sum(tally.duplicates for tally in tallies) == 120
        await service.freeze("datasets/chat", "")
    first = await service.page("datasets/chat", 2, "")
    rest = await service.page("datasets/chat", 2, first.next_token)
    assert [each.prompts for each in (*first.items, *rest.items)] == [120, 80, 40]


async def test_what_a_killed_process_began_to_freeze_is_begun_again(database: Database, tmp_path: Path) -> None:
    torn = tmp_path / "datasets" / "chat" / "1"
    for folder in (torn, torn.with_name(".2.partial")):
        folder.mkdir(parents=True)
        (folder / "prompts.jsonl").write_text("{")
        (folder / "captured.json").write_text("{")
    service = await _service(database, tmp_path / "datasets", lambda: datetime.now(UTC))
    await service.append(_stream(exchange("1")))
    assert (await service.freeze("datasets/chat", "")).prompts == 1
    await service.forget_expired()
    assert list((tmp_path / "datasets" / "chat").iterdir()) == [torn]
    assert (torn / "prompts.jsonl").read_text().startswith('{"messages"')
