"""Requests: filter, search, sort and page through them; the collector does the work."""

from __future__ import annotations

from typing import Final

import streamlit as st

from taximeter_dashboard import blocks, format, frame, queries, session
from taximeter_dashboard.components import sheet, table
from taximeter_dashboard.narrowing import among_of, among_text
from taximeter_dashboard.queries import RequestFilter

SIZE: Final = 50
COSTS: Final = (0.0, 0.01, 0.05, 0.25, 1.0)
COLUMNS: Final = (
    {"label": "", "type": "status", "width": "34px"},
    {"label": "Time", "cls": "mute", "sort": "time", "width": "132px"},
    {"label": "Agent", "cls": "strong", "sort": "agent", "width": "138px", "hide": "h1"},
    {"label": "Request", "type": "main", "prio": "p1"},
    {"label": "Model", "cls": "mute", "width": "150px", "hide": "h2"},
    {"label": "Loops", "type": "meter", "color": "loop", "align": "r", "sort": "loops",
     "width": "78px"},
    {"label": "Duration", "align": "r", "sort": "duration", "width": "94px"},
    {"label": "Tokens", "align": "r", "cls": "mute", "sort": "tokens", "width": "128px",
     "hide": "h1"},
    {"label": "Cache", "type": "meter", "color": "cache", "align": "r", "sort": "cache",
     "width": "82px", "hide": "h1"},
    {"label": "Cost", "type": "meter", "color": "cost", "align": "r", "sort": "cost",
     "width": "92px", "prio": "p2"},
)  # fmt: skip


def first_page() -> None:
    st.session_state["page"] = 1


def on_sort() -> None:
    """Sort by the clicked column; the same one again turns the order around."""
    clicked = st.session_state["requests-table"].sort
    sort, is_descending = wanted_order()
    turned = not is_descending if clicked == sort else True
    st.query_params["sort"] = ("-" if turned else "") + clicked
    first_page()


def wanted_order() -> tuple[str, bool]:
    """Return the column and whether it descends, as the URL says: `-cost` descends."""
    text = st.query_params.get("sort", "-time")
    sort = text.lstrip("-")
    return (sort, text.startswith("-")) if sort in queries.SORTS else ("time", True)


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
    sort, is_descending = wanted_order()
    return RequestFilter(
        (text or "").strip(), status or "All", cost or 0.0, sort, is_descending,
        among_of(st.query_params.to_dict()),
    )  # fmt: skip


def as_row(row: queries.Row, dearest: float, longest: int) -> dict[str, object]:
    """Return one request as the table component draws it."""
    zone = session.zone()
    cause = _cause(row)
    tokens_in = _sum(row, "uncached_input_tokens", "cache_read_tokens", "cache_write_tokens")
    name = row["name"] or row["request_id"]
    loops, cost = row["loop_length"], row["cost_usd"]
    when = format.moment(row["start_time"], zone)
    parts = [row["agent_name"] or row["service_name"], f"{format.exact(loops)} loops",
             format.duration(row["duration_ms"]), when, cause]  # fmt: skip
    return {
        "id": row["request_id"],
        "sub": " · ".join(part for part in parts if part),
        "c": [
            cause,
            [when, row["start_time"].isoformat() if row["start_time"] else ""],
            row["agent_name"] or row["service_name"] or format.UNKNOWN,
            [name, session.url("request", id=row["request_id"]), cause],
            [format.listing(row["models"] or [], 1), ", ".join(row["models"] or [])],
            [format.exact(loops), (loops or 0) / longest],
            format.duration(row["duration_ms"]),
            f"{format.count(tokens_in)} → {format.count(row['output_tokens'])}",
            [format.percent(row["cache_hit_ratio"], 0), row["cache_hit_ratio"]],
            [format.usd(cost), (cost or 0) / dearest],
        ],
    }


def _cause(row: queries.Row) -> str | None:
    if not row["is_error"]:
        return None
    reason = row["termination_reason"]
    if reason not in (None, "completed", "error", "unknown"):
        return format.words(reason)
    return row["error_type"] or format.words(row["error_class"] or "error")


def _sum(row: queries.Row, *names: str) -> int | None:
    known = [row[name] for name in names if row[name] is not None]
    return sum(known) if known else None


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
    costs = sorted(row["cost_usd"] or 0 for row in rows)
    dearest = (costs[int(len(costs) * 0.95)] if costs else 0) or 1
    longest = max([20, *(row["loop_length"] or 0 for row in rows)])
    table(
        COLUMNS, [as_row(row, dearest, longest) for row in rows], key="requests-table",
        sort=wanted.sort, is_descending=wanted.is_descending, on_sort=on_sort,
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
