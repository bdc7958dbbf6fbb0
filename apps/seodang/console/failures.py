"""Failures as people want to read them: what happened and what to do, never a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from seodang.base.errors import DeadlineExpired, InvalidInput, SeodangError, Unavailable
from seodang.console.servers import Server


@contextmanager
def shown(server: Server) -> Iterator[None]:
    """Shows an error of the tree that is raised inside, and goes on after the block."""
    try:
        yield
    except SeodangError as error:
        show(server, error)


def show(server: Server, error: SeodangError) -> None:
    """Shows one error."""
    if isinstance(error, Unavailable | DeadlineExpired):
        st.error(
            f"**The {server.name} server does not answer** at `{server.address}`. Start it with `{server.command}`, or "
            f"look at its log if it runs already.\n\n{_quoted(error)}",
            icon=":material/cloud_off:",
        )
    elif isinstance(error, InvalidInput):
        st.warning(_quoted(error), icon=":material/edit:")
    else:
        st.error(f"The {server.name} server refused: {_quoted(error)}", icon=":material/block:")


def _quoted(error: SeodangError) -> str:
    """Server text is shown as it is: it must not become markup."""
    return "`" + error.message.replace("`", "'").replace("\n", " ") + "`"
