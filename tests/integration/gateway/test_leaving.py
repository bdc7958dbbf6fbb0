"""A client that goes away stops its generation, whatever it was waiting for."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx
import pytest
from openai import APIError, AsyncOpenAI

HELLO: list[Any] = [{"role": "user", "content": "hi"}]
BODY = {"model": "teacher-mini", "messages": HELLO}
Until = Callable[..., Any]


async def _leave(work: asyncio.Task[Any]) -> None:
    work.cancel()
    with suppress(asyncio.CancelledError):
        await work


async def test_a_streaming_client_that_leaves_between_tokens(mesh: Any, openai: AsyncOpenAI, until: Until) -> None:
    mesh.teacher.pace.hold()
    stream = await openai.chat.completions.create(model="teacher-mini", messages=HELLO, stream=True)
    mesh.teacher.pace.step()
    assert (await anext(aiter(stream))).choices
    assert mesh.teacher.running == 1
    await stream.close()
    await until(lambda: mesh.teacher.running == 0, "the engine's running count is 0")
    assert mesh.teacher.cancelled == 1


async def test_a_waiting_client_that_leaves(mesh: Any, http: httpx.AsyncClient, until: Until) -> None:
    mesh.teacher.pace.hold()
    work = asyncio.create_task(http.post("/v1/chat/completions", json=BODY))
    await until(lambda: mesh.teacher.running == 1, "the generation runs")
    await _leave(work)
    await until(lambda: mesh.teacher.running == 0, "the engine's running count is 0")
    assert mesh.teacher.cancelled == 1


async def test_a_client_of_the_text_endpoint_that_leaves(mesh: Any, http: httpx.AsyncClient, until: Until) -> None:
    mesh.teacher.pace.hold()
    work = asyncio.create_task(http.post("/v1/completions", json={"model": "teacher-mini", "prompt": "a"}))
    await until(lambda: mesh.teacher.running == 1, "the generation runs")
    await _leave(work)
    await until(lambda: mesh.teacher.cancelled == 1, "the generation is cancelled")


async def test_a_client_that_leaves_is_counted(mesh: Any, http: httpx.AsyncClient, until: Until) -> None:
    mesh.teacher.pace.hold()
    work = asyncio.create_task(http.post("/v1/chat/completions", json=BODY))
    await until(lambda: mesh.teacher.running == 1, "the generation runs")
    await _leave(work)
    await until(lambda: mesh.teacher.running == 0, "the generation is stopped")
    text = (await http.get("/metrics")).text
    assert 'seodang_gateway_abandoned_total{route="/v1/chat/completions"} 1.0' in text
    assert "seodang_gateway_generations_running 0.0" in text


async def test_the_others_go_on_when_one_leaves(
    mesh: Any, openai: AsyncOpenAI, http: httpx.AsyncClient, until: Until
) -> None:
    mesh.teacher.pace.hold()
    leaver = asyncio.create_task(http.post("/v1/chat/completions", json=BODY))
    stayer = asyncio.create_task(openai.chat.completions.create(model="teacher-mini", messages=HELLO))
    await until(lambda: mesh.teacher.running == 2, "both run")
    await _leave(leaver)
    await until(lambda: mesh.teacher.running == 1, "one is left")
    mesh.teacher.pace.release()
    assert (await stayer).choices[0].message.content == "안녕 from the mesh"


async def test_a_server_that_dies_in_the_middle_is_an_error_that_may_be_tried_again(
    mesh: Any, openai: AsyncOpenAI, until: Until
) -> None:
    mesh.teacher.pace.hold()
    work = asyncio.create_task(openai.chat.completions.create(model="teacher-mini", messages=HELLO))
    await until(lambda: mesh.teacher.running == 1, "the generation runs")
    await mesh.servers["teacher"]._server.stop(0)
    with pytest.raises(APIError) as caught:
        await work
    assert caught.value.status_code == 503


async def test_many_leavers_leave_nothing_behind(mesh: Any, http: httpx.AsyncClient, until: Until) -> None:
    mesh.teacher.pace.hold()
    for stream in (True, False) * 10:
        work = asyncio.create_task(http.post("/v1/chat/completions", json=BODY | {"stream": stream}))
        await until(lambda: mesh.teacher.running == 1, "the generation runs")
        await _leave(work)
        await until(lambda: mesh.teacher.running == 0, "the generation is stopped")
    assert mesh.teacher.cancelled == 20
