"""Pages of the console, run by Streamlit's own test runner, in front of real servers whose answers are scripted."""

from collections.abc import Callable, Iterator

import pytest
from streamlit.testing.v1 import AppTest
from tests.scripted.mesh import ScriptedMesh, scripted_mesh


def _page(view: str) -> None:
    import importlib

    from seodang.console.servers import Mesh
    from seodang.console.settings import ConsoleSettings

    importlib.import_module(f"seodang.console.views.{view}").show(Mesh(ConsoleSettings.load()))


@pytest.fixture
def mesh(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedMesh]:
    with scripted_mesh() as mesh:
        for name, value in mesh.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("SEODANG_CONSOLE_TIMEOUT_S", "2")
        yield mesh


@pytest.fixture
def page(mesh: ScriptedMesh) -> Callable[[str], AppTest]:
    """Opens a page by the name of its module."""

    def open_page(view: str) -> AppTest:
        app = AppTest.from_function(_page, default_timeout=60, kwargs={"view": view}).run()
        assert not app.exception, app.exception[0].stack_trace
        return app

    return open_page
