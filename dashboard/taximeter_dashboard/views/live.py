"""Live tail: the newest requests and spans as they arrive, until one pauses it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import streamlit as st

from taximeter_dashboard import format, frame, queries, session
from taximeter_dashboard.components import table
from taximeter_dashboard.queries import RequestFilter
from taximeter_dashboard.request_rows import COLUMNS, request_rows
from taximeter_dashboard.scope import scope_of

EVERY_S: Final = 1.0
SIZE: Final = 50
SPANS_BACK: Final = timedelta(minutes=10)
_STEP_S: Final = 10
REQUEST_COLUMNS: Final = tuple(
    {name: value for name, value in column.items() if name != "sort"} for column in COLUMNS
)
SPAN_COLUMNS: Final = (
    {"label": "", "type": "status", "width": "34px"},
    {"label": "Received", "cls": "mute", "width": "132px"},
    {"label": "Kind", "cls": "mute", "width": "92px"},
    {"label": "Span", "type": "main", "prio": "p1"},
    {"label": "Agent", "cls": "strong", "width": "20%", "hide": "h1"},
    {"label": "Duration", "align": "r", "width": "96px", "prio": "p2"},
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tail:
    """What was read last: it stays on the page while it is paused."""

    asked: tuple[str, str, bool]
    rows: list[dict[str, object]]
    read_at: datetime


def draw() -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="live-row"):
        what = st.segmented_control(
            "What", ["Requests", "Spans"], default="Requests", required=True, key="what",
            bind="query-params", label_visibility="collapsed",
        )  # fmt: skip
        text = st.text_input(
            "Filter", type="search", placeholder="Name, agent, user, session, error", key="q",
            bind="query-params", live=True, label_visibility="collapsed", width=280,
            icon=":material/search:",
        )  # fmt: skip
        only_errors = st.toggle("Errors only", key="errors", bind="query-params")
        st.space("stretch")
        is_paused = st.toggle("Pause", key="paused")
    asked = (what or "Requests", (text or "").strip(), only_errors)
    every = None if is_paused or session.is_hidden() else EVERY_S
    st.fragment(frame.guarded(_tail), run_every=every, key="live-fragment")(asked, is_paused)


def _tail(asked: tuple[str, str, bool], is_paused: bool) -> None:
    kept: Tail | None = st.session_state.get("_tail")
    if kept is None or kept.asked != asked or not is_paused:
        kept = st.session_state["_tail"] = Tail(asked, _read(*asked), datetime.now(UTC))
    what, text, only_errors = asked
    if not kept.rows and not text and not only_errors:
        back = "hour" if what == "Requests" else f"{SPANS_BACK.seconds // 60} minutes"
        frame.nothing_yet(f"Nothing arrived in the last {back}", "It shows here when it does.")
        return
    zone = session.zone()
    at = format.moment(kept.read_at, zone)
    st.caption(f"Paused at {at}" if is_paused else f"Newest first · looked at {at}")
    columns: Sequence[dict[str, str]] = REQUEST_COLUMNS if what == "Requests" else SPAN_COLUMNS
    table(
        columns, kept.rows, key=f"live-{what.lower()}",
        empty=("Nothing matches", "Clear the filter, or wait for what does."),
    )  # fmt: skip


def _read(what: str, text: str, only_errors: bool) -> list[dict[str, object]]:
    now = datetime.now(UTC)
    if what == "Requests":
        wanted = RequestFilter(text, "Errors" if only_errors else "All")
        _, rows = queries.request_page(session.reader(), scope_of(now, "1h"), wanted, 1, SIZE)
        return request_rows(rows)
    # By steps, so that sessions that look at the same time ask the same question.
    since = now.replace(second=now.second // _STEP_S * _STEP_S, microsecond=0) - SPANS_BACK
    found = queries.newest_spans(
        session.reader(), since, text, only_errors=only_errors, limit=2 * SIZE
    )
    return [span_row(row) for row in found]


def span_row(row: queries.Row) -> dict[str, object]:
    """Return one span as the table component draws it."""
    received = format.moment(row["received_at"], session.zone())
    agent = row["agent_name"] or row["service_name"] or format.UNKNOWN
    took, cause = format.duration(row["duration_ms"]), None
    if row["status"] == "error":
        cause = row["error_type"] or format.words(row["error_class"] or "error")
    kind = row["kind"] or format.UNKNOWN
    href = session.url("request", id=row["trace_id"], span=row["span_id"])
    return {
        "id": row["span_id"],
        "sub": " · ".join(part for part in (kind, agent, received, cause) if part),
        "c": [
            cause,
            [received, f"started {row['start_time'].isoformat()}" if row["start_time"] else ""],
            kind,
            [row["name"] or row["span_id"], href, cause],
            agent,
            took,
        ],
    }


if __name__ == "__main__":  # as Streamlit runs it; an import draws nothing
    draw()
