"""The fidelity report of a version, fetched from the registry once and kept for the session."""

from collections.abc import MutableMapping
from typing import Any, Final

from seodang.api.registry.v1 import registry_pb2
from seodang.base.errors import InvalidInput
from seodang.console.servers import Server

PAGE: Final = "fidelity.html"


def fidelity_page(server: Server, version: str, kept: MutableMapping[Any, Any], timeout_s: float) -> bytes | None:
    """The page; None if the version was published before there were reports.

    Args:
        version: "models/{model}/versions/{version}".
        kept: where pages of this session lie; a version never changes, so neither does its page.
    """
    key = f"{PAGE} {version}"
    if key not in kept:
        request = registry_pb2.DownloadVersionRequest(version=version, paths=[PAGE])
        try:
            kept[key] = b"".join(
                part.data for part in server.client.registry.DownloadVersion(request, timeout=timeout_s)
            )
        except InvalidInput as error:
            if error.field != "paths":
                raise
            kept[key] = None  # there is no such file
    page: bytes | None = kept[key]
    return page
