"""What gRPC repeats by itself, and what it must not."""

import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from google.protobuf import descriptor_pool

import seodang.client  # noqa: F401 - registers every service of the contract
from seodang.api.inference.v1 import score_pb2
from seodang.base.errors import Unavailable
from seodang.client import Client
from seodang.rpc.policy import RETRIED

# Takes every call and answers none.
SILENT_SERVER = """
import time
from concurrent import futures
import grpc

def wait(request, context):
    print("asked", flush=True)
    time.sleep(600)

class Silent(grpc.GenericRpcHandler):
    def service(self, details):
        return grpc.unary_stream_rpc_method_handler(wait)

server = grpc.server(futures.ThreadPoolExecutor(4))
server.add_generic_rpc_handlers((Silent(),))
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
server.wait_for_termination()
"""


@pytest.fixture
def silent_server() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", SILENT_SERVER], stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_stream_whose_server_dies_before_it_answers_ends(silent_server: subprocess.Popen[str]) -> None:
    ended: list[BaseException] = []

    def read(client: Client) -> None:
        try:
            list(client.inference.Score(score_pb2.ScoreRequest(request_id="r")))
        except BaseException as error:  # noqa: BLE001 - looked at below
            ended.append(error)

    client = Client(f"127.0.0.1:{line_of(silent_server)}")
    reading = threading.Thread(target=read, args=(client,), daemon=True)
    reading.start()
    assert line_of(silent_server) == "asked"
    silent_server.kill()
    reading.join(timeout=30)
    assert [type(error) for error in ended] == [Unavailable]
    client.close()


@pytest.mark.parametrize(("service", "method"), [(name, method) for name in RETRIED for method in RETRIED[name]])
def test_only_unary_calls_are_retried(service: str, method: str) -> None:
    described = descriptor_pool.Default().FindServiceByName(service).FindMethodByName(method)
    assert not described.client_streaming
    assert not described.server_streaming
