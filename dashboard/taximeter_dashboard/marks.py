"""What happened, marked on charts over time: deploys as dashed lines, incidents as shaded spans, and what people
annotated, as lines with a foot and as spans in an ink of its own. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Any, Final, Literal, get_args

from taximeter_dashboard import blocks, format
from taximeter_dashboard.alerting import Alert, incident_title, moment_in
from taximeter_dashboard.charts import INK, Spec
from taximeter_dashboard.queries import Row
from taximeter_dashboard.scope import Scope

_APART: Final = 1 / 8
"""Marks of a kind nearer than this share of the window share a line, or their labels would cover each other."""
_LONG_LABEL: Final = 18
_SHORT_LABEL: Final = 6
_FITS: Final = 50
"""Characters of labels side by side over all of a phone's plot."""
_LONGEST_TEXT: Final = 200
_TIP_LABELS: Final = 3
_TIP_LABEL: Final = 60
Kind = Literal["deploy", "incident", "annotation"]
_INKS: Final[Mapping[Kind, str]] = {
    "deploy": INK["muted"], "incident": INK["latency"], "annotation": INK["annotation"],
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mark:
    """One thing that happened: a moment, or a span if it has an `until`."""

    at: datetime
    label: str
    """What a chart says."""
    text: str
    """What it says when pointed at."""
    until: datetime | None = None
    kind: Kind = "deploy"
    is_bad: bool = False
    href: str = ""
    version: str = ""
    """What was deployed, so that agents that got it together are told as one."""
    id: str = ""
    """An annotation's, by which it is deleted."""


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
            kind="incident",
            is_bad=alert.severity == "critical",
            href=url("alerts"),
        )
        for alert in alerts
        if alert.started is not None
        and alert.started < scope.end
        and (alert.ended or now) > scope.start
        and _concerns(alert.labels, scope)
    ]


def annotation_marks(
    rows: Iterable[Row], scope: Scope, zone: tzinfo, url: Callable[..., str]
) -> list[Mark]:
    """Return a mark for each annotation of the window that may concern the scope's filters."""
    marks = []
    for row in rows:
        at, until, agent = moment_in(row, "at"), moment_in(row, "until"), row.get("agent_name")
        if at is None or not _concerns(row, scope):
            continue
        marks.append(
            Mark(
                at if until is None else max(at, scope.start),
                _cut(str(row.get("text") or ""), _LONGEST_TEXT),
                _annotation_text(row, at, until, zone),
                until=None if until is None else min(until, scope.end),
                kind="annotation",
                href=url("agents", agent=[agent]) if agent else "",
                id=str(row.get("id") or ""),
            )
        )
    return marks


def with_marks(spec: Spec, marks: Sequence[Mark], times: Sequence[datetime]) -> Spec:
    """Return the chart over these buckets with the marks on it.

    Pointed at, they say more: in the tooltip of their bucket, or by their own label where the tooltip
    is of one bar, as it then stands elsewhere.
    """
    if not marks or len(times) < 2:
        return spec
    if spec["tooltip"]["trigger"] == "axis":
        return _told_by_bucket(spec, marks, times)
    return _drawn(spec, marks, times)


def _drawn(spec: Spec, marks: Sequence[Mark], times: Sequence[datetime]) -> Spec:
    first, last = times[0], times[-1]
    middle = first + (last - first) / 2
    lines = _lines([mark for mark in marks if mark.until is None], first, last)
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


def _told_by_bucket(spec: Spec, marks: Sequence[Mark], times: Sequence[datetime]) -> Spec:
    """Return the chart with the marks on it and in its tooltips, as points that are not seen."""
    drawn = _drawn(spec, marks, times)
    (own,) = drawn["series"][len(spec["series"]) :]
    for mark in own.get("markLine", {}).get("data", ()):
        mark["emphasis"]["label"] = mark["label"]
    for mark, _ in own.get("markArea", {}).get("data", ()):
        mark["emphasis"]["label"] = {"show": False}
    tips = [tip for kind in get_args(Kind) if (tip := _tip(kind, marks, times))]
    tooltip = {**spec["tooltip"], "extraCssText": "max-width: 330px; white-space: normal;"}
    told = {**drawn, "series": [*drawn["series"], *tips], "tooltip": tooltip}
    if "legend" in spec:
        told["legend"] = {**spec["legend"], "data": [series["name"] for series in spec["series"]]}
    return told


def _tip(kind: Kind, marks: Sequence[Mark], times: Sequence[datetime]) -> Spec | None:
    """Return a row of the tooltip for each bucket and mark of a kind, None without any."""
    of_kind = [mark for mark in marks if mark.kind == kind]
    near = (times[-1] - times[0]) * _APART
    told = [
        # Who points at the line reads the bucket that is nearest to it.
        (min(times, key=lambda time: abs(time - group[0].at)), mark)
        for group in _apart([mark for mark in of_kind if mark.until is None], near)
        for mark in group
    ]
    length = times[1] - times[0]
    told += [
        (time, mark)
        for mark in of_kind
        for time in times
        if mark.until is not None and time < mark.until and mark.at < time + length
    ]
    if not told:
        return None
    is_bad = any(mark.is_bad for mark in of_kind)
    return {
        "type": "scatter",
        "name": format.words(kind),
        "dimensions": ["time", "nothing", {"name": "text", "type": "ordinal"}],
        "encode": {"x": "time", "y": "nothing", "tooltip": ["text"]},
        "data": [
            [at.isoformat(), None, text]
            for at in sorted({at for at, _ in told})
            for text in _first_few([mark.label for when, mark in told if when == at])
        ],
        "itemStyle": {"color": INK["error"] if is_bad else _INKS[kind]},
        "silent": True,
        "tooltip": {"valueFormatter": "%s"},
    }


def _first_few(labels: Sequence[str]) -> list[str]:
    """Return labels as a tooltip has room for; the list above the charts has them all.

    >>> _first_few(["a", "b", "c", "d", "e"])
    ['a', 'b', 'c', 'and 2 more']
    """
    shown = [_cut(label, _TIP_LABEL) for label in labels]
    more = len(shown) - _TIP_LABELS
    return shown if more <= 1 else [*shown[:_TIP_LABELS], f"and {more} more"]


def mark_items(marks: Sequence[Mark]) -> list[blocks.Block]:
    """Return the marks as entries of a list that lead on, the newest first."""
    return [
        blocks.item(
            mark.label, mark.text, href=mark.href,
            tone="" if mark.kind != "incident" else "bad" if mark.is_bad else "warn",
            badges=[blocks.badge(mark.kind)],
        )
        for mark in sorted(marks, key=lambda mark: mark.at, reverse=True)
    ]  # fmt: skip


def summary(marks: Sequence[Mark]) -> str:
    """Return how many of each there are.

    >>> at = datetime(2026, 11, 24)
    >>> summary([Mark(at, "a 2", ""), Mark(at, "b 3", ""), Mark(at, "Error rate", "", at, "incident")])
    '2 deploys, 1 incident'
    """
    kinds = [mark.kind for mark in marks]
    return ", ".join(_counted(kinds.count(kind), kind) for kind in get_args(Kind) if kind in kinds)


def _counted(number: int, kind: Kind) -> str:
    return f"{number} {kind}{'' if number == 1 else 's'}"


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _concerns(labels: Mapping[str, Any], scope: Scope) -> bool:
    return all(labels.get(column) in (None, *values) for column, values in scope.where.items())


def _annotation_text(row: Row, at: datetime, until: datetime | None, zone: tzinfo) -> str:
    moments = [format.moment(when, zone, seconds=False) for when in (at, until) if when]
    parts = [" to ".join(moments), row.get("agent_name"), row.get("service_name")]
    parts.append(f"by {row['author']}" if row.get("author") else None)
    return ", ".join(str(part) for part in parts if part)


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


def _lines(marks: Sequence[Mark], first: datetime, last: datetime) -> list[Spec]:
    """Return the lines of moments. Where labels would meet, what a person wrote stays."""
    near = (last - first) * _APART
    written = _apart([mark for mark in marks if mark.kind == "annotation"], near)
    seen = _apart([mark for mark in marks if mark.kind != "annotation"], near)
    free = [group for group in seen if all(abs(group[0].at - w[0].at) >= near for w in written)]
    told = {group[0].at: len(_line_label(group)) for group in (*free, *written)}
    lines = [_line(group, first, last, 0) for group in seen if group not in free]
    return lines + [
        _line(group, first, last, _room(group[0].at, told, first, last))
        for group in (*free, *written)
    ]


def _room(at: datetime, told: Mapping[datetime, int], first: datetime, last: datetime) -> int:
    """Return how many characters of a label fit before the next one on the narrowest plot.

    `told` is how long the label of each line is. Early labels stand right of their line, late ones left.
    """
    middle = first + (last - first) / 2
    is_early = at < middle
    beyond = [other for other in told if (other > at if is_early else other < at)]
    if not beyond:
        return _LONG_LABEL
    nearest = min(beyond) if is_early else max(beyond)
    fits = int(abs(nearest - at) / (last - first) * _FITS)
    if (nearest < middle) != is_early:
        fits -= min(told[nearest] + 1, fits // 2)
    return min(max(fits, _SHORT_LABEL), _LONG_LABEL)


def _line(group: Sequence[Mark], first: datetime, last: datetime, room: int) -> Spec:
    """Return the line of marks that share one, with a label where it has room."""
    is_written, at = group[0].kind == "annotation", group[0].at
    is_early = at < first + (last - first) / 2
    ink = INK["annotation" if is_written else "muted"]
    style = {"color": ink, "type": "solid" if is_written else "dashed", "width": 1, "opacity": 0.9}
    text = _literal(_cut(_line_label(group), room)) if room else ""
    return {
        "xAxis": min(max(at, first), last).isoformat(),
        "name": "\n".join(f"{mark.label}, {mark.text}" for mark in group),
        "symbol": "triangle" if is_written else "none",
        "symbolSize": 9,
        "itemStyle": {"color": ink},
        "lineStyle": style,
        "label": {**_label(is_early), "show": bool(room), "formatter": text},
        "emphasis": {"lineStyle": {**style, "width": 2}, "label": _pointed_at(is_early)},
    }


def _line_label(group: Sequence[Mark]) -> str:
    """Return the version alone where it says it all: on a phone there is no room for more."""
    names = {mark.version or mark.label for mark in group}
    return names.pop() if len(names) == 1 else _counted(len(group), group[0].kind)


def _area(mark: Mark, start: datetime, end: datetime, is_early: bool) -> list[Spec]:
    ink = INK["annotation" if mark.kind == "annotation" else "error" if mark.is_bad else "latency"]
    shown: Spec = {
        "xAxis": start.isoformat(),
        "name": f"{mark.label}, {mark.text}",
        "itemStyle": {"color": ink, "opacity": 0.10},
        "label": {"show": False},
        "emphasis": {
            "itemStyle": {"color": ink, "opacity": 0.18},
            "label": {**_pointed_at(is_early), "position": "insideTopLeft"},
        },
    }
    return [shown, {"xAxis": end.isoformat()}]


def _label(is_early: bool) -> Spec:
    # Away from the nearer edge, where it would be cut.
    return {"position": "end", "distance": 3, "fontSize": 10.5, "color": INK["muted"],
            "align": "left" if is_early else "right"}  # fmt: skip


def _pointed_at(is_early: bool) -> Spec:
    return {**_label(is_early), "show": True, "formatter": "{b}", "fontSize": 11, "color": "#FFFFFF",
            "backgroundColor": "#171A21", "padding": [4, 7], "borderRadius": 4, "width": 250, "lineHeight": 15,
            "overflow": "break", "verticalAlign": "top", "distance": -2}  # fmt: skip


def _literal(text: str) -> str:
    """Return text in which ECharts finds no placeholder."""
    return text.replace("{", "(").replace("}", ")")
