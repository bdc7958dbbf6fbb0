"""Answers stand on their passages, or are not said."""

import asyncio

import pytest
from tests.integration.adapters.search.conftest import Mesh
from tests.scripted.inference import words

from seodang.api.inference.v1 import chat_pb2
from seodang.api.search.v1 import search_pb2
from seodang.base.errors import InvalidInput, NotFound, Unavailable

INDEX = "indexes/manual"
TEXT = "머리말이다.\n\n한글은 1443년에\n세종이 만들었다. 훈민정음은 1446년에 반포되었다."


@pytest.fixture
async def indexed(mesh: Mesh) -> Mesh:
    documents = [
        search_pb2.Document(id="hangul", title="한글", text=TEXT),
        search_pb2.Document(id="seodang", text="서당은 조선 시대의 글방이다."),
    ]
    await mesh.client.search.IndexDocuments(search_pb2.IndexDocumentsRequest(index=INDEX, documents=documents))
    return mesh


async def _ask(
    mesh: Mesh, question: str = "한글은 언제 만들어졌나?", **more: object
) -> list[search_pb2.AnswerResponse]:
    request = search_pb2.AnswerRequest(index=INDEX, question=question, **more)  # type: ignore[arg-type]
    return [event async for event in mesh.client.search.Answer(request, timeout=20)]


def _kinds(events: list[search_pb2.AnswerResponse]) -> list[str]:
    return [event.WhichOneof("event") for event in events]  # type: ignore[misc]


async def test_a_grounded_answer_comes_as_passages_text_and_verdict(indexed: Mesh) -> None:
    indexed.student.answer = lambda request: words('1443년 [1] "한글은 1443년에 세종이 만들었다."')
    events = await _ask(indexed, request_id="r-1")
    assert _kinds(events) == ["passages", "text", "verdict"]
    verdict = events[-1].verdict
    assert (verdict.outcome, verdict.answer) == (search_pb2.Verdict.OUTCOME_GROUNDED, "1443년")
    (citation,) = verdict.citations
    assert (citation.passage, citation.document_id) == (0, "hangul")
    assert TEXT[citation.start : citation.end] == citation.quote == "한글은 1443년에\n세종이 만들었다."
    assert verdict.usage.completion_tokens > 0
    assert events[1].text == "1443년"
    assert indexed.student.requests[0].request_id == "r-1"


async def test_the_student_is_asked_greedily_with_numbered_passages_on_one_line_each(indexed: Mesh) -> None:
    await _ask(indexed, question="한글 서당", passages=2, model="models/other")
    (request,) = indexed.student.requests
    system, user = request.prompt.chat.messages
    assert (system.role, system.content) == (chat_pb2.ROLE_SYSTEM, "answer from passages")
    lines = user.content.split("\n")
    assert [line[:4] for line in lines] == ["[1] ", "[2] ", "? 한글"]
    assert any("한글은 1443년에 세종이 만들었다." in line for line in lines)
    assert (request.model, request.sampling.temperature) == ("models/other", 0)


async def test_the_student_is_held_to_what_the_passages_prove(indexed: Mesh) -> None:
    await _ask(indexed)
    (request,) = indexed.student.requests
    assert '[1] \\"한글은 1443년에 세종이 만들었다.\\""' in request.constraint.lark_grammar


async def test_a_false_quote_is_withheld_and_counted(indexed: Mesh) -> None:
    indexed.student.answer = lambda request: words('1999년 [1] "한글은 1999년에 만들어졌다."')
    events = await _ask(indexed)
    assert _kinds(events) == ["passages", "verdict"]
    verdict = events[-1].verdict
    assert (verdict.outcome, verdict.rejected_citations) == (search_pb2.Verdict.OUTCOME_UNGROUNDED, 1)
    assert (verdict.answer, list(verdict.citations)) == ("", [])


async def test_no_answer_is_said_as_such(indexed: Mesh) -> None:
    indexed.student.answer = lambda request: words("no answer")
    events = await _ask(indexed)
    assert _kinds(events) == ["passages", "verdict"]
    assert events[-1].verdict.outcome == search_pb2.Verdict.OUTCOME_NO_ANSWER


async def test_a_question_that_no_passage_touches_does_not_bother_the_student(indexed: Mesh) -> None:
    events = await _ask(indexed, question="zebra")
    assert _kinds(events) == ["passages", "verdict"]
    assert events[0].passages.passages == []
    assert events[-1].verdict.outcome == search_pb2.Verdict.OUTCOME_NO_ANSWER
    assert indexed.student.requests == []


async def test_a_student_that_refuses_ends_the_stream_with_a_fault(indexed: Mesh) -> None:
    indexed.student.refusal = Unavailable("its ranks are restarting", retry_after_s=3)
    events = await _ask(indexed)
    assert _kinds(events) == ["passages", "fault"]
    assert (events[-1].fault.reason, events[-1].fault.retry_after.seconds) == ("UNAVAILABLE", 3)


async def test_a_model_that_the_student_server_lacks_is_named(indexed: Mesh) -> None:
    events = await _ask(indexed, model="models/none")
    assert events[-1].fault.reason == "NOT_FOUND"
    assert "models/none" in events[-1].fault.message


@pytest.mark.parametrize(
    ("request_", "error", "message"),
    [
        (search_pb2.AnswerRequest(index=INDEX, question=" "), InvalidInput, "holds no letter or digit"),
        (search_pb2.AnswerRequest(index=INDEX, question="가", passages=9), InvalidInput, "passages=9: must be 1 to 8"),
        (search_pb2.AnswerRequest(index="indexes/none", question="가"), NotFound, "there is no indexes/none"),
        (search_pb2.AnswerRequest(index="x", question="가"), InvalidInput, "must be indexes/"),
    ],
)
async def test_a_bad_question_is_the_status_of_the_call(
    indexed: Mesh, request_: search_pb2.AnswerRequest, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        _ = [event async for event in indexed.client.search.Answer(request_, timeout=20)]


async def test_a_reader_who_leaves_frees_the_student(indexed: Mesh) -> None:
    indexed.student.pace.hold()
    call = indexed.client.search.Answer(
        search_pb2.AnswerRequest(index=INDEX, question="한글은 언제 만들어졌나?"), timeout=20
    )
    async for event in call:
        assert event.HasField("passages")
        async with asyncio.timeout(10):
            while not indexed.student.running:
                await asyncio.sleep(0.01)
        break
    call.cancel()
    async with asyncio.timeout(10):
        while indexed.student.running:
            await asyncio.sleep(0.01)
    assert indexed.student.cancelled == 1


async def test_a_student_that_is_late_ends_the_stream_with_a_fault(indexed: Mesh) -> None:
    indexed.student.pace.hold()
    request = search_pb2.AnswerRequest(index=INDEX, question="한글은 언제 만들어졌나?")
    events = [event async for event in indexed.client.search.Answer(request, timeout=5)]
    assert _kinds(events) == ["passages", "fault"]
    assert events[-1].fault.reason == "DEADLINE_EXPIRED"
    assert indexed.student.remaining_s[0] < 5
