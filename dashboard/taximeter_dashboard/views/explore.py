"""Explore: one's own SQL over the read API, as a table, a chart, a file or a link."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import streamlit as st

from taximeter_collector.client import QueryError
from taximeter_dashboard import blocks, format, frame, queries, results, session
from taximeter_dashboard.components import sheet
from taximeter_dashboard.reading import TIMEOUT_S
from taximeter_dashboard.statements import EXAMPLES, pointed_at, with_column

MAX_ROWS: Final = 10_000
MAX_BYTES: Final = 8 * 1024 * 1024
"""Of an answer: it is kept as long as the session shows it."""
SHOWN: Final = 200
WAYS: Final = ("Table", "Chart")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a statement: a table or an error."""

    sql: str
    table: pa.Table | None
    error: QueryError | None
    took_ms: float


def draw() -> None:
    state = st.session_state
    with st.container(border=True, key="card-statement", gap="xsmall"):
        text = (
            f"One SELECT over the views · at most {format.exact(MAX_ROWS)} rows and"
            f" {TIMEOUT_S:.0f} s · times are UTC · the address holds the statement: share it"
        )
        sheet([blocks.title("SQL", text)], key="statement-title")
        st.pills(
            "Examples", list(EXAMPLES), key="example", on_change=_take_example,
            label_visibility="collapsed",
        )  # fmt: skip
        sql = st.text_area(
            "Statement", key="sql", bind="query-params", height=170, max_chars=6_000,
            placeholder="select …", label_visibility="collapsed",
        )  # fmt: skip
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            is_asked = st.button(
                "Run", type="primary", icon=":material/play_arrow:", key="run",
                shortcut="Ctrl+Enter",
            )  # fmt: skip
            with st.popover("Columns", icon=":material/table:", key="columns"):
                _columns()
            with st.popover("Metrics", icon=":material/functions:", key="metrics"):
                _metrics()
    sql = (sql or "").strip()
    if not sql:
        state.pop("_answer", None)
        _views()
        return
    # A shared address runs when it is opened; what is being written does not run by itself.
    if is_asked or state.pop("_run", False) or "_answer" not in state:
        state["_answer"] = _asked(sql)
    answer: Answer = state["_answer"]
    _show(answer, is_current=answer.sql == sql)


@frame.guarded
def _views() -> None:
    known = queries.view_columns(session.reader())
    items = [
        blocks.item(view, format.listing([name for name, _ in columns], 12))
        for view, columns in known.items()
    ]
    with frame.card("Views", "what a statement can read; an example shows how", key="views"):
        sheet([blocks.listing(items)], key="views-list")


def _take_example() -> None:
    chosen = st.session_state["example"]
    if chosen is not None:
        st.session_state["sql"] = EXAMPLES[chosen]
        st.session_state["example"] = None
        st.session_state["_run"] = True


def _columns() -> None:
    try:
        known = queries.view_columns(session.reader())
    except QueryError as error:
        sheet([blocks.note(error.message, "bad")], key="no-columns")
        return
    view = st.selectbox("View", list(known), key="view")
    types = dict(known[view])
    st.pills(
        "A column goes into the statement", list(types), key="column", on_change=_take_column,
        help=None,
    )  # fmt: skip
    facts: list[blocks.Fact] = [(name, kind.lower()[:40]) for name, kind in known[view]]
    with st.expander("Types", key="types"):
        sheet([blocks.key_values(facts)], key="column-types")


def _take_column() -> None:
    state = st.session_state
    if state["column"] is not None:
        state["sql"] = with_column(state.get("sql") or "", state["view"], state["column"])
        state["column"] = None


def _metrics() -> None:
    try:
        known = {row["name"]: row for row in queries.metric_definitions(session.reader())}
    except QueryError as error:
        sheet([blocks.note(error.message, "bad")], key="no-metrics")
        return
    st.selectbox(
        "A metric's definition becomes the statement", list(known), index=None, key="metric",
        on_change=lambda: _take_metric(known),
    )  # fmt: skip


def _take_metric(known: dict[str, queries.Row]) -> None:
    state = st.session_state
    if state["metric"] is not None:
        state["sql"] = known[state["metric"]]["sql"]
        state["metric"] = None
        state["_run"] = True


def _asked(sql: str) -> Answer:
    started = time.monotonic()
    table, fault = None, None
    try:
        table = session.reader().table(sql, MAX_ROWS)
        if table.nbytes > MAX_BYTES:
            size = f"{table.nbytes / 2**20:.0f} MB, of at most {MAX_BYTES / 2**20:.0f}"
            table, fault = None, QueryError(
                "too_large", f"The answer has {size}: ask for fewer rows or columns."
            )  # fmt: skip
    except QueryError as error:
        fault = error
    return Answer(sql, table, fault, (time.monotonic() - started) * 1000)


def _show(answer: Answer, *, is_current: bool) -> None:
    if answer.error is not None:
        _fault(answer.sql, answer.error)
        return
    table = answer.table
    assert table is not None
    number = table.num_rows
    noun = "row" if number == 1 else "rows"
    sub = f"{format.exact(number)} {noun} in {format.duration(answer.took_ms)}"
    if number > SHOWN:
        sub += f" · the first {SHOWN} are shown, files hold all"
    badges = [] if is_current else [blocks.badge("of an earlier statement", "warn")]
    with frame.card("Answer", sub, key="answer", badges=badges):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            way = st.segmented_control(
                "Show", list(WAYS), default="Table", required=True, key="show",
                bind="query-params", label_visibility="collapsed",
            )  # fmt: skip
            st.space("stretch")
            _files(table)
        if way == "Chart":
            _chart(table)
            return
        head = [results.heading(field) for field in table.schema]
        if not number:
            sheet([blocks.note("The statement ran and found no row.")], key="no-row")
            return
        sheet([blocks.grid(head, results.shown_rows(table, SHOWN))], key="answer-grid")


def _files(table: pa.Table) -> None:
    st.download_button(
        "CSV", lambda: results.as_csv(table), "taximeter.csv", "text/csv", key="csv",
        on_click="ignore", icon=":material/download:",
    )  # fmt: skip
    st.download_button(
        "Parquet", lambda: results.as_parquet(table), "taximeter.parquet",
        "application/vnd.apache.parquet", key="parquet", on_click="ignore",
        icon=":material/download:",
    )  # fmt: skip


def _fault(sql: str, error: QueryError) -> None:
    if error.type == "unreachable":
        frame.unavailable(error)
        return
    where = (
        "" if error.position is None else f"Line {error.position[0]}, column {error.position[1]}: "
    )
    shown = [blocks.note(f"{where}{error.message}", "bad")]
    if error.position is not None:
        shown.append(blocks.verbatim(pointed_at(sql, error.position)))
    with frame.card("No answer", format.words(error.type), key="fault"):
        sheet(shown, key="fault-text")


def _chart(table: pa.Table) -> None:
    x, amounts, split = results.axes_of(table.schema)
    names = table.schema.names
    numbers = [f.name for f in table.schema if results.is_number(f.type)]
    if not amounts or not table.num_rows:
        text = "A chart needs rows with a number. Add one to the statement."
        sheet([blocks.note(text)], key="no-chart")
        return
    of = "|".join(names)  # another answer's choice would name columns that are not there
    with st.container(horizontal=True, gap="small", key="chart-axes"):
        first = results.KINDS.index(results.kind_of(table.schema, x))
        kind = st.selectbox("Draw", results.KINDS, first, key=f"draw-{of}", width=110)
        at = st.selectbox("Along", names, names.index(x), key=f"along-{of}", width=180)
        shown = st.multiselect("Amounts", numbers, amounts[:1], key=f"amounts-{of}", width=280)
        parts = [None, *(name for name in names if name not in numbers and name != at)]
        by = st.selectbox(
            "One series a", parts, parts.index(split) if split in parts else 0, key=f"split-{of}",
            format_func=lambda name: name or "amount", width=180,
        )  # fmt: skip
    if shown:
        st.plotly_chart(
            results.figure(table, kind, at, shown, by), key="chart-answer",
            config={"displaylogo": False}, alt=f"{', '.join(shown)} by {at}",
        )  # fmt: skip


if __name__ == "__main__":  # as Streamlit runs it; an import draws nothing
    draw()
