"""A messenger's HTTP API that notes what it is sent and answers as a test tells it."""

import json
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Posted:
    """A request that arrived, and when."""

    path: str
    headers: dict[str, str]
    content: Any
    at_s: float


@dataclass(frozen=True)
class Answering:
    """One answer. Without a status the connection is closed instead."""

    status: int | None = 200
    content: Any = field(default_factory=lambda: {"ok": True, "ts": "1700000000.000100"})
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0


class ScriptedMessenger:
    """Answers with ``script``, one after the other, then with ``usual``."""

    def __init__(self) -> None:
        self.posted: list[Posted] = []
        self.script: deque[Answering] = deque()
        self.usual = Answering()
        self._lock = threading.Lock()
        self.url = ""

    def texts(self) -> list[str]:
        """The texts of all chat.postMessage calls."""
        with self._lock:
            return [posted.content["text"] for posted in self.posted]

    def take(self, posted: Posted) -> Answering:
        """Notes a request and says how to answer it."""
        with self._lock:
            self.posted.append(posted)
            return self.script.popleft() if self.script else self.usual


@contextmanager
def scripted_messenger() -> Iterator[ScriptedMessenger]:
    """Serves on a free port in a thread."""
    messenger = ScriptedMessenger()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            body = self.rfile.read(length)
            if len(body) < length:
                # The sender died in the middle of its request.
                self.close_connection = True
                return
            headers = {name.lower(): value for name, value in self.headers.items()}
            answering = messenger.take(Posted(self.path, headers, json.loads(body), time.monotonic()))
            time.sleep(answering.delay_s)
            if answering.status is None:
                self.close_connection = True
                return
            content = json.dumps(answering.content).encode()
            self.send_response(answering.status)
            for name, value in {"content-type": "application/json", **answering.headers}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            # The sender may have died meanwhile.
            with suppress(ConnectionError):
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Keeps quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    messenger.url = f"http://127.0.0.1:{server.server_address[1]}/"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield messenger
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
