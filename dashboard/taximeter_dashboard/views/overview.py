"""Overview: the four headline numbers, what they are made of, and what is on fire."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import streamlit as st

from taximeter_dashboard import blocks, charts, format, frame, queries, session
from taximeter_dashboard.agent_rows import COLUMNS, agent_rows
from taximeter_dashboard.alerting import as_alert, firing_items
from taximeter_dashboard.charts import INK
from taximeter_dashboard.components import sheet, table
from taximeter_dashboard.headlines import Headline
from taximeter_dashboard.panels import (
    failed_by_cause,
    happened,
    headline_row,
    spend_over_time,
    time_chart,
)

HEIGHT: Final = 236
CACHE_TARGET: Final = 0.5
TOTALS: Final = (
    "cost_usd", "cost_per_request_usd", "requests", "failed_requests", "loop_length_mean",
    "loop_length_max", "error_rate", "cache_hit_ratio",
)  # fmt: skip


HEADLINES: Final = (
    Headline("Cost per request", "cost_per_request_usd", format.usd, INK["cost"], "lower", 0.05,
             is_money=True, link={"sort": "-cost"}),
    Headline("Loop length", "loop_length_mean", format.decimal, INK["loop"], "lower", 0.05,
             link={"sort": "-loops"}),
    Headline("Error rate", "error_rate", format.percent, INK["error"], "lower", 0.005,
             is_ratio=True, link={"status": "Errors"}),
    Headline("Cache-hit ratio", "cache_hit_ratio", format.percent, INK["cache"], "higher", 0.02,
             is_ratio=True, link={"sort": "cache"}),
)  # fmt: skip


LOOPS: Final = {"loop_length_p99": "#C9B3EE", "loop_length_p95": INK["loop"],
                "loop_length_p50": INK["muted"]}  # fmt: skip


def draw() -> None:
    scope, reader = session.scope(), session.reader()
    _firing()
    now = queries.totals(reader, scope, TOTALS)
    if not now["sample_requests"] and not now["cost_usd"]:
        frame.nothing_yet("No requests in this window", "Widen the time range or clear a filter.")
        return
    # One question for all that is drawn by bucket: each costs more than its rows.
    names = [*(headline.metric for headline in HEADLINES), *LOOPS]
    series = queries.over_time(reader, scope, names)
    _headlines(now, series)
    happened()
    with st.grid(2, min_column_width=350, gap="small"):
        _spend(now)
        _loops(series)
        failed_by_cause(now, height=HEIGHT)
        _cache(series)
    _agents()


def _firing() -> None:
    answer = session.alerts().alerts()
    alerts = [as_alert(row) for row in answer.rows]
    items = firing_items(alerts, session.zone(), datetime.now(UTC), session.url)
    if items:
        sheet([blocks.listing(items, is_strip=True)], key="firing")


def _headlines(now: queries.Row, series: queries.Series) -> None:
    units = {
        "cost_per_request_usd": f"{format.usd(now['cost_usd'])} total",
        "loop_length_mean": f"calls · max {format.exact(now['loop_length_max'])}",
        "error_rate": f"{format.count(now['failed_requests'] or 0)}"
        f" of {format.count(now['requests'])}",
        "cache_hit_ratio": "of prompt tokens",
    }
    headline_row(HEADLINES, now, units=units, key="kpis", series=series)


def _spend(now: queries.Row) -> None:
    sub = f"{format.usd(now['cost_usd'])} · {format.count(now['requests'])} requests"
    spend_over_time(now, "model", "Spend by model", sub, key="spend", height=HEIGHT)


def _loops(series: queries.Series) -> None:
    drawn = [
        charts.Line(name.rsplit("_", 1)[1], series.values[name], ink,
                    width=1.2 if name.endswith("p99") else 1.8)
        for name, ink in LOOPS.items()
    ]  # fmt: skip
    with frame.card("Loop length", "model calls per request · p50, p95, p99", key="loops"):
        spec = charts.lines(series.times, drawn, y_format="{value}", tip="%.0f")
        time_chart(
            spec, series.times, height=HEIGHT, key="loops", alt="Loop length percentiles over time"
        )


def _cache(series: queries.Series) -> None:
    values = [None if v is None else v * 100 for v in series.values["cache_hit_ratio"]]
    line = charts.Line("Cache-hit ratio", values, INK["cache"], has_area=True)
    sub = f"cached prompt tokens ÷ prompt tokens · dotted: target {format.percent(CACHE_TARGET)}"
    with frame.card("Cache-hit ratio", sub, key="cache"):
        spec = charts.lines(
            series.times, [line], y_format="{value}%", tip="%.1f%%", y_max=100,
            target=CACHE_TARGET * 100,
        )  # fmt: skip
        time_chart(spec, series.times, height=HEIGHT, key="cache", alt="Cache-hit ratio over time")


def _agents() -> None:
    scope, reader = session.scope(), session.reader()
    ranked = queries.by_agent(reader, scope)
    with frame.card("Agents", "ranked by spend", key="agents"):
        table(
            COLUMNS, agent_rows(ranked, queries.run_lengths(reader, scope)), key="agents",
            empty=("No agent named itself", "Name agents with @taximeter.agent."),
        )  # fmt: skip


if __name__ == "__main__":  # as Streamlit runs it; an import draws nothing
    draw()
