"""What one message says, whatever the channel, and when it is due. Pure."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timedelta
from typing import Final, Literal
from urllib.parse import urlencode

from taximeter_alerts.amounts import say_amount, say_duration
from taximeter_alerts.judge.cause import EXTRA
from taximeter_alerts.judge.explain import group_title, metric_title
from taximeter_alerts.rules.book import LOOPS, Rule

Kind = Literal[
    "firing", "firing_again", "joined", "worse", "still_firing", "resolved", "was_firing",
    "summary", "digest", "test",
]  # fmt: skip
FIRST: Final = ("firing", "was_firing", "summary", "digest", "test")
"""Kinds that begin a thread; all others belong into the incident's."""
GROUP_INTERVAL: Final = timedelta(minutes=5)
"""Alerts that join an incident are told together, at most this often."""

_NAMED: Final = 2
"""A title names so many of an incident's alerts."""
_FILTERS: Final = {
    "agent_name": "agent",
    "agent_version": "version",
    "environment": "env",
    "service_name": "service",
    "tenant": "tenant",
    "user_id": "user",
}
"""Dimension -> the dashboard's URL parameter."""
_FAILED: Final = {
    "error_rate": "request",
    "tool_error_rate": "tool",
    "call_error_rate": "call",
    "logical_call_error_rate": "call",
}
"""Metric -> whose failures the page is narrowed to."""
_FILTERS_OF_PARTS: Final = {"agent_name": "by_agent", "tool_name": "tool", "model": "model"}
"""Of a call or tool call: it may be a sub-agent's, in a request of another agent."""
_ORDERS: Final = {
    "cache_hit_ratio": "cache",
    "tokens_per_request": "-tokens",
    **dict.fromkeys(LOOPS, "-loops"),
}
_ORDERS_OF_UNITS: Final = {"USD": "-cost", "seconds": "-duration"}
"""Metric, or its unit -> how the page is sorted."""
HEADLINES: Final[dict[str, str]] = {
    "firing": "Firing",
    "firing_again": "Firing again",
    "joined": "More fires",
    "worse": "Now critical",
    "still_firing": "Still firing",
    "resolved": "Resolved",
    "was_firing": "Was firing",
    "summary": "Many alerts",
    "digest": "Digest",
    "test": "Test",
}


@dataclass(frozen=True, slots=True)
class Chart:
    """The last day of the metric, by quarters of an hour, and what is usual."""

    values: tuple[float | None, ...]
    usual: float | None = None
    high: float | None = None
    unit: str = "1"


@dataclass(frozen=True, slots=True)
class Example:
    """One request that shows the alert."""

    text: str
    link: str | None = None


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
    also: tuple[str, ...] = ()
    """The sentences of the incident's other alerts."""
    labels: Mapping[str, str] = field(default_factory=dict)
    at: str | None = None
    """When this was decided, in ISO form."""
    chart: Chart | None = None
    cause: tuple[str, ...] = ()
    """What changed, and who made the change."""
    usd_per_hour: float | None = None
    """What it costs at this pace."""
    pace_of: str = EXTRA
    first: str = ""
    """What to do first."""
    examples: tuple[Example, ...] = ()

    @property
    def pace(self) -> str:
        """What it costs an hour, as a sentence; empty where that is not known or nothing."""
        if self.usd_per_hour is None or self.usd_per_hour < 0.005:
            return ""
        return f"{self.pace_of} at this pace: {say_amount(self.usd_per_hour, 'USD')} an hour."

    @property
    def details(self) -> tuple[str, ...]:
        """Cause, pace and what to do first, a line each."""
        first = f"First: {self.first}" if self.first else ""
        return tuple(line for line in (*self.cause, self.pace, first) if line)

    @property
    def headline(self) -> str:
        return f"{HEADLINES[self.kind]}: {self.title}"

    @property
    def is_good_news(self) -> bool:
        return self.kind in ("resolved", "was_firing")

    @property
    def is_report(self) -> bool:
        """Nothing happened: it is no alert, and has no rule or severity to show."""
        return self.kind == "digest"

    @property
    def facts(self) -> tuple[str, ...]:
        """Rule, severity and since when."""
        since = (f"since {self.started}",) if self.started else ()
        return () if self.is_report else (self.rule, self.severity, *since)

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def read_notice(text: str) -> Notice:
    """Return a stored notice; what this version doesn't know is left out."""
    known = {f.name for f in fields(Notice)}
    values = {name: value for name, value in json.loads(text).items() if name in known}
    chart = values.get("chart")
    if chart is not None:
        values["chart"] = Chart(**{**chart, "values": tuple(chart["values"])})
    values["examples"] = tuple(Example(**example) for example in values.get("examples", ()))
    lists = {name: tuple(values.get(name, ())) for name in ("also", "cause")}
    return Notice(**{**values, **lists})


def sample_notice(link: str | None) -> Notice:
    """Return a notice that only says that notices arrive."""
    return Notice(
        kind="test",
        incident=secrets.token_hex(8),
        rule="test-notify",
        severity="info",
        title="notices arrive",
        sentence="This is a test: alerts of taximeter will reach you here.",
        link=link,
    )


def title_of_incident(alerts: Sequence[tuple[Rule, Mapping[str, str | None]]]) -> str:
    """Return what an incident with these alerts is called in one line; a budget's levels are one.

    >>> from taximeter_alerts.rules.defaults import default_rules
    >>> title_of_incident([(rule, {"agent_name": "a"}) for rule in default_rules()[:4]])
    'cost per request, error rate and 2 more, a'
    """
    (rule, labels), *_ = alerts
    all_of_them: dict[object, str] = {}
    for other, of in alerts:
        all_of_them.setdefault(other.budget or (other.name, group_title(of)), _title(other))
    named = list(dict.fromkeys(all_of_them.values()))[:_NAMED]
    left = len(all_of_them) - len(named)
    parts = [", ".join(named), f"{left} more"] if left else named
    told = " and ".join(parts)
    shared = {n: v for n, v in labels.items() if all(of.get(n, "") == v for _, of in alerts)}
    who = f", {group_title(shared or labels)}" if labels or not rule.title else ""
    return f"{told}{who}"


def _title(rule: Rule) -> str:
    return rule.title or metric_title(rule.watch)


@dataclass(frozen=True, slots=True)
class Told:
    """What a receiver knows of an incident; without alerts: that it is over."""

    alerts: frozenset[str]
    severity: str
    notified_at: datetime | None


def should_notify(
    told: Told | None,
    firing: Mapping[str, str],
    *,
    is_over: bool,
    fired_at: datetime,
    at: datetime,
    group_wait: timedelta = timedelta(0),
    is_acked: bool = False,
    snoozed_until: datetime | None = None,
    repeat_interval: timedelta | None = None,
) -> Kind | None:
    """Return why a receiver is to be told of an incident now, None if it isn't.

    `firing` are the alerts that fire and are not muted, with their severity.

    >>> noon = datetime(2026, 1, 1, 12)
    >>> should_notify(None, {"a": "warning"}, is_over=False, fired_at=noon, at=noon)
    'firing'
    """
    knows = told.alerts if told is not None else frozenset()
    if is_over:
        return "resolved" if knows else None
    if not firing or (snoozed_until is not None and at < snoozed_until):
        return None
    if told is None or not knows:
        if at - fired_at < group_wait:
            return None
        return "firing" if told is None else "firing_again"
    if told.severity != "critical" and "critical" in firing.values():
        return "worse"
    quiet_for = at - told.notified_at if told.notified_at is not None else timedelta(0)
    if not firing.keys() <= knows and quiet_for >= GROUP_INTERVAL:
        return "joined"
    is_snooze_over = snoozed_until is not None and at - snoozed_until < quiet_for
    if is_snooze_over:  # whoever put it off wanted to hear of it again
        return "still_firing"
    if repeat_interval is not None and not is_acked and quiet_for >= repeat_interval:
        return "still_firing"
    return None


def resolved_sentence(opened_at: datetime, resolved_at: datetime, reason: str, peak: str) -> str:
    """Return what the last message of an incident says."""
    lasted = say_duration((resolved_at - opened_at).total_seconds())
    return f"{reason[:1].upper()}{reason[1:]} after {lasted}. At its worst: {peak}"


def dashboard_link(
    base: str | None,
    rule: Rule,
    labels: Mapping[str, str | None],
    start: datetime,
    end: datetime,
    window_s: int | None = None,
) -> str | None:
    """Return the page that shows the requests of an alert: window and filters set, the worst first.

    `window_s`: of the alert; what made it fire began so long before `start`.
    """
    if base is None:
        return None
    around = timedelta(minutes=15)
    before = max(around, timedelta(seconds=window_s or 0))
    window = {"start": _minute(start - before), "end": _minute(end + around)}
    failed = _FAILED.get(rule.watch)
    known = _FILTERS | (_FILTERS_OF_PARTS if failed in ("tool", "call") else {})
    filters = {
        known[name]: value for name, value in labels.items() if name in known and value is not None
    }
    order = _ORDERS.get(rule.watch) or _ORDERS_OF_UNITS.get(rule.metric.unit)
    shown = {"failed": failed} if failed else {"sort": order} if order else {}
    return f"{base.rstrip('/')}/requests?{urlencode({**window, **filters, **shown})}"


def request_link(base: str | None, request_id: str) -> str | None:
    """Return the page of one request."""
    return None if base is None else f"{base.rstrip('/')}/request?{urlencode({'id': request_id})}"


def _minute(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%MZ")
