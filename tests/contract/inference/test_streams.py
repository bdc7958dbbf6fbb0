"""Generate: how a stream can end before its time, and that nothing is left behind when it does."""

import asyncio

import grpc
import pytest
from tests.contract.inference.asking import MODEL, ask, chunks_of, generate, long_generation, score, wait_until_idle
from tests.serving import Serving

from seodang.api.inference.v1 import generate_pb2, inference_pb2, inference_pb2_grpc, score_pb2
from seodang.base.errors import AlreadyExists, DeadlineExpired, Exhausted
from seodang.client import AsyncClient, Client
from seodang.rpc import from_fault

SLOTS, WAITING_PLACES = 2, 4


async def begun(client: AsyncClient, request: generate_pb2.GenerateRequest, timeout_s: float = 60.0) -> object:
    """A stream whose first tokens have come."""
    stream = client.inference.Generate(request, timeout=timeout_s)
    while not (await stream.read()).HasField("delta"):
        pass
    return stream


async def until_waiting(client: AsyncClient, count: int) -> None:
    """Returns once that many requests have arrived and wait for a place."""
    request = inference_pb2.GetModelRequest(name=MODEL)
    async with asyncio.timeout(30):
        while (await client.inference.GetModel(request)).model.waiting_requests < count:
            await asyncio.sleep(0)


async def test_tokens_come_while_others_are_still_to_be_drawn(aclient: AsyncClient) -> None:
    stream = await begun(aclient, long_generation())
    model = await aclient.inference.GetModel(inference_pb2.GetModelRequest(name=MODEL))
    assert model.model.running_requests == 1
    stream.cancel()


async def test_a_cancelled_call_frees_its_slot_for_one_that_waits(client: Client, aclient: AsyncClient) -> None:
    wait_until_idle(client)
    streams = [await begun(aclient, long_generation()) for _ in range(SLOTS)]
    waiting = asyncio.create_task(begun(aclient, generate(new=2)))
    await until_waiting(aclient, 1)
    assert not waiting.done()
    streams[0].cancel()
    await asyncio.wait_for(waiting, 30)
    streams[1].cancel()


async def test_a_client_that_goes_away_frees_its_slot(server: Serving, client: Client) -> None:
    wait_until_idle(client)
    async with AsyncClient(server.address) as leaving:
        for _ in range(SLOTS):
            await begun(leaving, long_generation())
    wait_until_idle(client)
    assert len(ask(client, generate(new=2)).ids) == 2


async def test_a_deadline_ends_the_generation_on_both_sides(client: Client, aclient: AsyncClient) -> None:
    with pytest.raises(DeadlineExpired):
        async for _ in aclient.inference.Generate(long_generation(), timeout=1.5):
            pass
    wait_until_idle(client)


async def test_a_request_id_is_free_again_once_its_request_has_ended(aclient: AsyncClient, client: Client) -> None:
    stream = await begun(aclient, long_generation(request_id="twice"))
    with pytest.raises(AlreadyExists) as caught:
        ask(client, generate(request_id="twice"))
    assert caught.value.metadata == {"request_id": "twice"}
    stream.cancel()
    wait_until_idle(client)
    assert ask(client, generate(new=1, request_id="twice")).accepted.request_id == "twice"


async def test_a_full_server_refuses_with_a_time_to_try_again(client: Client, aclient: AsyncClient) -> None:
    wait_until_idle(client)
    streams = [await begun(aclient, long_generation()) for _ in range(SLOTS)]
    for _ in range(WAITING_PLACES):
        stream = aclient.inference.Generate(long_generation(), timeout=60)
        assert (await stream.read()).HasField("accepted")
        streams.append(stream)
    with pytest.raises(Exhausted) as caught:
        ask(client, generate())
    assert caught.value.retry_after_s > 0
    for stream in streams:
        stream.cancel()
    wait_until_idle(client)


@pytest.mark.own_engine
async def test_a_full_server_refuses_to_score_too(client: Client, aclient: AsyncClient) -> None:
    wait_until_idle(client)
    streams = [await begun(aclient, long_generation()) for _ in range(SLOTS)]
    for _ in range(WAITING_PLACES):
        stream = aclient.inference.Generate(long_generation(), timeout=60)
        assert (await stream.read()).HasField("accepted")
        streams.append(stream)
    with pytest.raises(Exhausted) as caught:
        list(client.inference.Score(score([5, 6, 7])))
    assert caught.value.retry_after_s > 0
    for stream in streams:
        stream.cancel()
    wait_until_idle(client)


@pytest.mark.own_engine
async def test_a_long_scoring_waits_for_places_as_it_goes(client: Client, aclient: AsyncClient) -> None:
    wait_until_idle(client)
    streams = [await begun(aclient, long_generation(priority=1)) for _ in range(SLOTS)]
    for _ in range(WAITING_PLACES - 1):
        stream = aclient.inference.Generate(long_generation(), timeout=60)
        assert (await stream.read()).HasField("accepted")
        streams.append(stream)
    scoring = aclient.inference.Score(score([5, 6, 7], [6, 7, 8], [7, 8, 9]), timeout=60)
    scored = asyncio.create_task(_all(scoring))
    await until_waiting(aclient, 4)
    for stream in streams:
        stream.cancel()
    assert [chunk.sequence for chunk in chunks_of(await scored)] == [0, 1, 2]


async def _all(stream: object) -> list[score_pb2.ScoreResponse]:
    return [event async for event in stream]


async def test_a_higher_priority_is_served_first(client: Client, aclient: AsyncClient) -> None:
    wait_until_idle(client)
    streams = [await begun(aclient, long_generation(priority=5)) for _ in range(SLOTS)]
    low = asyncio.create_task(begun(aclient, long_generation()))
    await until_waiting(aclient, 1)
    high = asyncio.create_task(begun(aclient, long_generation(priority=1)))
    await until_waiting(aclient, 2)
    streams.pop().cancel()
    done, _ = await asyncio.wait((low, high), return_when=asyncio.FIRST_COMPLETED, timeout=30)
    assert done == {high}
    streams.pop().cancel()
    (await low).cancel()
    (await high).cancel()


async def test_a_reader_who_is_too_slow_is_told_so(server: Serving, client: Client) -> None:
    wait_until_idle(client)
    # Without its probing for bandwidth the connection buffers some kilobytes, not megabytes, for a reader who pauses.
    narrow = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 16384)]
    async with grpc.aio.insecure_channel(server.address, options=narrow) as channel:
        stub = inference_pb2_grpc.InferenceServiceStub(channel)
        stream = stub.Generate(long_generation(top_logprobs=64), timeout=120)
        assert (await stream.read()).HasField("accepted")
        wait_until_idle(client)
        events = []
        while (event := await stream.read()) is not grpc.aio.EOF:
            events.append(event)
    assert {event.WhichOneof("event") for event in events[:-1]} == {"delta"}
    error = from_fault(events[-1].fault)
    assert isinstance(error, Exhausted)
    assert error.reason == "SLOW_READER"
    assert sum(len(event.delta.tokens) for event in events) < 1000
