"""`seodang download`: a student out of a registry, checked, and from where an earlier download broke off."""

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from seodang.api.registry.v1 import registry_pb2
from seodang.base.errors import Conflict
from seodang.client import AsyncClient
from seodang.client.download import check_folder, check_listing, download


async def fetch_student(address: str, name: str, folder: Path | None, console: Console) -> None:
    """The files of the version that a name stands for, in a folder that appears once it is whole.

    Raises:
        Conflict: the folder is there and holds something else, or what came is not what the registry lists.
        Unavailable: the registry is away; asked again, what came is not asked for again.
    """
    async with AsyncClient(address) as client:
        version = (await client.registry.ResolveModel(registry_pb2.ResolveModelRequest(name=name))).version
        target = folder or Path(version.name.removeprefix("models/").replace("/versions/", "-"))
        if target.exists():
            _check_same(version, target)
        else:
            await _fetch(client, version, target, console)
    console.print(
        f"{version.name} is in {target}: `seodang verify {target}` checks where it comes from", soft_wrap=True
    )


def _check_same(version: registry_pb2.Version, folder: Path) -> None:
    check_listing(version)
    try:
        check_folder(version, folder)
    except Conflict as error:
        raise Conflict(f"{folder} is there and is not {version.name}: name another folder with --to") from error


async def _fetch(client: AsyncClient, version: registry_pb2.Version, target: Path, console: Console) -> None:
    # Named by content, so that what is left of another version is never taken for a part of this one.
    partial = target.with_name(f".{target.name}.{version.sha256[:12]}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    columns = TextColumn("  {task.description}"), BarColumn(bar_width=32), DownloadColumn(), TransferSpeedColumn()
    with Progress(*columns, console=console) as bars:
        bar = bars.add_task(version.name, total=version.total_bytes)
        await download(client, version, partial, lambda done: bars.update(bar, completed=done))
    partial.rename(target)
