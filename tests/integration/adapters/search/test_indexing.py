"""Documents go in, are replaced, found and removed."""

import asyncio
import sqlite3

import pytest
from tests.integration.adapters.search.conftest import Mesh

from seodang.api.search.v1 import search_pb2
from seodang.base.errors import Conflict, InvalidInput, NotFound, SeodangError

INDEX = "indexes/manual"
SEODANG = search_pb2.Document(
    id="seodang",
    title="서당",
    uri="https://example.org/seodang",
    text="서당은 조선 시대의 글방이다. 훈장이 글을 가르쳤다.",
)
HANGUL = search_pb2.Document(
    id="hangul", title="한글", text="한글은 1443년에 세종이 만든 글자이다.", metadata={"a": "b"}
)


async def _put(mesh: Mesh, *documents: search_pb2.Document, index: str = INDEX) -> search_pb2.IndexDocumentsResponse:
    return await mesh.client.search.IndexDocuments(search_pb2.IndexDocumentsRequest(index=index, documents=documents))


async def _query(mesh: Mesh, query: str, **more: object) -> search_pb2.QueryResponse:
    return await mesh.client.search.Query(search_pb2.QueryRequest(index=INDEX, query=query, **more))  # type: ignore[arg-type]


async def _size(mesh: Mesh, index: str = INDEX) -> tuple[int, int]:
    size = await mesh.client.search.GetIndex(search_pb2.GetIndexRequest(index=index))
    return size.documents, size.passages


async def test_a_document_is_found_by_a_word_with_another_particle(mesh: Mesh) -> None:
    stored = await _put(mesh, SEODANG, HANGUL)
    assert (stored.documents, stored.passages) == (2, 2)
    best = (await _query(mesh, "훈장은 누구인가요?")).passages[0]
    assert (best.document_id, best.title, best.uri) == ("seodang", SEODANG.title, SEODANG.uri)
    assert SEODANG.text[best.start : best.end] == best.text
    assert best.score > 0


async def test_a_title_is_found_too(mesh: Mesh) -> None:
    await _put(mesh, search_pb2.Document(id="x", title="Zephyr manual", text="Press the button."))
    assert [p.document_id for p in (await _query(mesh, "ZEPHYR")).passages] == ["x"]


async def test_a_document_of_the_same_id_is_replaced(mesh: Mesh) -> None:
    await _put(mesh, SEODANG, HANGUL)
    await _put(mesh, search_pb2.Document(id="seodang", text="완전히 다른 내용."))
    assert await _size(mesh) == (2, 2)
    assert "seodang" not in [p.document_id for p in (await _query(mesh, "조선 훈장")).passages]
    assert (await _query(mesh, "완전히")).passages[0].document_id == "seodang"


async def test_deleting_says_how_many_existed_and_leaves_nothing_to_find(mesh: Mesh) -> None:
    await _put(mesh, SEODANG, HANGUL)
    request = search_pb2.DeleteDocumentsRequest(index=INDEX, ids=["seodang", "nobody", "seodang"])
    assert (await mesh.client.search.DeleteDocuments(request)).deleted == 1
    assert await _size(mesh) == (1, 1)
    assert [p.document_id for p in (await _query(mesh, "훈장 한글")).passages] == ["hangul"]


async def test_a_refused_document_keeps_the_others_of_its_request_out(mesh: Mesh) -> None:
    await _put(mesh, SEODANG)
    with pytest.raises(InvalidInput, match=r"documents\[1\]\.text is 1048577 bytes, more than 1048576") as caught:
        await _put(mesh, HANGUL, search_pb2.Document(id="large", text="a" * (2**20 + 1)))
    assert caught.value.field == "documents[1].text"
    assert await _size(mesh) == (1, 1)


async def test_indexes_are_apart(mesh: Mesh) -> None:
    await _put(mesh, SEODANG)
    await _put(mesh, HANGUL, index="indexes/other")
    assert (await _query(mesh, "한글")).passages == []
    assert await _size(mesh, "indexes/other") == (1, 1)


async def test_pages_follow_one_another_without_gap_or_repetition(mesh: Mesh) -> None:
    await _put(mesh, *(search_pb2.Document(id=f"d{n}", text=f"공통 내용 {n}" + " 더" * n) for n in range(25)))
    whole = [p.document_id for p in (await _query(mesh, "공통 내용", page_size=100)).passages]
    paged, token = [], ""
    while True:
        page = await _query(mesh, "공통 내용", page_size=7, page_token=token)
        paged += [p.document_id for p in page.passages]
        token = page.next_page_token
        if not token:
            break
    assert paged == whole
    assert len(set(paged)) == 25


async def test_scores_fall_and_page_size_zero_means_ten(mesh: Mesh) -> None:
    await _put(mesh, *(search_pb2.Document(id=f"d{n}", text="공통 " * (n + 1)) for n in range(12)))
    scores = [p.score for p in (await _query(mesh, "공통")).passages]
    assert len(scores) == 10
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize(
    ("request_", "error", "message"),
    [
        (search_pb2.QueryRequest(index=INDEX, query="?!"), InvalidInput, "holds no letter or digit"),
        (search_pb2.QueryRequest(index=INDEX, query=""), InvalidInput, "holds no letter or digit"),
        (search_pb2.QueryRequest(index=INDEX, query="가" * 2001), InvalidInput, "2001 characters, more than 2000"),
        (search_pb2.QueryRequest(index=INDEX, query="가", page_size=101), InvalidInput, "page_size=101: must be 1 to"),
        (search_pb2.QueryRequest(index=INDEX, query="가", page_size=-1), InvalidInput, "page_size=-1"),
        (search_pb2.QueryRequest(index=INDEX, query="가", page_token="MTA6MTA"), InvalidInput, "no page of this query"),
        (search_pb2.QueryRequest(index=INDEX, query="가", page_token="\x01é"), InvalidInput, "no page of this query"),
        (search_pb2.QueryRequest(index="indexes/none", query="가"), NotFound, "there is no indexes/none"),
        (search_pb2.QueryRequest(index="manual", query="가"), InvalidInput, "must be indexes/"),
        (search_pb2.QueryRequest(index="indexes/../../etc", query="가"), InvalidInput, "must be indexes/"),
        (search_pb2.QueryRequest(index="indexes/A", query="가"), InvalidInput, "must be indexes/"),
        (search_pb2.QueryRequest(index="indexes/a\n", query="가"), InvalidInput, "must be indexes/"),
    ],
)
async def test_a_bad_query_is_refused_with_what_to_do(
    mesh: Mesh, request_: search_pb2.QueryRequest, error: type[SeodangError], message: str
) -> None:
    await _put(mesh, SEODANG)
    with pytest.raises(error, match=message):
        await mesh.client.search.Query(request_)


@pytest.mark.parametrize(
    ("documents", "field"),
    [
        ([], "documents"),
        ([search_pb2.Document(text="글")], "documents[0].id"),
        ([search_pb2.Document(id="a", text=" \n")], "documents[0].text"),
        ([search_pb2.Document(id="가" * 67, text="글")], "documents[0].id"),
        ([search_pb2.Document(id="a", text="글", title="t" * 1001)], "documents[0].title"),
        ([search_pb2.Document(id="a", text="글", uri="u" * 2001)], "documents[0].uri"),
        ([search_pb2.Document(id="a", text="글", metadata={"k": "v" * 20_000})], "documents[0].metadata"),
        ([search_pb2.Document(id="a", text="글"), search_pb2.Document(id="a", text="말")], "documents[1].id"),
    ],
)
async def test_a_bad_document_is_refused_by_its_field(
    mesh: Mesh, documents: list[search_pb2.Document], field: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        await _put(mesh, *documents)
    assert caught.value.field == field
    with pytest.raises(NotFound):
        await _size(mesh)


async def test_a_page_token_belongs_to_its_query(mesh: Mesh) -> None:
    await _put(mesh, *(search_pb2.Document(id=f"d{n}", text="공통 내용") for n in range(5)))
    token = (await _query(mesh, "공통", page_size=2)).next_page_token
    with pytest.raises(InvalidInput, match="with the same index and query"):
        await _query(mesh, "내용", page_size=2, page_token=token)


async def test_readers_see_whole_requests_while_one_writer_writes(mesh: Mesh) -> None:
    def batch(generation: int) -> list[search_pb2.Document]:
        return [search_pb2.Document(id=f"d{n}", text=f"세대 표지 {generation}") for n in range(20)]

    await _put(mesh, *batch(0))
    seen: list[set[str]] = []

    async def read() -> None:
        while True:
            seen.append({p.text for p in (await _query(mesh, "표지", page_size=100)).passages})

    readers = [asyncio.create_task(read()) for _ in range(3)]
    for generation in range(1, 16):
        await _put(mesh, *batch(generation))
    for reader in readers:
        reader.cancel()
    await asyncio.gather(*readers, return_exceptions=True)
    assert len(seen) > 3
    assert all(len(texts) == 1 for texts in seen)


async def test_writers_of_one_index_take_turns(mesh: Mesh) -> None:
    await asyncio.gather(*(_put(mesh, search_pb2.Document(id=f"d{n}", text="같은 때")) for n in range(30)))
    assert await _size(mesh) == (30, 30)


async def test_an_index_of_another_version_is_refused(mesh: Mesh) -> None:
    await _put(mesh, SEODANG)
    with sqlite3.connect(mesh.settings.state_dir / "manual.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(Conflict, match="version 99"):
        await _query(mesh, "서당")
