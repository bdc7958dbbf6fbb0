import asyncio
import struct

import numpy as np
import pytest

from seodang.worker.messages import (
    ChatMessage,
    ChatPrompt,
    Event,
    Finished,
    FinishReason,
    Generate,
    JsonSchema,
    Score,
    TextPrompt,
    TokenDelta,
    TokenLogprob,
    TopToken,
    Usage,
)
from seodang.worker.tensor import Tensor
from seodang.worker.wire import MAX_FRAME_BYTES, FrameError, frame, parse_command, parse_event, read_frame

USAGE = Usage(prompt_tokens=3, cached_tokens=0, completion_tokens=2, queue_s=0.1, first_token_s=0.2, total_s=0.3)


@pytest.mark.parametrize(
    "command",
    [
        Generate(request_id="a", model_id="m", prompt=TextPrompt(text="서당"), constraint=JsonSchema(schema="{}")),
        Generate(
            request_id="a",
            model_id="m",
            prompt=ChatPrompt(messages=(ChatMessage(role="user"),), template_args={"enable_thinking": True}),
        ),
        Score(
            request_id="a",
            model_id="m",
            prompt=TextPrompt(text="x"),
            named_ids=Tensor.from_numpy(np.arange(6, dtype=np.int32).reshape(2, 3)),
        ),
    ],
)
def test_commands_survive_the_wire(command: Generate | Score) -> None:
    assert parse_command(frame(command)[4:]) == command


@pytest.mark.parametrize(
    "event",
    [
        Finished(request_id="a", reason=FinishReason.STOP_STRING, usage=USAGE, stop_string="끝"),
        TokenDelta(
            request_id="a",
            token_ids=(1,),
            text="",
            logprobs=(TokenLogprob(TopToken(1, -0.5, b"\xec\x84"), (TopToken(1, -0.5, b"\xec\x84"),)),),
        ),
    ],
)
def test_events_survive_the_wire(event: Event) -> None:
    assert parse_event(frame(event)[4:]) == event


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x80", b"not msgpack", b"\x81\xa4type\xa6launch"])
def test_bytes_that_are_no_message_are_refused(body: bytes) -> None:
    with pytest.raises(FrameError, match="not a command"):
        parse_command(body)


def test_an_unknown_field_is_refused() -> None:
    body = b"\x83\xa4type\xa6cancel\xaarequest_id\xa1a\xa5force\xc3"
    with pytest.raises(FrameError, match="force"):
        parse_command(body)


async def test_an_announced_length_beyond_the_limit_is_refused_before_reading_it() -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(struct.pack("<I", MAX_FRAME_BYTES + 1))
    with pytest.raises(FrameError, match="announced"):
        await read_frame(reader)


@pytest.mark.parametrize("dtype", ["float32", "int32", "int64", "uint8"])
def test_arrays_survive_as_tensors(dtype: str) -> None:
    array = np.arange(12).reshape(3, 4).astype(dtype)
    assert np.array_equal(Tensor.from_numpy(array).to_numpy(), array)
    assert np.array_equal(Tensor.from_numpy(array.T).to_numpy(), array.T)


def test_bfloat16_widens_to_float32() -> None:
    tensor = Tensor(dtype="bfloat16", shape=(2,), data=b"\x80\x3f\xc0\xbf")
    assert tensor.to_numpy().tolist() == [1.0, -1.5]


@pytest.mark.parametrize(("shape", "data"), [((2, 2), b"\x00" * 12), ((-1,), b""), ((3,), b"\x00" * 13)])
def test_a_tensor_whose_bytes_do_not_fill_its_shape_is_refused(shape: tuple[int, ...], data: bytes) -> None:
    with pytest.raises(ValueError, match=r"needs .* bytes"):
        Tensor(dtype="float32", shape=shape, data=data)


def test_a_dtype_without_a_wire_form_is_refused() -> None:
    with pytest.raises(ValueError, match="float64 has no wire form"):
        Tensor.from_numpy(np.zeros(1))
