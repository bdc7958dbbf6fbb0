"""The `seodang` command as a shell runs it, on a server of the tests."""

import asyncio
import sys
from pathlib import Path

from seodang.client import AsyncClient


async def seodang(client: AsyncClient, *arguments: str, folder: Path | None = None) -> tuple[int, str]:
    """The status and what is printed, spaces as one."""
    command = [sys.executable, "-m", "seodang.cli", *arguments, "--address", client.address]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env={"COLUMNS": "300"}, cwd=folder
    )
    said, _ = await process.communicate()
    return process.returncode or 0, " ".join(said.decode().split())
