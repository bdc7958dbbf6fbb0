"""The registry through the real server, with versions that real jobs published."""

import hashlib
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from tests.integration.distill.conftest import Start
from tests.integration.distill.requests import job_spec, run

from seodang.api.distill.v1 import job_pb2
from seodang.api.registry.v1 import registry_pb2 as pb
from seodang.base.errors import Conflict, InternalFault, InvalidInput, NotFound, SeodangError, Superseded
from seodang.client import AsyncClient
from seodang.distill.settings import DistillSettings
from seodang.provenance import Outcome, SigningKey, check_student

GATE = job_pb2.Gate(min_task_score=0.7, promote_to="production")
STRICT = job_pb2.Gate(min_task_score=0.99, promote_to="production")


async def publish(client: AsyncClient, seed: int = 0, **fields: Any) -> str:
    job = await run(client, job_spec(steps=seed + 1, **fields))
    assert job.state == job_pb2.JOB_STATE_SUCCEEDED, job
    return job.result.version


async def resolve(client: AsyncClient, name: str) -> pb.Version:
    return (await client.registry.ResolveModel(pb.ResolveModelRequest(name=name))).version


async def promote(client: AsyncClient, version: str, alias: str = "production", etag: str = "") -> pb.Alias:
    request = pb.PromoteVersionRequest(version=version, alias=alias, etag=etag)
    return (await client.registry.PromoteVersion(request)).alias


async def roll_back(client: AsyncClient, name: str = "models/robot@production", etag: str = "") -> pb.Alias:
    return (await client.registry.RollbackAlias(pb.RollbackAliasRequest(name=name, etag=etag))).alias


async def download(client: AsyncClient, version: str, *paths: str) -> dict[str, bytes]:
    files: defaultdict[str, bytes] = defaultdict(bytes)
    async for chunk in client.registry.DownloadVersion(pb.DownloadVersionRequest(version=version, paths=paths)):
        assert chunk.offset == len(files[chunk.path])
        assert len(chunk.data) <= 2**20
        files[chunk.path] += chunk.data
    return dict(files)


async def test_a_version_tells_what_it_is_and_lies_whole_on_the_disk(start: Start) -> None:
    client = await start()
    name = await publish(client, gate=GATE)
    version = (await client.registry.GetVersion(pb.GetVersionRequest(name=name))).version
    assert (version.parameters, version.passed_gate, list(version.aliases)) == (1000, True, ["models/robot@production"])
    assert version.scores["exact answer"] == pytest.approx(0.8)
    assert version.scores["forward_kl"] == pytest.approx(0.25)
    assert version.total_bytes == sum(file.bytes for file in version.files)
    lines = [f"{file.sha256}  {file.path}\n" for file in sorted(version.files, key=lambda file: file.path)]
    assert version.sha256 == hashlib.sha256("".join(lines).encode()).hexdigest()
    for file in version.files:
        assert hashlib.sha256((Path(version.folder) / file.path).read_bytes()).hexdigest() == file.sha256


async def test_a_passed_gate_moves_the_alias_and_a_failed_one_does_not(start: Start) -> None:
    client = await start()
    first = await publish(client, gate=GATE)
    second = await publish(client, seed=1, gate=STRICT)
    assert (await resolve(client, "models/robot@production")).name == first
    assert (await resolve(client, "models/robot")).name == second
    assert not (await resolve(client, second)).passed_gate
    with pytest.raises(Conflict, match="did not pass its gate") as caught:
        await promote(client, second)
    assert caught.value.reason == "GATE_NOT_PASSED"


async def test_an_alias_moves_forward_and_back_and_guards_its_etag(start: Start, database_url: str) -> None:
    client = await start(database_url=database_url)
    first, second = [await publish(client, seed) for seed in range(2)]
    alias = await promote(client, first)
    assert (alias.version, alias.previous_version) == (first, "")
    with pytest.raises(Conflict, match="nothing to go back to"):
        await roll_back(client)
    moved = await promote(client, second, etag=alias.etag)
    assert (moved.version, moved.previous_version) == (second, first)
    for stale in (promote(client, first, etag=alias.etag), roll_back(client, etag=alias.etag)):
        with pytest.raises(Superseded, match="read it again"):
            await stale
    back = await roll_back(client, etag=moved.etag)
    assert (back.version, back.previous_version) == (first, "")
    assert len({alias.etag, moved.etag, back.etag}) == 3
    assert (await resolve(client, "models/robot@production")).name == first


async def test_versions_are_listed_newest_first_by_model(start: Start) -> None:
    client = await start()
    for seed, student in enumerate(["robot", "search", "robot"]):
        await publish(client, seed, student=student)
    names, token = [], ""
    for _ in range(2):
        request = pb.ListVersionsRequest(page_size=2, page_token=token)
        page = await client.registry.ListVersions(request)
        names += [version.name for version in page.versions]
        token = page.next_page_token
    assert names == ["models/robot/versions/2", "models/search/versions/1", "models/robot/versions/1"]
    only = await client.registry.ListVersions(pb.ListVersionsRequest(parent="models/search"))
    assert [version.name for version in only.versions] == ["models/search/versions/1"]


async def test_a_version_says_what_made_it_and_is_signed_by_its_server(
    start: Start, settings: DistillSettings, tmp_path: Path
) -> None:
    client = await start()
    name = await publish(client, gate=GATE)
    folder = tmp_path / "robot"
    for path, data in (await download(client, name)).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    key = tmp_path / "trusted.pem"
    key.write_bytes(SigningKey.open(settings.state_dir / "signing-key.pem").public.pem)
    checks = {check.name: check.outcome for check in check_student(folder, key)}
    held = dict.fromkeys(("signature", "files", "student", "tokenizer", "job", "fidelity"), Outcome.HOLDS)
    assert checks == held | dict.fromkeys(("record", "teacher"), Outcome.SKIPPED)
    assert (folder / "README.md").read_text().count("models/teacher") == 1


async def test_a_server_signs_with_the_key_that_it_is_given(start: Start, tmp_path: Path) -> None:
    key = SigningKey.open_or_make(tmp_path / "own.pem")
    client = await start(signing_key=str(key.path))
    version = await resolve(client, await publish(client))
    assert (Path(version.folder) / "signer.pem").read_bytes() == key.public.pem


async def test_a_server_does_not_start_with_a_key_that_is_none(start: Start, tmp_path: Path) -> None:
    (tmp_path / "own.pem").write_text("no key")
    with pytest.raises(InvalidInput, match="no unencrypted private key"):
        await start(signing_key=str(tmp_path / "own.pem"))


async def test_a_download_gives_every_byte_of_the_files_that_are_asked_for(start: Start) -> None:
    client = await start()
    version = await resolve(client, await publish(client, seed=5))
    files = await download(client, version.name)
    assert {path: hashlib.sha256(data).hexdigest() for path, data in files.items()} == {
        file.path: file.sha256 for file in version.files
    }
    assert files["tokenizer/empty.txt"] == b""
    assert len(files["model.safetensors"]) > 2**20
    assert list(await download(client, version.name, "config.json")) == ["config.json"]


async def test_a_download_goes_on_after_the_bytes_that_are_there(start: Start) -> None:
    client = await start()
    version = await resolve(client, await publish(client))
    whole = b"".join((await download(client, version.name)).values())
    assert len(whole) == version.total_bytes
    for skip in (1, version.files[0].bytes, version.files[0].bytes + 1, len(whole) - 1, len(whole)):
        rest = b""
        async for chunk in client.registry.DownloadVersion(
            pb.DownloadVersionRequest(version=version.name, skip_bytes=skip)
        ):
            rest += chunk.data
        assert rest == whole[skip:]
    for skip in (-1, len(whole) + 1):
        with pytest.raises(InvalidInput) as caught:
            await anext(
                aiter(client.registry.DownloadVersion(pb.DownloadVersionRequest(version=version.name, skip_bytes=skip)))
            )
        assert caught.value.field == "skip_bytes"


async def test_a_damaged_file_is_not_passed_off_as_whole(start: Start) -> None:
    client = await start()
    version = await resolve(client, await publish(client))
    damaged = Path(version.folder) / "model.safetensors"
    damaged.chmod(0o644)
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    with pytest.raises(InternalFault, match=r"model\.safetensors .*damaged"):
        await download(client, version.name)


async def test_the_lineage_names_everything_that_made_the_student(start: Start) -> None:
    client = await start()
    name = await publish(client)
    answer = await client.registry.GetLineage(pb.GetLineageRequest(version=name))
    kinds = {node.kind: node for node in answer.nodes}
    assert set(kinds) == {kind for kind in pb.LineageNode.Kind.values() if kind}
    assert kinds[pb.LineageNode.KIND_TEACHER].facts["weights_sha256"] == "a" * 64
    assert kinds[pb.LineageNode.KIND_DATA].facts["license"] == "MIT"
    assert kinds[pb.LineageNode.KIND_STUDENT].id == name
    order = [node.id for node in answer.nodes]
    edges = [(getattr(edge, "from"), edge.to) for edge in answer.edges]
    assert all(order.index(source) < order.index(target) for source, target in edges)
    assert {source for source, target in edges if target == name} == set(order) - {name, f"{name}/evaluation"}


async def test_the_lineage_goes_on_through_a_teacher_that_was_a_student_here(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await start()
    first = await publish(client, student="assistant")
    monkeypatch.setitem(_teacher_models(), first, _teacher_models()["models/teacher"])
    second = await publish(client, teachers=[job_pb2.Teacher(model=first)])
    answer = await client.registry.GetLineage(pb.GetLineageRequest(version=second))
    assert {f"models/teacher#{'a' * 12}", first, second} <= {node.id for node in answer.nodes}


def _teacher_models() -> dict[str, list[Any]]:
    from tests.integration.distill.teacher import MODELS

    return MODELS


BAD_CALLS: list[tuple[str, Any, type[SeodangError], str]] = [
    ("GetVersion", pb.GetVersionRequest(), InvalidInput, "name"),
    ("GetVersion", pb.GetVersionRequest(name="models/robot"), InvalidInput, "name"),
    ("GetVersion", pb.GetVersionRequest(name="models/robot/versions/7"), NotFound, ""),
    ("ResolveModel", pb.ResolveModelRequest(), InvalidInput, "name"),
    ("ResolveModel", pb.ResolveModelRequest(name="models/../x"), InvalidInput, "name"),
    ("ResolveModel", pb.ResolveModelRequest(name="models/robot@"), InvalidInput, "name"),
    ("ResolveModel", pb.ResolveModelRequest(name="models/robot@production"), NotFound, ""),
    ("ResolveModel", pb.ResolveModelRequest(name="models/robot"), NotFound, ""),
    ("ResolveModel", pb.ResolveModelRequest(name="models/robot/versions/1"), NotFound, ""),
    ("ListVersions", pb.ListVersionsRequest(parent="robot"), InvalidInput, "parent"),
    ("ListVersions", pb.ListVersionsRequest(page_size=-1), InvalidInput, "page_size"),
    ("ListVersions", pb.ListVersionsRequest(page_token="한국"), InvalidInput, "page_token"),
    ("PromoteVersion", pb.PromoteVersionRequest(version="models/robot", alias="a"), InvalidInput, "version"),
    ("PromoteVersion", pb.PromoteVersionRequest(version="models/robot/versions/1", alias=""), InvalidInput, "alias"),
    ("PromoteVersion", pb.PromoteVersionRequest(version="models/robot/versions/1", alias="a"), NotFound, ""),
    ("RollbackAlias", pb.RollbackAliasRequest(name="production"), InvalidInput, "name"),
    ("RollbackAlias", pb.RollbackAliasRequest(name="models/robot@production"), NotFound, ""),
    ("GetLineage", pb.GetLineageRequest(version=""), InvalidInput, "version"),
    ("GetLineage", pb.GetLineageRequest(version="models/robot/versions/1"), NotFound, ""),
]


@pytest.mark.parametrize(("method", "request_", "error", "field"), BAD_CALLS)
async def test_a_bad_call_is_refused(
    start: Start, method: str, request_: Any, error: type[SeodangError], field: str
) -> None:
    client = await start()
    with pytest.raises(error) as caught:
        await getattr(client.registry, method)(request_)
    assert getattr(caught.value, "field", "") == field


async def test_a_download_of_what_is_not_there_is_refused(start: Start) -> None:
    client = await start()
    with pytest.raises(NotFound):
        await download(client, "models/robot/versions/1")
    name = await publish(client)
    with pytest.raises(InvalidInput, match=r"no file '\.\./secret'") as caught:
        await download(client, name, "../secret")
    assert caught.value.field == "paths"


async def test_a_student_that_changed_after_it_was_measured_is_not_published(
    start: Start,
) -> None:
    client = await start()
    job = await run(client, job_spec(labels={"spoils-student": "yes"}))
    assert job.state == job_pb2.JOB_STATE_FAILED
    assert job.fault.reason == "STUDENT_CHANGED"
    with pytest.raises(NotFound):
        await resolve(client, "models/robot")
