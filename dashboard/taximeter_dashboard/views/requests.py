"""Requests: filter, search, sort and page through them; the collector does the work."""

from __future__ import annotations

from typing import Final

import streamlit as st

from taximeter_dashboard import blocks, format, frame, queries, session
from taximeter_dashboard.components import sheet, table
from taximeter_dashboard.narrowing import among_of, among_text
from taximeter_dashboard.ordering import first_page, sorter, wanted_order
from taximeter_dashboard.queries import RequestFilter
from taximeter_dashboard.request_rows import COLUMNS, request_rows

SIZE: Final = 50
COSTS: Final = (0.0, 0.01, 0.05, 0.25, 1.0)


def narrowed() -> RequestFilter:
    """Draw the search row and return what it says."""
    text = st.text_input(
        "Search", type="search", placeholder="Name, id, agent, user, model, tool, error", key="q",
        bind="query-params", live=True, label_visibility="collapsed", width=300,
        on_change=first_page, icon=":material/search:",
    )  # fmt: skip
    status = st.segmented_control(
        "Status", list(queries.STATUSES), default="All", required=True, key="status",
        bind="query-params", label_visibility="collapsed", on_change=first_page,
    )  # fmt: skip
    cost = st.selectbox(
        "Minimum cost", COSTS, key="min_cost", bind="query-params",
        format_func=lambda value: f"≥ {format.usd(value)}" if value else "Any cost",
        label_visibility="collapsed", width=124, on_change=first_page,
    )  # fmt: skip
    sort, is_descending = wanted_order(queries.SORTS, "time")
    return RequestFilter(
        (text or "").strip(), status or "All", cost or 0.0, sort, is_descending,
        among_of(st.query_params.to_dict()),
    )  # fmt: skip


@st.fragment(key="requests-fragment")
@frame.guarded
def draw() -> None:
    scope, reader = session.scope(), session.reader()
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="search-row"):
        wanted = narrowed()
        st.space("stretch")
        counted = st.empty()
    page = int(st.session_state.get("page") or 1)
    number, rows = queries.request_page(reader, scope, wanted, page, SIZE)
    noun = "request" if number == 1 else "requests"
    counted.caption(f"**{format.exact(number)}** {noun}", width="content")
    if wanted.among.is_any:
        only = blocks.item(
            among_text(wanted.among), meta="show all requests", href=session.url("requests")
        )
        sheet([blocks.listing([only])], key="among")
    if not number and wanted == RequestFilter():
        frame.nothing_yet("No requests in this window", "Widen the time range or clear a filter.")
        return
    table(
        COLUMNS, request_rows(rows), key="requests-table",
        sort=wanted.sort, is_descending=wanted.is_descending,
        on_sort=sorter("requests-table", wanted.sort, wanted.is_descending),
        empty=("No request matches", "Clear a filter or widen the time range."),
    )  # fmt: skip
    with st.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center"):
        first, last = (page - 1) * SIZE + 1, min(page * SIZE, number)
        if number:
            text = f"{format.exact(first)}–{format.exact(last)} of {format.exact(number)}"
            st.caption(text, width="content")
        st.pagination(
            max(1, -(-number // SIZE)), key="page", bind="query-params", max_visible_pages=5
        )


if __name__ == "__main__":  # as Streamlit runs it; an import draws nothing
    draw()
