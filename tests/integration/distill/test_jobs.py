"""What may be asked of jobs, through the real server."""

import asyncio
import uuid
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
from tests import tiny_tokenizers
from tests.integration.distill.conftest import Start
from tests.integration.distill.requests import cancel, create, finished, get, job_spec, resume, run, watch

from seodang.api.distill.v1 import distill_pb2, job_pb2
from seodang.base.errors import AlreadyExists, InvalidInput, NotFound, SeodangError, Unavailable
from seodang.client import AsyncClient
from seodang.distill.settings import DistillSettings

SLOW = {"step-ms": "50"}
Spec = job_pb2.JobSpec
Recipe = job_pb2.Recipe


async def page(client: AsyncClient, **fields: Any) -> distill_pb2.ListJobsResponse:
    return await client.distillation.ListJobs(distill_pb2.ListJobsRequest(**fields))


async def test_a_job_shows_what_was_asked_and_where_it_stands(start: Start) -> None:
    client = await start()
    spec = job_spec(labels={"team": "로봇"})
    made = await create(client, spec)
    assert made.spec == spec
    assert made.state == job_pb2.JOB_STATE_QUEUED
    assert made.HasField("create_time")
    shown = await get(client, made.name)
    assert (shown.name, shown.spec) == (made.name, spec)


async def test_the_same_request_gives_the_same_job(start: Start) -> None:
    client = await start()
    request_id = str(uuid.uuid4())
    first = await create(client, job_spec(), request_id)
    assert (await create(client, job_spec(), request_id.upper())).name == first.name
    assert len((await page(client)).jobs) == 1


async def test_the_same_request_with_another_spec_is_refused(start: Start) -> None:
    client = await start()
    request_id = str(uuid.uuid4())
    first = await create(client, job_spec(), request_id)
    with pytest.raises(AlreadyExists, match=first.name):
        await create(client, job_spec(steps=21), request_id)


async def test_a_request_that_comes_often_at_once_makes_one_job(start: Start, database_url: str) -> None:
    client = await start(database_url=database_url)
    request_id = str(uuid.uuid4())
    made = await asyncio.gather(*(create(client, job_spec(labels=SLOW), request_id) for _ in range(16)))
    assert len({job.name for job in made}) == 1
    assert len((await page(client)).jobs) == 1


async def test_a_job_that_is_only_checked_is_not_made(start: Start) -> None:
    client = await start()
    request = distill_pb2.CreateJobRequest(spec=job_spec(), validate_only=True)
    job = (await client.distillation.CreateJob(request)).job
    assert (job.name, job.spec) == ("", job_spec())
    assert not (await page(client)).jobs


@pytest.mark.parametrize("request_id", ["", "one", "123", "\u0000"])
async def test_a_request_id_that_is_no_uuid_is_refused(start: Start, request_id: str) -> None:
    client = await start()
    with pytest.raises(InvalidInput) as caught:
        await client.distillation.CreateJob(distill_pb2.CreateJobRequest(request_id=request_id, spec=job_spec()))
    assert caught.value.field == "request_id"


def baseline(**recipe: Any) -> job_pb2.Baseline:
    return job_pb2.Baseline(name="other", recipe=Recipe(**recipe))


def teacher(**fields: Any) -> list[job_pb2.Teacher]:
    return [job_pb2.Teacher(**{"model": "models/teacher"} | fields)]


def dense(**fields: int) -> job_pb2.StudentShape:
    return job_pb2.StudentShape(dense=job_pb2.DenseShape(**fields))


def adapter(**fields: Any) -> job_pb2.StudentShape:
    return job_pb2.StudentShape(adapter=job_pb2.AdapterShape(**fields))


CROSSING: dict[str, Any] = {"recipe": Recipe(kind=Recipe.KIND_CROSS_TOKENIZER_ONLINE)}
BAD_SPECS: list[tuple[str, dict[str, Any]]] = [
    ("spec.student", {"student": ""}),
    ("spec.student", {"student": "../robot"}),
    ("spec.teachers", {"teachers": []}),
    ("spec.teachers[0].model", {"teachers": teacher(model="")}),
    ("spec.teachers[0].model", {"teachers": teacher(model="models/unknown")}),
    ("spec.teachers[0].model", {"teachers": teacher(model="models/talker")}),
    ("spec.teachers[1].model", {"teachers": [*teacher(), *teacher(model="models/mute")]}),
    (
        "spec.teachers[0].model",
        {"recipe": Recipe(target=job_pb2.TargetSpec(hidden=job_pb2.TargetSpec.HiddenSpec(int8=True)))},
    ),
    ("spec.teachers[0].model", {"baselines": [baseline(kind=Recipe.KIND_HIDDEN_STATES)]}),
    ("spec.teachers[1].model", {"teachers": [*teacher(), *teacher(model="models/foreign")]}),
    ("spec.teachers[0].address", {"teachers": teacher(address="nowhere")}),
    ("spec.teachers[0].weight", {"teachers": teacher(weight=0)}),
    ("spec.teachers[0].weight", {"teachers": teacher(weight=float("nan"))}),
    ("spec.data.source", {"data": job_pb2.DataSpec()}),
    ("spec.data.corpus", {"data": job_pb2.DataSpec(corpus="nothing")}),
    ("spec.data.corpus", {"data": job_pb2.DataSpec(corpus="songys")}),
    ("spec.data.language", {"data": job_pb2.DataSpec(corpus="songys", language="en")}),
    ("spec.data.language", {"data": job_pb2.DataSpec(corpus="home", language="fr")}),
    ("spec.data.dataset_version", {"data": job_pb2.DataSpec(dataset_version="datasets/a/versions/1")}),
    ("spec.data.file", {"data": job_pb2.DataSpec(file="none.jsonl", license="MIT")}),
    ("spec.data.file", {"data": job_pb2.DataSpec(file="../../etc/passwd", license="MIT")}),
    ("spec.data.file", {"data": job_pb2.DataSpec(file="/etc/passwd", license="MIT")}),
    ("spec.data.file", {"data": job_pb2.DataSpec(file="bad.jsonl", license="MIT")}),
    ("spec.data.file", {"data": job_pb2.DataSpec(file="a\0b", license="MIT")}),
    ("spec.data.license", {"data": job_pb2.DataSpec(file="good.jsonl")}),
    ("spec.data.license", {"data": job_pb2.DataSpec(file="good.jsonl", license="CC-BY-NC-4.0")}),
    ("spec.data.train_examples", {"data": job_pb2.DataSpec(file="good.jsonl", license="MIT", train_examples=-1)}),
    ("spec.data.eval_examples", {"data": job_pb2.DataSpec(file="good.jsonl", license="MIT", eval_examples=-1)}),
    ("spec.shape.dense.hidden_size", {"shape": dense(hidden_size=-4)}),
    ("spec.shape", {"shape": dense(hidden_size=100, heads=3)}),
    ("spec.shape", {"shape": dense(heads=4, kv_heads=3)}),
    ("spec.shape.config_json", {"shape": job_pb2.StudentShape(config_json="{")}),
    ("spec.shape.config_json", {"shape": job_pb2.StudentShape(config_json="[]")}),
    ("spec.shape.config_json", {"shape": job_pb2.StudentShape(config_json='{"model_type": "vit"}')}),
    ("spec.shape.config_json", {"shape": job_pb2.StudentShape(config_json='{"model_type": "llama", "vocab_size": 5}')}),
    ("spec.shape.tokenizer", {"recipe": Recipe(kind=Recipe.KIND_CROSS_TOKENIZER)}),
    ("spec.shape.tokenizer", CROSSING | {"shape": job_pb2.StudentShape(tokenizer="none")}),
    ("spec.shape.tokenizer", CROSSING | {"shape": job_pb2.StudentShape(tokenizer="../data")}),
    ("spec.shape.tokenizer", CROSSING | {"shape": job_pb2.StudentShape(tokenizer="good.jsonl")}),
    ("spec.shape.tokenizer", CROSSING | {"shape": job_pb2.StudentShape(tokenizer=".")}),
    ("spec.shape.adapter.base", {"shape": adapter()}),
    ("spec.shape.adapter.base", {"shape": adapter(base="none")}),
    ("spec.shape.adapter.base", {"shape": adapter(base="../data")}),
    ("spec.shape.adapter.base", {"shape": adapter(base=".")}),
    ("spec.shape.adapter.rank", {"shape": adapter(base=".", rank=-1)}),
    ("spec.shape.adapter.alpha", {"shape": adapter(base=".", alpha=-1)}),
    ("spec.shape.adapter.target_modules", {"shape": adapter(base=".", target_modules=["q_proj"] * 65)}),
    ("spec.recipe.kind", {"shape": job_pb2.StudentShape(tokenizer=".")}),
    ("spec.recipe.kind", {"recipe": Recipe(kind=99)}),  # type: ignore[arg-type]
    ("spec.recipe.divergence", {"recipe": Recipe(divergence=99)}),  # type: ignore[arg-type]
    ("spec.recipe.beta", {"recipe": Recipe(beta=0.5)}),
    ("spec.recipe.beta", {"recipe": Recipe(divergence=Recipe.DIVERGENCE_GENERALIZED_JSD)}),
    ("spec.recipe.cross_entropy_weight", {"recipe": Recipe(cross_entropy_weight=1.5)}),
    (
        "spec.recipe.cross_entropy_weight",
        {"recipe": Recipe(kind=Recipe.KIND_ON_POLICY, cross_entropy_weight=0.5)},
    ),
    ("spec.recipe.temperature", {"recipe": Recipe(temperature=0)}),
    (
        "spec.recipe.target.top_k.k",
        {"recipe": Recipe(target=job_pb2.TargetSpec(top_k=job_pb2.TargetSpec.TopKSpec(k=-1)))},
    ),
    ("spec.baselines[0].recipe.temperature", {"baselines": [baseline(temperature=-1)]}),
    ("spec.baselines[0].name", {"baselines": [job_pb2.Baseline()]}),
    ("spec.baselines", {"baselines": [baseline(), baseline()]}),
    ("spec.budget.steps", {"budget": job_pb2.Budget(steps=-1)}),
    ("spec.budget.dtype", {"budget": job_pb2.Budget(dtype="float16")}),
    ("spec.budget.learning_rate", {"budget": job_pb2.Budget(learning_rate=float("inf"))}),
    ("spec.gate.promote_to", {"gate": job_pb2.Gate(promote_to="pro duction")}),
    ("spec.gate.min_task_score", {"gate": job_pb2.Gate(min_task_score=80)}),
    ("spec.labels", {"labels": {"": "x"}}),
]


@pytest.fixture
async def client(start: Start, monkeypatch: pytest.MonkeyPatch) -> AsyncClient:
    monkeypatch.setenv("SEODANG_DATA_DIR", "/nowhere")
    return await start()


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("field", "change"), BAD_SPECS, ids=[f"{n}-{field}" for n, (field, _) in enumerate(BAD_SPECS)])
async def test_a_bad_spec_is_refused_by_the_path_of_its_field(
    client: AsyncClient, field: str, change: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInput) as caught:
        await create(client, job_spec(**change))
    assert caught.value.field == field, caught.value.message
    assert not (await page(client)).jobs


@pytest.mark.timeout(240)
async def test_any_causal_model_that_transformers_builds_is_a_shape(client: AsyncClient) -> None:
    config = (
        '{"model_type": "qwen3", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "head_dim": 8}'
    )
    request = distill_pb2.CreateJobRequest(
        spec=job_spec(shape=job_pb2.StudentShape(config_json=config)), validate_only=True
    )
    made = await client.distillation.CreateJob(request, timeout=180)
    assert made.job.spec.shape.config_json == config
    assert not (await page(client)).jobs


@pytest.mark.timeout(240)
async def test_a_student_may_have_a_tokenizer_of_its_own(client: AsyncClient, settings: DistillSettings) -> None:
    tiny_tokenizers.bytes_alone().save_pretrained(settings.data_roots[0] / "own")
    config = '{"model_type": "llama", "hidden_size": 32, "num_attention_heads": 4, "vocab_size": %d}'
    for vocabulary_size, refused in ((259, False), (260, True)):
        shape = job_pb2.StudentShape(config_json=config % vocabulary_size, tokenizer="own")
        request = distill_pb2.CreateJobRequest(spec=job_spec(shape=shape, **CROSSING), validate_only=True)
        with pytest.raises(InvalidInput, match="leave it out") if refused else nullcontext():
            await client.distillation.CreateJob(request, timeout=180)


async def test_a_teacher_that_does_not_answer_is_named(client: AsyncClient) -> None:
    spec = job_spec(teachers=[job_pb2.Teacher(model="models/teacher", address="127.0.0.1:9")])
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:9 does not answer") as caught:
        await create(client, spec)
    assert caught.value.metadata["field"] == "spec.teachers[0].address"


@pytest.mark.parametrize("call", [get, cancel, resume, watch])
@pytest.mark.parametrize(("name", "error"), [("", InvalidInput), ("robot", InvalidInput), ("jobs/none", NotFound)])
async def test_a_job_that_is_not_there_is_told(
    client: AsyncClient, call: Callable[..., Any], name: str, error: type[SeodangError]
) -> None:
    with pytest.raises(error):
        await call(client, name)


async def test_the_listing_leads_through_all_jobs_and_can_be_narrowed(start: Start) -> None:
    client = await start()
    first = await create(client, job_spec(steps=200, labels=SLOW))
    others = [await create(client, job_spec(labels=SLOW)) for _ in range(4)]
    await cancel(client, others[0].name)
    names, token = [], ""
    for _ in range(3):
        answer = await page(client, page_size=2, page_token=token)
        names += [job.name for job in answer.jobs]
        token = answer.next_page_token
    assert names == [job.name for job in (*reversed(others), first)]
    assert token == ""
    cancelled = await page(client, states=[job_pb2.JOB_STATE_CANCELLED])
    assert [job.name for job in cancelled.jobs] == [others[0].name]


@pytest.mark.parametrize(
    ("field", "request_fields"),
    [
        ("page_size", {"page_size": -1}),
        ("page_token", {"page_token": "nonsense"}),
        ("states", {"states": [0]}),
        ("states", {"states": [77]}),
    ],
)
async def test_a_bad_listing_is_refused(client: AsyncClient, field: str, request_fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as caught:
        await page(client, **request_fields)
    assert caught.value.field == field


async def test_many_watch_one_job_and_each_sees_all_of_it(start: Start) -> None:
    client = await start()
    made = await create(client, job_spec(labels={"step-ms": "10"}))
    watched = await asyncio.gather(*(watch(client, made.name) for _ in range(12)))
    for jobs, points in watched:
        assert [point.step for point in points] == list(range(1, 21))
        assert jobs[0].name == made.name
        assert [job.state for job in jobs].count(job_pb2.JOB_STATE_SUCCEEDED) == 1
        assert jobs[-1].state == job_pb2.JOB_STATE_SUCCEEDED
        etags = [int(job.etag) for job in jobs]
        assert etags == sorted(set(etags))


async def test_a_reader_that_is_slow_holds_nobody_up_and_misses_no_point(start: Start) -> None:
    client = await start()
    made = await create(client, job_spec(steps=1500))
    call = client.distillation.WatchJob(distill_pb2.WatchJobRequest(name=made.name), timeout=60)
    first = await anext(aiter(call))
    assert first.HasField("job")
    # It reads nothing while the job runs to its end and others watch it.
    assert (await finished(client, made.name)).state == job_pb2.JOB_STATE_SUCCEEDED
    _, points = await watch(client, made.name)
    assert [point.step for point in points] == list(range(1, 1501))


async def test_watching_goes_on_after_the_points_that_a_reader_has(start: Start) -> None:
    client = await start()
    job = await run(client, job_spec())
    jobs, points = await watch(client, job.name, skip=15)
    assert [point.step for point in points] == [16, 17, 18, 19, 20]
    assert jobs[-1].state == job_pb2.JOB_STATE_SUCCEEDED
    assert (await watch(client, job.name, skip=100))[1] == []
    with pytest.raises(InvalidInput):
        await watch(client, job.name, skip=-1)


async def test_progress_is_told_while_the_job_runs(start: Start) -> None:
    client = await start()
    made = await create(client, job_spec(labels={"step-ms": "30"}))
    jobs, _ = await watch(client, made.name)
    stages = {job.progress.stage for job in jobs}
    assert {job_pb2.Progress.STAGE_TRAINING, job_pb2.Progress.STAGE_PUBLISHING} <= stages
    steps = [job.progress.done for job in jobs if job.progress.stage == job_pb2.Progress.STAGE_TRAINING]
    assert steps == sorted(steps)
    assert len(set(steps)) > 2


async def test_the_corpora_tell_what_is_at_hand(client: AsyncClient) -> None:
    answer = await client.distillation.ListCorpora(distill_pb2.ListCorporaRequest())
    corpora = {corpus.name: corpus for corpus in answer.corpora}
    assert corpora["home"].available
    assert (corpora["home"].license, corpora["home"].metric) == ("CC-BY-4.0", "exact tool call")
    assert not corpora["songys"].available
    assert "SEODANG_DATA_DIR" in corpora["songys"].missing


async def test_a_second_server_on_the_same_state_is_refused(start: Start, settings: DistillSettings) -> None:
    await start()
    with pytest.raises(SeodangError, match="another distillation server"):
        await start()
