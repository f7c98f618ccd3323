"""What several pages draw: the row of headline numbers, money over time, failed requests by cause, budgets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

import streamlit as st

from taximeter_dashboard import blocks, budget_rows, charts, format, frame, queries, session
from taximeter_dashboard.alerting import as_alert
from taximeter_dashboard.components import kpis, sheet, table
from taximeter_dashboard.headlines import Headline, headline_item
from taximeter_dashboard.marks import (
    Mark,
    annotation_marks,
    deploy_marks,
    incident_marks,
    mark_items,
    summary,
    with_marks,
)

BEHIND: Final = timedelta(minutes=5)
"""An evaluation takes in a minute once it has settled; later than this it does not keep up."""
BUDGETS: Final = 200
NO_UNITS: Final[Mapping[str, str]] = MappingProxyType({})


def headline_row(
    headlines: Sequence[Headline],
    now: queries.Row,
    *,
    key: str,
    units: Mapping[str, str] = NO_UNITS,
    href: str | None = None,
    series: queries.Series | None = None,
) -> None:
    """Draw the headline numbers beside the previous period's; `now` is of `queries.totals`.

    `series` has their metrics by bucket, where the page asks for more of them at once; `units` is what stands behind a metric's value; `href` leads elsewhere than the headlines' own links.
    """
    scope = session.scope()
    names = [headline.metric for headline in headlines]
    series = series or queries.over_time(session.reader(), scope, names)
    before = queries.totals(session.settled(), scope.previous, names)
    earlier = queries.over_time(session.settled(), scope.previous, names)
    items = [
        headline_item(
            h, now, before, unit=units.get(h.metric, ""), values=series.values[h.metric],
            earlier=earlier.values[h.metric],
            href=session.url(h.page, **h.link) if href is None else href,
        )
        for h in headlines
    ]  # fmt: skip
    zone = session.zone()
    kpis(items, [format.moment(t, zone, seconds=False) for t in series.times], key=key)


def priced_badges(now: queries.Row) -> list[blocks.Badge]:
    """Return the badge of money that does not cover every token."""
    coverage = format.coverage(now["priced_ratio"])
    return [blocks.badge(coverage, "warn")] if coverage else []


def spend_over_time(
    now: queries.Row, dimension: str, title: str, sub: str, *, key: str, height: int
) -> None:
    """Draw the card of spend by bucket, split by a dimension."""
    series = queries.over_time_by(session.reader(), session.scope(), "cost_usd", dimension)
    with frame.card(title, sub, key=key, badges=priced_badges(now)):
        if not series.values:
            sheet([blocks.note("No call in this window has a price.")], key=f"no-{key}")
            return
        spec = charts.stacked(series.times, series.values, is_money=True)
        time_chart(spec, series.times, height=height, key=key, alt=f"{title} over time: {sub}")


def failed_by_cause(now: queries.Row, *, height: int) -> None:
    """Draw the card of failed requests by bucket and cause."""
    series = queries.failures_by_cause(session.reader(), session.scope())
    failed = format.count(now["failed_requests"] or 0)
    sub = f"{failed} failed · {format.percent(now['error_rate'])}"
    with frame.card("Failed requests by cause", sub, key="causes"):
        if not series.values:
            sheet([blocks.note("No request failed in this window.", "good")], key="no-failures")
            return
        named = {format.words(cause): values for cause, values in series.values.items()}
        inks = {format.words(cause): ink for cause, ink in charts.OUTCOME_INK.items()}
        spec = charts.stacked(series.times, named, colors=inks)
        alt = f"Failed requests by cause: {sub}"
        time_chart(spec, series.times, height=height, key="causes", alt=alt)


def budgets_card(
    rows: Sequence[Mapping[str, Any]], as_of: datetime | None, *, alerts: str = ""
) -> None:
    """Draw the card of the alerts service's budgets, if there are any.

    `as_of` is when they were judged; `alerts` is the address of their alerts, if one is not there.
    """
    if not rows:
        return
    zone, now = session.zone(), datetime.now(UTC)
    badges = []
    if as_of is not None and now - as_of > BEHIND:
        badges = [blocks.badge(f"as of {format.moment(as_of, zone, seconds=False)}", "warn")]
    shown = budget_rows.budget_rows(rows, zone, now, session.url)[:BUDGETS]
    with frame.card("Budgets", budget_rows.summary(rows), key="budgets", badges=badges):
        table(budget_rows.COLUMNS, shown, key="budgets-table", empty=("No budgets", ""))
        if alerts:
            item = blocks.item("Alerts", "which of them fired, and who is told", href=alerts)
            sheet([blocks.listing([item])], key="budgets-alerts")


def happenings() -> list[Mark]:
    """Return the deploys, the incidents and the annotations of the window."""
    scope, zone = session.scope(), session.zone()
    found = queries.deploys(session.settled(), scope)
    api = session.alerts()
    incidents = [as_alert(row) for row in api.incidents().rows]
    annotated = api.annotations(scope.start, scope.end).rows
    return [
        *deploy_marks(found, zone, session.url),
        *incident_marks(incidents, scope, datetime.now(UTC), zone, session.url),
        *annotation_marks(annotated, scope, zone, session.url),
    ]


def happened() -> None:
    """Draw one line that says what was deployed, fired and annotated; it opens to a list that leads on."""
    marks = happenings()
    if marks:
        inside = [blocks.listing(mark_items(marks))]
        text = "in this window: lines and shaded spans in the charts"
        sheet([blocks.step("happened", summary(marks), text, inside=inside)], key="happened")


def time_chart(
    spec: charts.Spec, times: Sequence[datetime], *, height: int, key: str, alt: str
) -> None:
    """Draw a chart over time with what happened marked on it."""
    marked = with_marks(spec, happenings(), times)
    st.echarts_chart(marked, height=height, key=f"chart-{key}", alt=alt)
