"""What can be wrong with any call, tried at every method of every service as a client of another make would send it.

What each field may hold is tested beside its service; here are the bytes: malformed, not UTF-8, empty, too large, with
no time left and with no deadline at all.
"""

from collections.abc import AsyncIterator, Awaitable, Callable

import grpc
import pytest
import pytest_asyncio
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from tests.contract.mesh import running_mesh
from tests.serving import Serving

from seodang.api.capture.v1 import capture_pb2
from seodang.api.distill.v1 import distill_pb2
from seodang.api.inference.v1 import inference_pb2
from seodang.api.messaging.v1 import messaging_pb2
from seodang.api.registry.v1 import registry_pb2
from seodang.api.robotics.v1 import robotics_pb2
from seodang.api.search.v1 import search_pb2
from seodang.api.serving.v1 import control_pb2, placement_pb2
from seodang.api.voice.v1 import voice_pb2
from seodang.base.errors import Exhausted, InvalidInput, Unsupported
from seodang.rpc import ConnectionPolicy, from_rpc_error, open_async_channel

pytestmark = pytest.mark.asyncio(loop_scope="module")

FILES = [
    distill_pb2, inference_pb2, messaging_pb2, registry_pb2, robotics_pb2, search_pb2, control_pb2, placement_pb2,
    voice_pb2,
]  # fmt: skip
METHODS: list[MethodDescriptor] = [
    method
    for file in FILES
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]  # fmt: skip
NAMES = [method.full_name.removeprefix("seodang.api.") for method in METHODS]
EVERY_METHOD = pytest.mark.parametrize("method", METHODS, ids=NAMES)
# Probes come from tools that set no deadline.
TIMED = [method for method in METHODS if method.containing_service.name != "ControlService"]
WITH_TEXT = [
    (method, field)
    for method in METHODS
    for field in method.input_type.fields[:1]
    if field.type == FieldDescriptor.TYPE_STRING
]
# An empty message asks for the first page, for everything or for every robot at once.
EMPTY_IS_FINE = {
    "ListModels", "ListResidentModels", "ListJobs", "ListVersions", "ListReplies", "ListCorpora", "EmergencyStop",
    "ReleaseStop", "GetServerInfo", "GetLoad", "Drain",
}  # fmt: skip
# Asks the speech engines, and none stands behind the server of these tests.
EMPTY_ASKS_OTHERS = {"ListEngines"}
NEED_SOMETHING = [method for method in METHODS if method.name not in EMPTY_IS_FINE | EMPTY_ASKS_OTHERS]

NO_MESSAGE = b"\x0a\xff\xff\xff\xff\x0f"
Refusal = Callable[..., Awaitable[Exception]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(student: Serving, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, str]]:
    """The address of a server by the package of a service. The student starts first: its start blocks the loop."""
    async with running_mesh(tmp_path_factory.mktemp("mesh")) as addresses:
        yield addresses | {"inference": student.address, "serving": student.address}


@pytest.fixture
def refusal(request: pytest.FixtureRequest, mesh: dict[str, str]) -> Refusal:
    """Calls a method and gives the error that the call ends with, as a client of the mesh sees it."""
    method: MethodDescriptor = request.node.callspec.params["method"]
    address = mesh[method.full_name.split(".")[2]]
    policy = ConnectionPolicy(max_message_bytes=64 * 2**20)  # more than a server takes

    async def call(body: bytes, timeout_s: float | None = 60.0) -> Exception:
        async with open_async_channel(address, policy) as channel:
            service = method.containing_service.full_name
            send = channel.stream_stream(
                f"/{service}/{method.name}", request_serializer=bytes, response_deserializer=bytes
            )
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                async for _ in send(iter([body]), timeout=timeout_s):
                    pass
            return from_rpc_error(caught.value)

    return call


@EVERY_METHOD
async def test_bytes_that_are_no_message_are_refused(refusal: Refusal, method: MethodDescriptor) -> None:
    error = await refusal(NO_MESSAGE)
    assert isinstance(error, InvalidInput), error
    assert error.reason == "MALFORMED_MESSAGE"
    assert "send a message of this method's type" in error.message


@pytest.mark.parametrize(("method", "field"), WITH_TEXT, ids=[f"{m.name}-{f.name}" for m, f in WITH_TEXT])
async def test_text_that_is_not_utf_8_is_refused(
    refusal: Refusal, method: MethodDescriptor, field: FieldDescriptor
) -> None:
    error = await refusal(bytes([field.number << 3 | 2, 2, 0xFF, 0xFE]))
    assert isinstance(error, InvalidInput), error
    assert "UTF-8" in error.message


@pytest.mark.parametrize("method", NEED_SOMETHING, ids=[m.name for m in NEED_SOMETHING])
async def test_an_empty_message_is_told_what_it_lacks(refusal: Refusal, method: MethodDescriptor) -> None:
    error = await refusal(b"")
    assert isinstance(error, InvalidInput), error
    assert error.field, f"no field in: {error.message}"
    assert error.field.rpartition(".")[2] in error.message.lower()


@pytest.mark.parametrize("method", TIMED, ids=[m.name for m in TIMED])
async def test_a_call_without_a_deadline_is_refused(refusal: Refusal, method: MethodDescriptor) -> None:
    error = await refusal(b"", timeout_s=None)
    assert isinstance(error, InvalidInput), error
    assert error.reason == "DEADLINE_REQUIRED"
    assert "set one" in error.message


@EVERY_METHOD
async def test_a_message_beyond_the_limit_is_refused_with_both_sizes(
    refusal: Refusal, method: MethodDescriptor
) -> None:
    error = await refusal(b"\x0a\x80\x80\x80\x08" + bytes(16 * 2**20))
    assert isinstance(error, Exhausted), error
    assert f"({16 * 2**20 + 5} vs. {16 * 2**20})" in error.message


@pytest.mark.parametrize("method", list(capture_pb2.DESCRIPTOR.services_by_name["CaptureService"].methods))
async def test_a_method_that_a_server_lacks_is_named(refusal: Refusal, method: MethodDescriptor) -> None:
    error = await refusal(b"", timeout_s=None)
    assert isinstance(error, Unsupported), error
    assert f"CaptureService/{method.name}" in error.message
    assert "reflection" in error.message
