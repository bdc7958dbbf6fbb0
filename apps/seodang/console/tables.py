"""Rows of facts as tables, states in their colours."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pandas as pd
import streamlit as st

GREEN: Final = "#0B6E4F"
BLUE: Final = "#3B5B92"
ORANGE: Final = "#B7791F"
RED: Final = "#B3372F"
GREY: Final = "#6B7178"

_PERCENT: Final = st.column_config.ProgressColumn(format="%.0f %%", min_value=0, max_value=100)


def table(
    rows: Sequence[Mapping[str, Any]],
    key: str | None = None,
    colours: Mapping[Any, str] | None = None,
    percent: Sequence[str] = (),
) -> None:
    """Draws rows of the same columns; a column called State is coloured by ``colours``, ``percent`` ones are bars."""
    frame = pd.DataFrame(rows).convert_dtypes()  # so that whole numbers stay whole beside a missing one
    shown: Any = frame
    if colours:
        known = colours
        shown = frame.style.format(na_rep="–", precision=0).map(
            lambda state: f"color: {known.get(state, GREY)}; font-weight: 600", subset=["State"]
        )
    columns = dict.fromkeys(percent, _PERCENT)
    st.dataframe(shown, hide_index=True, column_config=columns, placeholder="–", key=key)
