"""What happened, marked on charts over time: deploys as dashed lines, incidents as shaded spans. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Any, Final

from taximeter_dashboard import blocks, format
from taximeter_dashboard.alerting import Alert, incident_title
from taximeter_dashboard.charts import INK, Spec
from taximeter_dashboard.queries import Row
from taximeter_dashboard.scope import Scope

_APART: Final = 1 / 8
"""Deploys nearer than this share of the window share a line, or their labels would cover each other."""
_LONG_LABEL: Final = 18


@dataclass(frozen=True, slots=True)
class Mark:
    """One thing that happened: a moment, or a span if it has an `until`."""

    at: datetime
    label: str
    """What a chart says."""
    text: str
    """What it says when pointed at."""
    until: datetime | None = None
    is_bad: bool = False
    href: str = ""
    version: str = ""
    """What was deployed, so that agents that got it together are told as one."""


def deploy_marks(rows: Iterable[Row], zone: tzinfo, url: Callable[..., str]) -> list[Mark]:
    """Return a mark for each row of `queries.deploys`; it leads to the agent's versions."""
    return [
        Mark(
            row["first_seen"],
            f"{row['agent_name']} {row['agent_version']}",
            f"first seen {format.moment(row['first_seen'], zone, seconds=False)}, after {row['before']}",
            href=url("agents", agent=[row["agent_name"]]),
            version=row["agent_version"],
        )
        for row in rows
    ]


def incident_marks(
    alerts: Iterable[Alert], scope: Scope, now: datetime, zone: tzinfo, url: Callable[..., str]
) -> list[Mark]:
    """Return a mark for each incident that touches the window and may concern the scope's filters."""
    return [
        Mark(
            max(alert.started, scope.start),
            incident_title(alert),
            _span_text(alert, zone),
            until=min(alert.ended or now, scope.end),
            is_bad=alert.severity == "critical",
            href=url("alerts"),
        )
        for alert in alerts
        if alert.started is not None
        and alert.started < scope.end
        and (alert.ended or now) > scope.start
        and _concerns(alert, scope)
    ]


def with_marks(spec: Spec, marks: Sequence[Mark], times: Sequence[datetime]) -> Spec:
    """Return the chart over these buckets with the marks on it; pointed at, they say more."""
    if not marks or len(times) < 2:
        return spec
    first, last = times[0], times[-1]
    middle = first + (last - first) / 2
    moments = [mark for mark in marks if mark.until is None]
    lines = [
        _line(group, min(max(group[0].at, first), last), is_early=group[0].at < middle)
        for group in _apart(moments, (last - first) * _APART)
    ]
    areas = [
        _area(mark, max(mark.at, first), min(max(mark.until, first), last), mark.at < middle)
        for mark in marks
        if mark.until is not None
    ]
    series: dict[str, Any] = {"type": "line", "data": [], "tooltip": {"show": False}}
    if lines:
        series["markLine"] = {"symbol": "none", "animation": False, "data": lines}
    if areas:
        series["markArea"] = {"animation": False, "data": areas}
    return {**spec, "series": [*spec["series"], series]}


def mark_items(marks: Sequence[Mark]) -> list[blocks.Block]:
    """Return the marks as entries of a list that lead on, the newest first."""
    return [
        blocks.item(
            mark.label, mark.text, href=mark.href,
            tone="" if mark.until is None else "bad" if mark.is_bad else "warn",
            badges=[blocks.badge("deploy" if mark.until is None else "incident")],
        )
        for mark in sorted(marks, key=lambda mark: mark.at, reverse=True)
    ]  # fmt: skip


def summary(marks: Sequence[Mark]) -> str:
    """Return how many of each there are.

    >>> at = datetime(2026, 11, 24)
    >>> summary([Mark(at, "a 2", ""), Mark(at, "b 3", ""), Mark(at, "Error rate", "", until=at)])
    '2 deploys, 1 incident'
    """
    deploys = sum(mark.until is None for mark in marks)
    named = ((deploys, "deploy"), (len(marks) - deploys, "incident"))
    return ", ".join(f"{n} {name}{'' if n == 1 else 's'}" for n, name in named if n)


def _concerns(alert: Alert, scope: Scope) -> bool:
    return all(
        alert.labels.get(column) in (None, *values) for column, values in scope.where.items()
    )


def _span_text(alert: Alert, zone: tzinfo) -> str:
    since = format.moment(alert.started, zone, seconds=False)
    if alert.started is None or alert.ended is None:
        return f"firing since {since}: {alert.sentence}"
    took = format.duration((alert.ended - alert.started).total_seconds() * 1000)
    return f"{since}, for {took}: {alert.sentence}"


def _apart(marks: Sequence[Mark], distance: timedelta) -> list[list[Mark]]:
    groups: list[list[Mark]] = []
    for mark in sorted(marks, key=lambda mark: mark.at):
        if groups and mark.at - groups[-1][0].at < distance:
            groups[-1].append(mark)
        else:
            groups.append([mark])
    return groups


def _line(group: Sequence[Mark], at: datetime, is_early: bool) -> Spec:
    text = "\n".join(f"{mark.label}, {mark.text}" for mark in group)
    style = {"color": INK["muted"], "type": "dashed", "width": 1, "opacity": 0.9}
    return {
        "xAxis": at.isoformat(),
        "name": text,
        "lineStyle": style,
        "label": {**_label(is_early), "formatter": _literal(_line_label(group))},
        "emphasis": {"lineStyle": {**style, "width": 2}, "label": _pointed_at(is_early)},
    }


def _line_label(group: Sequence[Mark]) -> str:
    """Return the version alone where it says it all: on a phone there is no room for more."""
    names = {mark.version or mark.label for mark in group}
    label = names.pop() if len(names) == 1 else f"{len(group)} deploys"
    return label if len(label) <= _LONG_LABEL else label[: _LONG_LABEL - 1] + "…"


def _area(mark: Mark, start: datetime, end: datetime, is_early: bool) -> list[Spec]:
    ink = INK["error"] if mark.is_bad else INK["latency"]
    shown: Spec = {
        "xAxis": start.isoformat(),
        "name": f"{mark.label}, {mark.text}",
        "itemStyle": {"color": ink, "opacity": 0.10},
        "label": {"show": False},
        "emphasis": {
            "itemStyle": {"color": ink, "opacity": 0.18},
            "label": {**_pointed_at(is_early), "show": True, "position": "insideTopLeft"},
        },
    }
    return [shown, {"xAxis": end.isoformat()}]


def _label(is_early: bool) -> Spec:
    # Away from the nearer edge, where it would be cut.
    return {"position": "end", "distance": 3, "fontSize": 10.5, "color": INK["muted"],
            "align": "left" if is_early else "right"}  # fmt: skip


def _pointed_at(is_early: bool) -> Spec:
    return {**_label(is_early), "formatter": "{b}", "fontSize": 11, "color": "#FFFFFF",
            "backgroundColor": "#171A21", "padding": [4, 7], "borderRadius": 4, "width": 250, "lineHeight": 15,
            "overflow": "break", "verticalAlign": "top", "distance": -2}  # fmt: skip


def _literal(text: str) -> str:
    """Return text in which ECharts finds no placeholder."""
    return text.replace("{", "(").replace("}", ")")
