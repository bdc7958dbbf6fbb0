"""The servers of the mesh as the console knows them, and how each one stands."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from grpc_health.v1 import health_pb2

from seodang.api.inference.v1 import inference_pb2, model_pb2
from seodang.api.serving.v1 import control_pb2
from seodang.base.errors import SeodangError
from seodang.client import Client
from seodang.console.settings import ConsoleSettings

_MODULES: Final = {
    "teacher": "seodang.teacher",
    "student": "seodang.student",
    "distill": "seodang.distill",
    "voice": "seodang.adapters.voice",
    "search": "seodang.adapters.search",
    "messaging": "seodang.adapters.messaging",
    "robotics": "seodang.adapters.robotics",
}
_INFERENCE: Final = ("teacher", "student")
_PAGE: Final = 1000


class Health(StrEnum):
    """How a server stands, in a word."""

    SERVING = "serving"
    STARTING = "starting"
    """It answers, and is not ready yet."""
    DRAINING = "draining"
    DOWN = "down"


@dataclass(frozen=True)
class Server:
    """A server by name; ``command`` starts it."""

    name: str
    client: Client
    command: str

    @property
    def address(self) -> str:
        """host:port."""
        return self.client.address


@dataclass(frozen=True)
class Status:
    """How a server stands now; ``info`` and ``load`` are empty when it is down, and ``why`` says why."""

    server: Server
    health: Health
    info: control_pb2.GetServerInfoResponse
    load: control_pb2.GetLoadResponse
    why: str = ""


@dataclass(frozen=True)
class Held:
    """A model and the server that holds it."""

    model: model_pb2.Model
    server: Server

    @property
    def short_name(self) -> str:
        """Without ``models/``."""
        return self.model.name.removeprefix("models/")


class Mesh:
    """Connections to every server; they open by themselves and outlive restarts of the servers."""

    def __init__(self, settings: ConsoleSettings) -> None:
        self.settings = settings
        addresses: Mapping[str, str] = {name: getattr(settings, f"{name}_address") for name in _MODULES}
        self.servers = {
            name: Server(name, Client(addresses[name]), f"python -m {module}") for name, module in _MODULES.items()
        }

    def __getitem__(self, name: str) -> Server:
        return self.servers[name]

    def statuses(self) -> list[Status]:
        """How every server stands, asked side by side."""
        with ThreadPoolExecutor(len(self.servers)) as pool:
            return list(pool.map(self._status, self.servers.values()))

    def models(self) -> tuple[list[Held], list[tuple[Server, SeodangError]]]:
        """The models of the inference servers that answer, and why the others do not."""
        with ThreadPoolExecutor(len(_INFERENCE)) as pool:
            answers = list(pool.map(self._models, (self[name] for name in _INFERENCE)))
        held = [model for answer in answers if isinstance(answer, list) for model in answer]
        return held, [answer for answer in answers if isinstance(answer, tuple)]

    def _models(self, server: Server) -> list[Held] | tuple[Server, SeodangError]:
        try:
            return [Held(model, server) for model in self._pages(server)]
        except SeodangError as error:
            return server, error

    def _pages(self, server: Server) -> Iterator[model_pb2.Model]:
        token = ""
        while True:
            request = inference_pb2.ListModelsRequest(page_size=_PAGE, page_token=token)
            page = server.client.inference.ListModels(request, timeout=self.settings.timeout_s)
            yield from page.models
            token = page.next_page_token
            if not token:
                return

    def _status(self, server: Server) -> Status:
        control, timeout_s = server.client.control, self.settings.timeout_s
        try:
            info = control.GetServerInfo(control_pb2.GetServerInfoRequest(), timeout=timeout_s)
            load = control.GetLoad(control_pb2.GetLoadRequest(), timeout=timeout_s)
            health = server.client.health.Check(health_pb2.HealthCheckRequest(), timeout=timeout_s)
        except SeodangError as error:
            nothing = control_pb2.GetServerInfoResponse(), control_pb2.GetLoadResponse()
            return Status(server, Health.DOWN, *nothing, why=error.message)
        serves = health.status == health_pb2.HealthCheckResponse.SERVING
        state = Health.DRAINING if load.draining else Health.SERVING if serves else Health.STARTING
        return Status(server, state, info, load)
