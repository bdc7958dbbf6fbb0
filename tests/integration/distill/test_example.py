"""The example and the snippet of the README, run as they are written, against the real server."""

import asyncio
import re
import sys
from pathlib import Path

from tests.integration.distill.conftest import Start

ROOT = Path(__file__).resolve().parents[3]
README = ROOT / "services" / "seodang" / "distill" / "README.md"


async def output_of(*command: str | Path) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await asyncio.wait_for(process.communicate(), 100)
    assert process.returncode == 0, said.decode()
    return said.decode()


async def test_the_example_distils_watches_and_reports(start: Start) -> None:
    client = await start()
    said = await output_of(
        ROOT / "examples" / "distill.py", "--address", client.address, "--teacher", "models/teacher", "--steps", "20"
    )
    assert re.search(r"^student +step +20  loss 0\.\d+  held out \d\.\d+$", said, re.MULTILINE), said
    assert "no-teacher   exact answer 0.800" in said
    assert "models/my-home/versions/1 models/my-home@production" in said


async def test_the_snippet_of_the_page_runs(start: Start) -> None:
    client = await start()
    (snippet,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    snippet = snippet.replace("127.0.0.1:7103", client.address).replace("models/teacher-mini", "models/teacher")
    said = await output_of("-c", snippet)
    assert said.rstrip().endswith("models/my-home@production now"), said
