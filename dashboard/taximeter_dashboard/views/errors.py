"""Errors and tools: how often requests, calls and tools fail, at what, whether it was recovered, what it cost."""

from __future__ import annotations

from typing import Final

import streamlit as st

from taximeter_dashboard import blocks, charts, format, frame, queries, session
from taximeter_dashboard.charts import INK
from taximeter_dashboard.components import table
from taximeter_dashboard.headlines import Headline
from taximeter_dashboard.narrowing import WHAT_WORDS, failure_parameters
from taximeter_dashboard.panels import failed_by_cause, happened, headline_row, time_chart
from taximeter_dashboard.tool_rows import COLUMNS, MEANING, tool_rows

HEIGHT: Final = 226
HEADLINES: Final = (
    Headline("Request error rate", "error_rate", format.percent, INK["error"], "lower", 0.005,
             is_ratio=True, link={"status": "Errors"}),
    Headline("Call error rate", "call_error_rate", format.percent, INK["latency"], "lower", 0.005,
             is_ratio=True, link={"failed": "call"}),
    Headline("Tool error rate", "tool_error_rate", format.percent, INK["loop"], "lower", 0.005,
             is_ratio=True, link={"failed": "tool"}),
    Headline("Recovered", "recovered_rate", format.percent, INK["cache"], "higher", 0.02,
             is_ratio=True, link={"status": "Recovered"}),
)  # fmt: skip
EXTRA: Final = ("requests", "failed_requests", "retry_rate", "throttled_rate")
GROUPINGS: Final = {"Class": "class", "Type": "type", "Tool": "tool", "Model": "model",
                    "Agent": "agent"}  # fmt: skip


def draw() -> None:
    scope, reader = session.scope(), session.reader()
    names = [headline.metric for headline in HEADLINES]
    now = queries.totals(reader, scope, [*names, *EXTRA])
    if not now["sample_requests"] and now["call_error_rate"] is None:
        frame.nothing_yet("No requests in this window", "Widen the time range or clear a filter.")
        return
    _headlines(now)
    happened()
    with st.grid(2, min_column_width=350, gap="small"):
        _rates()
        failed_by_cause(now, height=HEIGHT)
    _failures()
    _tools()


def _headlines(now: queries.Row) -> None:
    units = {
        "error_rate": f"{format.count(now['failed_requests'] or 0)}"
        f" of {format.count(now['requests'])}",
        "call_error_rate": f"{format.percent(now['throttled_rate'])} throttled",
        "tool_error_rate": "of executions",
        "recovered_rate": "of requests with a failure",
    }
    headline_row(HEADLINES, now, units=units, key="error-kpis")


def _rates() -> None:
    lines = [headline for headline in HEADLINES if headline.metric != "recovered_rate"]
    names = [line.metric for line in lines]
    series = queries.over_time(session.reader(), session.scope(), names)
    drawn = [
        charts.Line(
            line.label.removesuffix(" error rate"),
            [None if v is None else v * 100 for v in series.values[line.metric]],
            line.color,
        )
        for line in lines
    ]
    with frame.card(
        "Error rates", "requests, attempts at model calls, tool executions", key="rates"
    ):
        spec = charts.lines(series.times, drawn, y_format="{value}%", tip="%.1f%%")
        time_chart(
            spec, series.times, height=HEIGHT, key="rates",
            alt="Error rates of requests, model calls and tools over time",
        )  # fmt: skip


FAILURE_COLUMNS: Final = (
    {"label": "Failure", "type": "main", "prio": "p1"},
    {"label": "Of", "cls": "mute", "width": "96px", "hide": "h1"},
    {"label": "Failures", "align": "r", "width": "88px", "prio": "p2"},
    {"label": "Share", "type": "meter", "color": "error", "align": "r", "width": "82px"},
    {"label": "Retried", "align": "r", "width": "84px", "hide": "h1"},
    {"label": "Requests", "align": "r", "width": "92px"},
    {"label": "Recovered", "type": "meter", "color": "cache", "align": "r", "width": "100px"},
    {"label": "Spent on failed", "align": "r", "width": "124px"},
)  # fmt: skip


@st.fragment(key="failures-fragment")
@frame.guarded
def _failures() -> None:
    spent = queries.spent_on_failed(session.reader(), session.scope())
    sub = (
        f"{format.usd(spent['cost_usd'])} spent on {format.exact(spent['requests'])} failed requests"
        " · a recovered failure is one whose request ended well"
    )
    with frame.card("What failed", sub, key="what", badges=unpriced_badges(spent)):
        chosen = st.segmented_control(
            "By", list(GROUPINGS), default="Class", required=True, key="by", bind="query-params",
            label_visibility="collapsed",
        )  # fmt: skip
        dimension = GROUPINGS[chosen or "Class"]
        found = queries.failures(session.reader(), session.scope(), dimension)
        table(
            FAILURE_COLUMNS, [failure_row(row, dimension) for row in found], key="failures-table",
            empty=("Nothing failed", "No request, model call or tool of this kind failed."),
        )  # fmt: skip


def failure_row(row: queries.Row, dimension: str) -> dict[str, object]:
    """Return one group of failures as the table component draws it."""
    what, recovered = WHAT_WORDS[row["what"]], row["recovered_requests"] / row["requests"]
    name = format.words(row["name"]) if dimension == "class" else row["name"]
    spent = format.usd(row["failed_usd"] if row["requests"] > row["recovered_requests"] else 0)
    href = session.url("requests", **failure_parameters(row["what"], dimension, row["name"]))
    # Requests do not recover: a failed one has failed.
    saved = [format.UNKNOWN, None] if row["what"] == "request" else [
        format.percent(recovered), recovered]  # fmt: skip
    parts = [what, f"in {format.exact(row['requests'])} requests", f"{spent} spent on failed"]
    if row["what"] != "request":
        parts.insert(2, f"{saved[0]} recovered")
    return {
        "id": f"{row['what']}/{row['name']}",
        "sub": " · ".join(parts),
        "c": [
            [name, href, None],
            what,
            format.exact(row["failures"]),
            [format.percent(row["share"]), row["share"]],
            format.exact(row["retried"]),
            format.exact(row["requests"]),
            saved,
            spent,
        ],
    }


def unpriced_badges(row: queries.Row) -> list[blocks.Badge]:
    """Return the badge of a sum that leaves requests out for want of a price."""
    number = row["unpriced_requests"]
    return [blocks.badge(f"{format.exact(number)} without a price", "warn")] if number else []


def _tools() -> None:
    rows = tool_rows(queries.tools(session.reader(), session.scope()))
    with frame.card("Tools", MEANING, key="tools"):
        table(
            COLUMNS, rows, key="tools-table",
            empty=("No tool ran", "Tool executions appear when an agent reports them."),
        )  # fmt: skip


if __name__ == "__main__":  # as Streamlit runs it; an import draws nothing
    draw()
