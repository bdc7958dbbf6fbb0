"""HTTP servers that go down as real ones do: whoever is connected is cut off, and the address refuses the next."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Generic, TypeVar

ScriptT = TypeVar("ScriptT")


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


class ScriptedServer(ThreadingHTTPServer, Generic[ScriptT]):
    """``script`` decides what is answered."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, port: int, script: ScriptT, connection: type["Connection"]) -> None:
        self.script = script
        self.connections: set[Connection] = set()
        super().__init__(("127.0.0.1", port), connection)


class Connection(BaseHTTPRequestHandler):
    """One connection, over as many requests as its other side likes."""

    protocol_version = "HTTP/1.1"
    server: ScriptedServer[Any]

    def setup(self) -> None:
        super().setup()
        self.server.connections.add(self)

    def finish(self) -> None:
        self.server.connections.discard(self)
        super().finish()

    def close(self) -> None:
        """Cut it off."""
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:  # the other side was faster
            return

    def log_message(self, *_: object) -> None:
        """Tests look at what came, not at a log of it."""

    def json_body(self) -> dict[str, Any]:
        """What was sent."""
        body: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        return body

    def begin(self, content_type: str) -> None:
        """The head of an answer in parts."""
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def part(self, content: bytes) -> None:
        """One part; an empty one is the last."""
        self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))

    def answer(self, status: int, content: dict[str, Any] | str) -> None:
        """All of an answer."""
        data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if isinstance(content, str) else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def answering(server: ScriptedServer[Any]) -> Iterator[None]:
    """Serves in a thread."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        for connection in list(server.connections):
            connection.close()
        thread.join()
