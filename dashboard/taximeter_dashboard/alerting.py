"""What the alerts service says, as the page shows it. Pure; a field that is missing stays unknown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any

from taximeter_dashboard import blocks, format
from taximeter_dashboard.blocks import Block, Tone

_GROUP_PARAMETERS = {
    "agent_name": "agent",
    "agent_version": "version",
    "environment": "env",
    "service_name": "service",
    "tenant": "tenant",
    "user_id": "user",
}


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert or incident."""

    name: str
    state: str
    severity: str
    summary: str
    labels: Mapping[str, str]
    started: datetime | None
    ended: datetime | None

    @property
    def tone(self) -> Tone:
        if self.state in ("resolved", "ok", "inactive"):
            return "good"
        return "bad" if self.severity in ("critical", "page", "high", "alert") else "warn"


def as_alert(row: Mapping[str, Any]) -> Alert:
    """Return the alert in a JSON object of /api/alerts or /api/incidents."""
    labels = row.get("labels") or row.get("group") or {}
    labels = {str(k): str(v) for k, v in labels.items()} if isinstance(labels, Mapping) else {}
    ended = moment_in(row, "resolved_at", "ended_at", "closed_at", "ended")
    return Alert(
        name=_text(row, "rule", "rule_name", "name", "title") or labels.get("alertname", "Alert"),
        state=_text(row, "state", "status") or ("resolved" if ended else "firing"),
        severity=_text(row, "severity") or labels.get("severity", ""),
        summary=_text(row, "summary", "sentence", "cause", "description", "message"),
        labels=labels,
        started=moment_in(row, "started_at", "firing_since", "opened_at", "since", "active_at"),
        ended=ended,
    )


def firing_items(alerts: Sequence[Alert], zone: tzinfo, url: Callable[..., str]) -> list[Block]:
    """Return the firing alerts as entries of a list that lead to the alerts page."""
    return [alert_item(alert, zone, url("alerts")) for alert in alerts if alert.state == "firing"]


def alert_item(alert: Alert, zone: tzinfo, href: str = "") -> Block:
    """Return one entry: what, how bad, about whom, since when."""
    badges = [blocks.badge(alert.severity, alert.tone)] if alert.severity else []
    badges += [
        blocks.badge(value)
        for name, value in alert.labels.items()
        if name not in ("alertname", "severity", "rule")
    ]
    meta = f"since {format.moment(alert.started, zone)}" if alert.started else ""
    if alert.ended and alert.started:
        length_ms = (alert.ended - alert.started).total_seconds() * 1000
        meta = f"{format.moment(alert.started, zone)} · {format.duration(length_ms)}"
    elif alert.state != "firing":
        meta = f"{format.words(alert.state)} {meta}"
    return blocks.item(
        alert.name, alert.summary, tone=alert.tone, badges=badges, meta=meta, href=href
    )


def scope_parameters(alert: Alert) -> dict[str, list[str]]:
    """Return the URL parameters of the requests that an alert is about."""
    return {
        parameter: [alert.labels[column]]
        for column, parameter in _GROUP_PARAMETERS.items()
        if alert.labels.get(column)
    }


def moment_in(row: Mapping[str, Any], *names: str) -> datetime | None:
    """Return the first of these fields that holds a time: ISO text or seconds since 1970."""
    for name in names:
        value = row.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
        if isinstance(value, str):
            try:
                when = datetime.fromisoformat(value)
            except ValueError:
                continue
            return when.replace(tzinfo=when.tzinfo or UTC)
    return None


def _text(row: Mapping[str, Any], *names: str) -> str:
    return next((str(row[name]) for name in names if row.get(name)), "")


def rule_row(row: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
    """Return a rule's name, severity, condition, grouping and receivers as texts."""
    by = row.get("by") or row.get("group_by") or []
    receivers = row.get("receivers") or row.get("receiver") or row.get("notify") or []
    condition = _text(row, "when", "condition", "sentence", "summary", "description", "expr")
    return (
        _text(row, "name", "rule", "id") or format.UNKNOWN,
        _text(row, "severity") or format.UNKNOWN,
        condition or _text(row, "metric") or format.UNKNOWN,
        _joined(by),
        _joined(receivers),
    )


def _joined(value: Any) -> str:
    return ", ".join(str(v) for v in value) if isinstance(value, list | tuple) else str(value)
