"""What a rule is, and all else that alerts.yaml can say. Values only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Final, Literal

from taximeter.settings.secret import Secret
from taximeter_collector.metrics import METRICS, Metric

Kind = Literal["spike", "drop", "above", "below", "silent", "burning", "budget", "forecast", "pace"]
Period = Literal["day", "week", "month"]
NoData = Literal["keep", "alert", "ok"]
Channel = Literal["slack", "slack_bot", "email", "webhook", "pagerduty", "teams", "apprise"]
Severity = Literal["info", "warning", "critical"]
Sensitivity = Literal["low", "normal", "high"]

WINDOWS_S: Final = (300, 900, 3_600, 21_600, 86_400)
"""The trailing windows every rule is judged on."""
NEWEST_S: Final = 60
"""The newest minute, read beside them: was there anything new?"""
RATES: Final = ("error_rate", "tool_error_rate", "call_error_rate")
"""Metrics that count failures among trials: judged by a test that knows the counts."""
LOOPS: Final = ("loop_length_mean", "loop_length_p50", "loop_length_p95", "loop_length_p99")
SPIKES: Final = (
    *RATES,
    *LOOPS,
    "cost_per_request_usd",
    "cost_per_success_usd",
    "tokens_per_request",
    "latency_p50_seconds",
    "latency_p95_seconds",
    "ttft_p95_seconds",
)
"""Metrics of one request or call. A total has no usual value per request, so no spike."""
DEAREST: Final = "request_cost_max_usd"
"""A single request: a spike of it is judged by the highest of each day."""
DROPS: Final = (
    "cache_hit_ratio",
    "cache_saved_ratio",
    "output_tokens_per_second",
    *(name for name in SPIKES if name not in RATES),
)
"""Metrics that can fall out of their usual range."""


@dataclass(frozen=True, slots=True)
class Condition:
    """When a rule breaches."""

    kind: Kind
    limit: float = 0.0
    """For above and below: the limit in the metric's unit. For spike: at least this many times usual.
    For drop: the share of usual that is gone, 0.5 for half. For silent: the seconds without anything, 0 for less than a quarter of usual.
    For burning: the share that must not fail. Of a budget: its used share (budget), its expected share (forecast), its share spent in an hour (pace)."""

    text: str = ""
    """As the user wrote it."""


@dataclass(frozen=True, slots=True)
class Budget:
    """An amount of money a period, for each group of the rules that watch it, one a level."""

    name: str
    amount_usd: float
    period: Period
    zone: str = "UTC"
    """The time zone (IANA) of its days."""
    on_exhausted: Literal["notify", "stop"] = "notify"
    """``stop``: calls end their runs in agents that ask the collector for budgets."""
    where: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """The part of the traffic that it is of, as the rules that watch it say."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; `by` makes one alert a group, `group_by` gathers alerts into incidents."""

    name: str
    watch: str
    condition: Condition
    critical: Condition | None = None
    """The level from which the alert is critical, whatever `severity` says."""
    by: tuple[str, ...] = ()
    where: tuple[tuple[str, tuple[str, ...]], ...] = ()
    over_s: int = 900
    """The window of above and below; a spike picks its own."""
    hold_for: timedelta | None = None
    """How long it must breach before it fires; None: some evaluations with new data in a row."""
    keep_firing_for: timedelta = timedelta(minutes=15)
    min_requests: int | None = None
    min_errors: int = 5
    min_impact_usd: float | None = None
    min_agents: int | None = None
    """How many agents must fail; such a rule mutes their own alerts of failures."""
    no_data: NoData = "keep"
    severity: Severity = "warning"
    sensitivity: Sensitivity = "normal"
    notify: tuple[str, ...] | None = None
    """Receivers; None: all of them."""
    group_by: tuple[str, ...] | None = None
    """Labels (or `rule`) whose alerts are one incident; None: `agent_name`, else each its own."""
    repeat_interval: timedelta | None = None
    """None: the book's, which holds for critical alerts only. Zero: never."""
    is_default: bool = False
    title: str = ""
    """What it is called in a headline; empty: its metric."""
    budget: Budget | None = None
    """The budget of which this is a level."""

    @property
    def written_name(self) -> str:
        """The name in alerts.yaml, which is one for all levels of a budget."""
        return self.name if self.budget is None else self.budget.name

    @property
    def metric(self) -> Metric:
        return METRICS[self.watch]

    @property
    def is_drop(self) -> bool:
        return self.condition.kind == "drop"

    @property
    def is_silent(self) -> bool:
        return self.condition.kind == "silent"

    @property
    def is_spike_of_one(self) -> bool:
        """A single request is looked for, not a change of many."""
        return self.watch == DEAREST and self.condition.kind == "spike"

    @property
    def has_sensitivity(self) -> bool:
        return self.condition.kind in ("spike", "drop") and not self.is_spike_of_one

    @property
    def is_rate(self) -> bool:
        return self.watch in RATES


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where notices go."""

    name: str
    channel: Channel
    address: Secret | None = None
    """The URL, key or token of the channel; email has none."""
    to: tuple[str, ...] = ()
    """Email addresses, or the channel that a Slack bot posts to."""
    signing_key: Secret | None = None
    """What a webhook's requests are signed with."""


@dataclass(frozen=True, slots=True)
class Silence:
    """A silence that stands in alerts.yaml."""

    matchers: tuple[tuple[str, str], ...]
    starts_at: datetime
    ends_at: datetime
    author: str = ""
    comment: str = ""

    @property
    def id(self) -> str:
        return "file-" + short_digest(self.matchers, str(self.starts_at), str(self.ends_at))


@dataclass(frozen=True, slots=True)
class Digest:
    """A message about each day or week, whatever fires."""

    every: Literal["day", "week"]
    at: time = time(8)
    """When it is sent, in its time zone; a week's on Monday."""
    zone: str = "UTC"
    notify: tuple[str, ...] | None = None
    """Receivers; None: all but those that page somebody."""

    @property
    def id(self) -> str:
        return short_digest(self.every, self.zone, self.notify)


@dataclass(frozen=True, slots=True)
class MailServer:
    """How mail leaves."""

    host: str = "127.0.0.1"
    port: int = 25
    sender: str = "taximeter@localhost"
    tls: Literal["none", "starttls", "tls"] = "none"
    username: Secret | None = None
    password: Secret | None = None


@dataclass(frozen=True, slots=True)
class RuleBook:
    """Everything alerts.yaml says."""

    rules: tuple[Rule, ...]
    receivers: tuple[Receiver, ...] = ()
    mail: MailServer = field(default_factory=MailServer)
    every: timedelta = timedelta(seconds=15)
    settle: timedelta = timedelta(seconds=60)
    dashboard_url: str | None = None
    group_wait: timedelta = timedelta(seconds=60)
    repeat_interval: timedelta = timedelta(hours=4)
    silences: tuple[Silence, ...] = ()
    digests: tuple[Digest, ...] = ()
    allow_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """Private networks that notices may be sent to."""

    @property
    def names(self) -> list[str]:
        """The rules' names as they are written, each once: a budget is a rule a level inside."""
        return list(dict.fromkeys(rule.written_name for rule in self.rules))

    def receivers_of(self, rule: Rule) -> tuple[Receiver, ...]:
        return tuple(r for r in self.receivers if rule.notify is None or r.name in rule.notify)

    def receivers_of_digest(self, digest: Digest) -> tuple[Receiver, ...]:
        if digest.notify is None:
            return tuple(r for r in self.receivers if r.channel != "pagerduty")
        return tuple(r for r in self.receivers if r.name in digest.notify)

    def repeat_interval_of(self, rule: Rule, severity: str) -> timedelta | None:
        """Return after how long an alert that still fires is told again, None for never.

        A budget is told once a level: until the period ends there is nothing new to say.
        """
        interval = rule.repeat_interval
        if interval is None and severity == "critical" and rule.budget is None:
            interval = self.repeat_interval
        return interval or None


def names_of(rules: Iterable[Rule]) -> tuple[str, ...]:
    """Return the names by which rules can be silenced: as written, and those of a budget's levels."""
    names = (name for rule in rules for name in (rule.written_name, rule.name))
    return tuple(dict.fromkeys(filter(None, names)))


def group_labels(rule: Rule, labels: Mapping[str, str | None]) -> dict[str, str | None]:
    """Return the labels of the incident that an alert belongs to.

    >>> rule = Rule("dear", "cost_per_request_usd", Condition("above", 1.0))
    >>> group_labels(rule, {"agent_name": "support", "model": "m"})
    {'agent_name': 'support'}
    """
    if rule.budget is not None:  # its levels are one story, and no agent's
        return {"rule": rule.budget.name, **labels}
    known = {"rule": rule.name, **labels}
    if rule.group_by is not None:
        return {name: known[name] for name in rule.group_by if name in known}
    if "agent_name" in labels:
        return {"agent_name": labels["agent_name"]}
    return known


def labels_key(labels: Mapping[str, str | None]) -> str:
    """Return the one text of a group, whatever the order of its labels."""
    return _key(tuple(sorted(labels.items())))


@lru_cache(maxsize=100_000)
def _key(labels: tuple[tuple[str, str | None], ...]) -> str:
    return json.dumps(dict(labels), ensure_ascii=False)


def short_digest(*parts: Any) -> str:
    """Return a short, stable name for these parts."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
