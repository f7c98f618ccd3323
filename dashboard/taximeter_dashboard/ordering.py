"""How a long table is sorted and paged: kept in the address, so that it can be shared."""

from __future__ import annotations

from collections.abc import Callable, Collection

import streamlit as st


def first_page() -> None:
    """Go back to the first page: what is listed has changed."""
    st.session_state["page"] = 1


def wanted_order(sorts: Collection[str], default: str) -> tuple[str, bool]:
    """Return the column and whether it descends, as the address says: `-cost` descends.

    `default` descends, and stands in for a column that can't be sorted by.
    """
    text = st.query_params.get("sort", f"-{default}")
    sort = text.lstrip("-")
    return (sort, text.startswith("-")) if sort in sorts else (default, True)


def sorter(table: str, sort: str, is_descending: bool) -> Callable[[], None]:
    """Return what a click on a heading of the table with this key does.

    It sorts by that column; the one that is sorted by already turns the order around.
    """

    def sort_by_click() -> None:
        clicked = st.session_state[table].sort
        turned = not is_descending if clicked == sort else True
        st.query_params["sort"] = ("-" if turned else "") + clicked
        first_page()

    return sort_by_click
