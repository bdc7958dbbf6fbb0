"""The README's program runs as it stands."""

import asyncio
import re
from pathlib import Path

import pytest
from tests.integration.adapters.messaging.conftest import Start

README = Path(__file__).parents[4] / "services/seodang/adapters/messaging/README.md"


async def test_the_readmes_program_gets_a_reply(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    (token,) = re.findall(r"KAKAO_TOKEN=(\S+)", README.read_text())
    (program,) = re.findall(r"```python\n(.+?)```", README.read_text(), re.DOTALL)
    async with start(kakao_token=token) as mesh:
        await asyncio.to_thread(exec, program.replace("127.0.0.1:7113", mesh.client.address), {})
    assert capsys.readouterr().out.splitlines() == [
        '200 {"version":"2.0","template":{"outputs":[{"simpleText":{"text":"네, 반가워요"}}]}}',
        "STATE_SENT 네, 반가워요",
    ]
