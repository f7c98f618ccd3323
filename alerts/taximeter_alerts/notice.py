"""What one message says, whatever the channel, and when it is due. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Final, Literal
from urllib.parse import urlencode

from taximeter_alerts.amounts import say_duration
from taximeter_alerts.explain import group_title, metric_title
from taximeter_alerts.rules import Rule
from taximeter_alerts.state import REPEAT_AFTER

Kind = Literal["firing", "firing_again", "still_firing", "resolved", "was_firing", "test"]

_FILTERS: Final = {
    "agent_name": "agent",
    "agent_version": "version",
    "environment": "env",
    "service_name": "service",
    "tenant": "tenant",
    "user_id": "user",
}
"""Dimension -> the dashboard's URL parameter."""
HEADLINES: Final[dict[str, str]] = {
    "firing": "Firing",
    "firing_again": "Firing again",
    "still_firing": "Still firing",
    "resolved": "Resolved",
    "was_firing": "Was firing",
    "test": "Test",
}


@dataclass(frozen=True, slots=True)
class Notice:
    """One message about one incident."""

    kind: Kind
    incident: str
    rule: str
    severity: str
    title: str
    sentence: str
    link: str | None = None
    started: str | None = None
    """When it began, as people read it."""

    @property
    def headline(self) -> str:
        return f"{HEADLINES[self.kind]}: {self.title}"

    @property
    def is_good_news(self) -> bool:
        return self.kind in ("resolved", "was_firing")

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def read_notice(text: str) -> Notice:
    """Return a stored notice."""
    return Notice(**json.loads(text))


def title_of(rule: Rule, labels: Mapping[str, str | None]) -> str:
    """Return what an incident is called in one line."""
    return f"{metric_title(rule.watch)}, {group_title(labels)}"


def should_notify(
    *,
    is_silenced: bool,
    is_acked: bool,
    severity: str,
    times: int,
    times_notified: int,
    notified_at: datetime | None,
    at: datetime,
) -> Kind | None:
    """Return why a firing incident is to be told now, None if it isn't.

    >>> should_notify(is_silenced=False, is_acked=False, severity="warning", times=2,
    ...               times_notified=1, notified_at=None, at=datetime(2026, 1, 1))
    'firing_again'
    """
    if is_silenced:
        return None
    if times > times_notified:
        return "firing" if times == 1 or times_notified == 0 else "firing_again"
    is_due = notified_at is not None and at - notified_at >= REPEAT_AFTER
    return "still_firing" if severity == "critical" and is_due and not is_acked else None


def matches(matchers: Mapping[str, str], rule: str, labels: Mapping[str, str | None]) -> bool:
    """Return whether a silence covers this alert: all its matchers must hold.

    >>> matches({"agent_name": "support"}, "error-rate", {"agent_name": "support"})
    True
    """
    values = {"rule": rule, **labels}
    return bool(matchers) and all(values.get(name) == value for name, value in matchers.items())


def resolved_sentence(
    title: str, opened_at: datetime, resolved_at: datetime, reason: str, peak: str
) -> str:
    """Return what the last message of an incident says."""
    lasted = say_duration((resolved_at - opened_at).total_seconds())
    return f"{title}: {reason} after {lasted}. At its worst: {peak}"


def dashboard_link(
    base: str | None, labels: Mapping[str, str | None], start: datetime, end: datetime
) -> str | None:
    """Return the page that shows the requests of an incident, with window and filters set."""
    if base is None:
        return None
    around = timedelta(minutes=15)
    window = {"start": _minute(start - around), "end": _minute(end + around)}
    filters = {
        _FILTERS[name]: value
        for name, value in labels.items()
        if name in _FILTERS and value is not None
    }
    return f"{base.rstrip('/')}/requests?{urlencode({**window, **filters})}"


def _minute(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%MZ")
