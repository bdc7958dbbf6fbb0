"""A server that speaks as vLLM does, and fails as the test says: what the real one cannot be made to do on demand."""

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.scripted.http_server import Connection, ScriptedServer, answering, free_port

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
        self.port = free_port()
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
        with answering(ScriptedServer(self.port, self, _Connection)):
            yield


class _Connection(Connection):
    server: ScriptedServer[ScriptedVllm]

    def do_GET(self) -> None:
        scripted = self.server.script
        scripted.headers.append(dict(self.headers))
        if self.path == "/health":
            self.answer(scripted.status, "")
        elif self.path == "/v1/models":
            self.answer(200, {"data": scripted.models})
        else:
            self.answer(404, "Not Found")

    def do_POST(self) -> None:
        scripted = self.server.script
        body = self.json_body()
        is_proof = body["max_tokens"] == 1
        if not is_proof:
            scripted.bodies.append(body)
        if scripted.refusal is not None and not is_proof:
            self.answer(*scripted.refusal)
            return
        self.begin("text/event-stream")
        self._play(scripted.proof(body) if is_proof else scripted.script(body))

    def _play(self, parts: Iterable[bytes]) -> None:
        try:
            for part in parts:
                self.part(part)
            self.part(b"")
        except Cut:
            self.close_connection = True
        except Hang:
            if not self.connection.recv(1):
                self.server.script.left.set()
            self.close_connection = True
        except OSError:
            self.server.script.left.set()
            self.close_connection = True
