"""What the alerts service says, as the page shows it. Pure; a field that is missing stays unknown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final

from taximeter_dashboard import blocks, format
from taximeter_dashboard.blocks import Badge, Block, Tone
from taximeter_dashboard.charts import INK, Span
from taximeter_dashboard.scope import FILTERS

_AROUND: Final = timedelta(minutes=15)
_WORST_FIRST: Final[Mapping[str, dict[str, str]]] = {
    "loop_length": {"sort": "-loops"},
    "cost": {"sort": "-cost"},
    "error_rate": {"status": "Errors"},
    "latency": {"sort": "-duration"},
}
"""A part of the metric's name -> the requests that tell most of it."""
_PARAMETER_OF: Final = {column: parameter for parameter, column in FILTERS.items()}


@dataclass(frozen=True, slots=True)
class Alert:
    """One group of a rule right now, or one incident of the past."""

    rule: str
    status: str
    """``firing pending resolved learning no_data error inactive``"""
    severity: str
    sentence: str
    labels: Mapping[str, str]
    started: datetime | None
    ended: datetime | None
    times: int
    is_acked: bool
    is_silenced: bool
    incident: str = ""
    acked_by: str = ""
    snoozed_until: datetime | None = None
    explained_by: str = ""
    """The rule whose alert explains this one, so that it is not told."""
    also: tuple[str, ...] = ()
    """The sentences of the incident's other alerts."""
    metric: str = ""

    @property
    def tone(self) -> Tone:
        if self.status != "firing":
            return "warn" if self.status in ("pending", "error") else ""
        return "bad" if self.severity == "critical" else "warn"


def as_alert(row: Mapping[str, Any]) -> Alert:
    """Return the alert in an object of /api/alerts or /api/incidents."""
    labels = row.get("labels")
    labels = labels if isinstance(labels, Mapping) else {}
    ended = moment_in(row, "resolved_at")
    return Alert(
        rule=str(row.get("rule") or "Alert"),
        status=str(row.get("status") or ("resolved" if ended else "firing")),
        severity=str(row.get("severity") or ""),
        sentence=str(row.get("sentence") or ""),
        labels={str(k): str(v) for k, v in labels.items() if v is not None},
        started=moment_in(row, "opened_at", "since"),
        ended=ended,
        times=int(row.get("times") or 1),
        is_acked=bool(row.get("acked_at")),
        is_silenced=bool(row.get("silenced_by")),
        incident=str(row.get("incident") or row.get("id") or ""),
        acked_by=str(row.get("acked_by") or ""),
        snoozed_until=moment_in(row, "snoozed_until"),
        explained_by=str(row.get("explained_by") or ""),
        also=_others(row),
        metric=str(row.get("metric") or ""),
    )


def firing(alerts: Sequence[Alert]) -> list[Alert]:
    """Return what fires, the critical first; what two levels of a rule say alike is said once."""
    ranked = sorted(
        (alert for alert in alerts if alert.status == "firing"),
        key=lambda alert: alert.severity != "critical",
    )
    said = {(alert.incident or alert.rule, alert.sentence): alert for alert in reversed(ranked)}
    return [
        alert for alert in ranked if said[alert.incident or alert.rule, alert.sentence] is alert
    ]


def firing_items(
    alerts: Sequence[Alert], zone: tzinfo, now: datetime, url: Callable[..., str], limit: int = 3
) -> list[Block]:
    """Return the firing alerts as entries of a list that lead to what they are about, and how many more there are."""
    found = firing(alerts)
    items = [alert_item(alert, zone, address(alert, now, url)) for alert in found[:limit]]
    if len(found) > limit:
        more = f"{format.exact(len(found) - limit)} more firing"
        items.append(blocks.item(more, href=url("alerts")))
    return items


def alert_item(alert: Alert, zone: tzinfo, href: str = "") -> Block:
    """Return one entry: what, how bad, about whom, since when."""
    meta = f"since {format.moment(alert.started, zone, seconds=False)}" if alert.started else ""
    if alert.ended and alert.started:
        length_ms = (alert.ended - alert.started).total_seconds() * 1000
        meta = f"{format.moment(alert.started, zone, seconds=False)} · {format.duration(length_ms)}"
    text = " ".join([alert.sentence, *alert.also])
    return blocks.item(
        format.words(alert.rule), text, tone=alert.tone, badges=_badges(alert),
        meta=meta, href=href,
    )  # fmt: skip


def _badges(alert: Alert) -> list[Badge]:
    badges = [blocks.badge(value) for value in alert.labels.values()]
    if alert.severity and alert.status == "firing":
        badges.insert(0, blocks.badge(alert.severity, alert.tone))
    if alert.status == "pending":
        badges.insert(0, blocks.badge("pending", "warn"))
    if alert.times > 1:
        badges.append(blocks.badge(f"fired {format.exact(alert.times)} times"))
    if alert.is_acked:
        by = f" by {alert.acked_by}" if alert.acked_by else ""
        badges.append(blocks.badge(f"acknowledged{by}", "good"))
    if alert.is_silenced:
        badges.append(blocks.badge("silenced"))
    if alert.explained_by:
        badges.append(blocks.badge(f"not told: {format.words(alert.explained_by).lower()}"))
    if alert.snoozed_until is not None and alert.status == "firing":
        badges.append(blocks.badge(f"snoozed until {alert.snoozed_until:%H:%M} UTC"))
    return badges


def address(alert: Alert, now: datetime, url: Callable[..., str]) -> str:
    """Return where an alert is looked into: its requests, the worst first; of a budget its spend."""
    if alert.metric == "cost_usd":
        days = {"range": "30d", "start": None, "end": None}
        return url("costs", **days, **label_parameters(alert.labels))
    return url("requests", **scope_parameters(alert, now) | _worst_first(alert))


def _worst_first(alert: Alert) -> dict[str, object]:
    """Return the parameters of the requests that tell most of an alert.

    Calls and tools are often a sub-agent's, which starts no request: such are looked for inside of them.
    """
    labels, agent = alert.labels, alert.labels.get("agent_name")
    if "tool_error" in alert.metric:
        return {"agent": None, "failed": "tool", "tool": labels.get("tool_name"), "by_agent": agent}
    if "call_error" in alert.metric:
        return {"agent": None, "failed": "call", "model": labels.get("model"), "by_agent": agent}
    if "cache_hit" in alert.metric:
        return {"agent": None, "q": agent, "sort": "cache"}
    orders = (order for part, order in _WORST_FIRST.items() if part in alert.metric)
    return dict(next(orders, {}))


def scope_parameters(alert: Alert, now: datetime) -> dict[str, object]:
    """Return the URL parameters of the requests that an alert is about: filters and window."""
    parameters = label_parameters(alert.labels)
    if alert.started:
        parameters["start"] = _minute(alert.started - _AROUND)
        parameters["end"] = _minute((alert.ended or now) + _AROUND)
    return parameters


def label_parameters(labels: Mapping[str, str]) -> dict[str, object]:
    """Return the URL parameters that filter by a group's labels."""
    return {
        _PARAMETER_OF[column]: [value]
        for column, value in labels.items()
        if column in _PARAMETER_OF
    }


RULE_TONE: Final[dict[str, str]] = {
    "firing": "firing",
    "pending": "pending",
    "resolved": "ok",
    "inactive": "ok",
    "learning": "learning",
    "no_data": "no data",
    "error": "error",
}


@dataclass(frozen=True, slots=True)
class RuleText:
    """A rule in the words of its row."""

    name: str
    state: str
    severity: str
    condition: str
    by: str
    receivers: str


def rule_text(row: Mapping[str, Any]) -> RuleText:
    """Return what the list of rules says about one object of /api/rules."""
    status = str(row.get("status") or "no_data")
    condition = f"{row.get('title') or row.get('watch') or ''} {row.get('when') or ''}".strip()
    return RuleText(
        name=str(row.get("name") or format.UNKNOWN),
        state=str(row.get("learning") or RULE_TONE.get(status, status)),
        severity=str(row.get("severity") or format.UNKNOWN),
        condition=condition or format.UNKNOWN,
        by=_joined(row.get("by")) or "everything together",
        receivers=_joined(row.get("receivers")) or "this page only",
    )


def moment_in(row: Mapping[str, Any], *names: str) -> datetime | None:
    """Return the first of these fields that holds a time in ISO text.

    >>> moment_in({"since": "2026-11-24T10:00:00Z"}, "opened_at", "since")
    datetime.datetime(2026, 11, 24, 10, 0, tzinfo=datetime.timezone.utc)
    """
    for name in names:
        try:
            when = datetime.fromisoformat(row.get(name) or "")
        except (TypeError, ValueError):
            continue
        return when.replace(tzinfo=when.tzinfo or UTC)
    return None


def incident_title(alert: Alert) -> str:
    """Return what an incident is called in a list to choose from."""
    return " · ".join([format.words(alert.rule), *alert.labels.values()])


def incident_spans(alerts: Sequence[Alert], now: datetime) -> list[Span]:
    """Return the bars of incidents on a time line, a row a group."""
    return [
        Span(
            row=" / ".join(alert.labels.values()) or "everything",
            start=alert.started,
            end=alert.ended or now,
            color=INK["error"] if alert.severity == "critical" else INK["latency"],
            name=incident_title(alert),
        )
        for alert in alerts
        if alert.started is not None
    ]


def matcher_options(alerts: Sequence[Alert]) -> dict[str, tuple[str, str]]:
    """Return what a silence can match, as a person reads it."""
    pairs = {("rule", alert.rule) for alert in alerts}
    pairs |= {pair for alert in alerts for pair in alert.labels.items()}
    words = {name: format.words(name.removesuffix("_name")) for name, _ in pairs}
    return {f"{words[name]}: {value}": (name, value) for name, value in sorted(pairs)}


def silence_text(row: Mapping[str, Any], zone: tzinfo) -> str:
    """Return a silence in one line: what, until when, by whom, why."""
    matchers = row.get("matchers")
    pairs = list(matchers.items()) if isinstance(matchers, Mapping) else []
    names = {name: format.words(str(name).removesuffix("_name")).lower() for name, _ in pairs}
    what = ", ".join(f"{names[name]} {value}" for name, value in pairs)
    until = moment_in(row, "ends_at")
    parts = [what, f"until {format.moment(until, zone, seconds=False)}" if until else ""]
    parts += [f"by {row['author']}" if row.get("author") else "", str(row.get("comment") or "")]
    return " · ".join(part for part in parts if part)


def _others(row: Mapping[str, Any]) -> tuple[str, ...]:
    alerts = row.get("alerts")
    others = alerts[1:] if isinstance(alerts, list) else []
    return tuple(str(a.get("sentence") or "") for a in others if isinstance(a, Mapping))


def _minute(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%MZ")


def _joined(value: Any) -> str:
    names = value if isinstance(value, list | tuple) else []
    return ", ".join(format.words(str(name).removesuffix("_name")).lower() for name in names)
