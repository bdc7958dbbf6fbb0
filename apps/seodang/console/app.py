"""The console's entry, run by Streamlit: pages in the sidebar, one mesh for all sessions."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import streamlit as st

from seodang.console.servers import Mesh
from seodang.console.settings import ConsoleSettings
from seodang.console.views import compare, jobs, new_job, overview, playground, registry

_ASSETS = Path(__file__).parent / "assets"


def _page(view: ModuleType, mesh: Mesh) -> Callable[[], None]:
    def run() -> None:
        view.show(mesh)

    return run


def main() -> None:
    """Draws the page that the browser asks for."""
    st.set_page_config(page_title="Seodang", page_icon=str(_ASSETS / "icon.svg"), layout="wide")
    st.logo(str(_ASSETS / "seodang.svg"), size="large", icon_image=str(_ASSETS / "icon.svg"))
    mesh = st.cache_resource(lambda: Mesh(ConsoleSettings.load()), show_spinner=False)()
    sections = {
        "Watch": [
            st.Page(_page(overview, mesh), title="Mesh", icon=":material/hub:", default=True),
            st.Page(_page(jobs, mesh), title="Jobs", icon=":material/timeline:", url_path="jobs"),
            st.Page(_page(registry, mesh), title="Registry", icon=":material/inventory_2:", url_path="registry"),
        ],
        "Do": [
            st.Page(_page(new_job, mesh), title="New job", icon=":material/add_circle:", url_path="new-job"),
            st.Page(_page(compare, mesh), title="Compare", icon=":material/compare:", url_path="compare"),
            st.Page(_page(playground, mesh), title="Playground", icon=":material/chat:", url_path="playground"),
        ],
    }
    st.navigation(sections).run()


if __name__ == "__main__":
    main()
