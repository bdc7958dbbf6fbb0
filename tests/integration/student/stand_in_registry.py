"""A RegistryService over real folders, whose aliases and faults the test decides."""

import hashlib
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

from seodang.api.registry.v1 import registry_pb2, registry_pb2_grpc


def version_of(name: str, folder: Path, *, shared: bool) -> registry_pb2.Version:
    """A version whose files are those of a folder; ``shared`` tells the folder to whoever asks."""
    files = [
        registry_pb2.File(
            path=path.name, bytes=path.stat().st_size, sha256=hashlib.sha256(path.read_bytes()).hexdigest()
        )
        for path in sorted(folder.iterdir())
    ]
    lines = "".join(f"{file.sha256}  {file.path}\n" for file in files)
    return registry_pb2.Version(
        name=name,
        files=files,
        total_bytes=sum(file.bytes for file in files),
        sha256=hashlib.sha256(lines.encode()).hexdigest(),
        folder=str(folder) if shared else "",
    )


class StandInRegistry(registry_pb2_grpc.RegistryServiceServicer):
    """Knows the versions and aliases that a test gives it."""

    def __init__(self) -> None:
        self.address = ""
        self.versions: dict[str, registry_pb2.Version] = {}
        self.folders: dict[str, Path] = {}
        self.aliases: dict[str, str] = {}
        self.away = False
        self.resolved = 0
        self.downloads = 0
        self.breaks_after: int | None = None
        """Bytes after which the next download breaks off."""
        self.sent = 0
        self.damage = b""
        """Sent in the place of the first bytes of every file."""

    def add(self, name: str, folder: Path, *, shared: bool = False) -> None:
        """Publishes a folder as a version."""
        self.versions[name] = version_of(name, folder, shared=shared)
        self.folders[name] = folder

    def GetVersion(self, request: registry_pb2.GetVersionRequest, context: Any) -> registry_pb2.GetVersionResponse:
        return registry_pb2.GetVersionResponse(version=self._version(request.name, context))

    def ResolveModel(
        self, request: registry_pb2.ResolveModelRequest, context: Any
    ) -> registry_pb2.ResolveModelResponse:
        self.resolved += 1
        return registry_pb2.ResolveModelResponse(
            version=self._version(self.aliases.get(request.name, request.name), context)
        )

    def DownloadVersion(
        self, request: registry_pb2.DownloadVersionRequest, context: Any
    ) -> Iterator[registry_pb2.DownloadVersionResponse]:
        self.downloads += 1
        left, room = request.skip_bytes, self.breaks_after
        self.breaks_after = None
        for file in self._version(request.version, context).files:
            content = (self.folders[request.version] / file.path).read_bytes()
            content = self.damage + content[len(self.damage) :]
            begin = min(left, len(content))
            left -= begin
            for offset in range(begin, max(1, len(content)), 40_000):
                part = content[offset : offset + 40_000]
                if room is not None and (room := room - len(part)) < 0:
                    context.abort(grpc.StatusCode.UNAVAILABLE, "the registry is going down")
                self.sent += len(part)
                yield registry_pb2.DownloadVersionResponse(path=file.path, offset=offset, data=part)

    def _version(self, name: str, context: Any) -> registry_pb2.Version:
        if self.away:
            context.abort(grpc.StatusCode.UNAVAILABLE, "the registry is away")
        if name not in self.versions:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no version {name}")
        return self.versions[name]


@contextmanager
def serve_registry() -> Iterator[StandInRegistry]:
    """The registry on a free port."""
    registry = StandInRegistry()
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    registry_pb2_grpc.add_RegistryServiceServicer_to_server(registry, server)
    registry.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield registry
    finally:
        server.stop(0).wait()
