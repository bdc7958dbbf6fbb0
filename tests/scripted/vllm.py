"""A server that speaks as vLLM does, and fails as the test says: what the real one cannot be made to do on demand."""

import json
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

DONE = b"data: [DONE]\n\n"
Body = dict[str, Any]
Script = Callable[[Body], Iterable[bytes]]


class Cut(Exception):
    """Ends a script in the middle: the connection breaks."""


class Hang(Exception):
    """Ends a script by silence, until the other side leaves."""


def event(
    *token_ids: int, finish: str | None = None, wanted: int | None = None, text: str = "", logprob: float = -1.0
) -> bytes:
    """One event of a completion; with log-probabilities if they are ``wanted``."""
    choice: Body = {"index": 0, "text": text, "finish_reason": finish, "token_ids": list(token_ids)}
    if wanted is not None:
        names = [f"token_id:{token}" for token in token_ids]
        choice["logprobs"] = {
            "tokens": names,
            "token_logprobs": [logprob] * len(names),
            "top_logprobs": [{name: logprob} for name in names],
        }
    return data({"choices": [choice]})


def data(content: Any) -> bytes:
    """One event of any content; as vLLM does it, nothing is escaped that JSON leaves as it is."""
    return b"data: " + json.dumps(content, ensure_ascii=False).encode() + b"\n\n"


def well(body: Body) -> Iterator[bytes]:
    """Tokens 10, 11, 12 and so on, as many as were asked for."""
    for at in range(body["max_tokens"]):
        last = at + 1 == body["max_tokens"]
        yield event(10 + at % 200, finish="length" if last else None, wanted=body.get("logprobs"))
    yield data({"choices": [], "usage": {"prompt_tokens_details": {"cached_tokens": 3}}})
    yield DONE


class ScriptedVllm:
    """Use ``up`` as ``with``; between two of them the address refuses connections."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.forget()

    def forget(self) -> None:
        """Everything is as at the beginning."""
        self.status = 200
        """Of ``/health``."""
        self.models: list[Body] = [{"id": "tiny", "max_model_len": 256, "parent": None}]
        self.script: Script = well
        """Of completions longer than the one token that proves a server's life."""
        self.proof: Script = well
        self.refusal: tuple[int, Body | str] | None = None
        """Status and answer to completions instead."""
        self.bodies: list[Body] = []
        self.headers: list[dict[str, str]] = []
        self.left = threading.Event()
        """Set once somebody has left a script that hangs."""

    @contextmanager
    def up(self) -> Iterator[None]:
        """Answers."""
        server = _Server(self)
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


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, scripted: ScriptedVllm) -> None:
        self.scripted = scripted
        self.connections: set[_Connection] = set()
        super().__init__(("127.0.0.1", scripted.port), _Connection)


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.connections.add(self)

    def finish(self) -> None:
        self.server.connections.discard(self)
        super().finish()

    def close(self) -> None:
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:  # the other side was faster
            return

    def log_message(self, *_: object) -> None:
        """Tests look at what came, not at a log of it."""

    def do_GET(self) -> None:
        scripted = self.server.scripted
        scripted.headers.append(dict(self.headers))
        if self.path == "/health":
            self._answer(scripted.status, "")
        elif self.path == "/v1/models":
            self._answer(200, {"data": scripted.models})
        else:
            self._answer(404, "Not Found")

    def do_POST(self) -> None:
        scripted = self.server.scripted
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        is_proof = body["max_tokens"] == 1
        if not is_proof:
            scripted.bodies.append(body)
        if scripted.refusal is not None and not is_proof:
            self._answer(*scripted.refusal)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self._play(scripted.proof(body) if is_proof else scripted.script(body))

    def _play(self, parts: Iterable[bytes]) -> None:
        try:
            for part in parts:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            self.wfile.write(b"0\r\n\r\n")
        except Cut:
            self.close_connection = True
        except Hang:
            if not self.connection.recv(1):
                self.server.scripted.left.set()
            self.close_connection = True
        except OSError:
            self.server.scripted.left.set()
            self.close_connection = True

    def _answer(self, status: int, content: Body | str) -> None:
        answer = content.encode() if isinstance(content, str) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
