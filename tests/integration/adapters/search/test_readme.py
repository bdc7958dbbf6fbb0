"""The README's program runs as it stands."""

import asyncio
import re
from pathlib import Path

import pytest
from tests.integration.adapters.search.conftest import Mesh
from tests.scripted.inference import words

README = Path(__file__).parents[4] / "services/seodang/adapters/search/README.md"


async def test_the_readmes_program_finds_and_cites(mesh: Mesh, capsys: pytest.CaptureFixture[str]) -> None:
    mesh.student.answer = lambda request: words('훈장 [1] "훈장이 아이들에게 글을 가르쳤다."')
    (program,) = re.findall(r"```python\n(.+?)```", README.read_text(), re.DOTALL)
    await asyncio.to_thread(exec, program.replace("127.0.0.1:7112", mesh.client.address), {})
    assert capsys.readouterr().out.splitlines() == [
        "서당은 조선 시대의 글방이다. 훈장이 아이들에게 글을 가르쳤다.",
        "훈장 [('seodang', 17, 35, '훈장이 아이들에게 글을 가르쳤다.')]",
    ]
