"""The digest of a day or week: when it is due, and what was read of it as a notice. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from taximeter_alerts.amounts import say_amount, say_count
from taximeter_alerts.judge.budgets import Spend, midnight
from taximeter_alerts.judge.explain import group_title
from taximeter_alerts.outbox.notice import Notice
from taximeter_alerts.rules.book import Budget, Digest
from taximeter_collector.decompose import FACTOR_NAMES, FACTORS, Decomposition

_PICO: Final = 1e12
_MOST_NAMED: Final = 3
_NOTABLE_USD: Final = 0.01
_NOTABLE_SHARE: Final = 0.05
_BUDGET_FROM: Final = 0.5
Values = Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class Period:
    """What one digest is about, and the same time before it."""

    due: datetime
    before: datetime
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class BudgetUse:
    """What one group used of a budget, in one of the budget's periods."""

    budget: Budget
    labels: Mapping[str, str | None]
    used: Spend
    start: datetime
    """When that period began."""
    is_only_one: bool = True
    """The digest is about no other period of this budget."""

    @property
    def ratio(self) -> float:
        return self.used.usd / self.budget.amount_usd


@dataclass(frozen=True, slots=True)
class DigestFacts:
    """What was read of a period."""

    now: Values
    before: Values
    """Metrics of the period and of the one before, by name."""
    change: Decomposition
    by_agent: Mapping[str | None, Decomposition]
    """Largest change first."""
    savings: Sequence[tuple[float, str]] = ()
    """USD, and what they were paid for."""
    alerts: Sequence[tuple[str, str]] = ()
    """Severity and title of the incidents that began."""
    budgets: Sequence[BudgetUse] = ()
    """Of each budget and group its fullest period."""


def period_due(digest: Digest, now: datetime) -> Period:
    """Return the period of the newest digest that was due at `now`, in the digest's time zone.

    >>> found = period_due(Digest("week", zone="Europe/Berlin"), datetime(2026, 11, 26, tzinfo=UTC))
    >>> found.due.isoformat(), found.start.isoformat(), found.end.isoformat()
    ('2026-11-23T07:00:00+00:00', '2026-11-15T23:00:00+00:00', '2026-11-22T23:00:00+00:00')
    """
    zone = ZoneInfo(digest.zone)
    day = now.astimezone(zone).date()
    if digest.every == "week":
        day -= timedelta(days=day.weekday())
    length = timedelta(days=7 if digest.every == "week" else 1)
    if _at(day, digest, zone) > now:
        day -= length
    before, start, end = (midnight(day - n * length, zone) for n in (2, 1, 0))
    return Period(_at(day, digest, zone), before, start, end)


def digest_notice(digest: Digest, period: Period, facts: DigestFacts, base: str | None) -> Notice:
    """Return the message."""
    return Notice(
        kind="digest",
        incident=f"digest-{digest.id}-{period.end:%Y%m%d%H}",
        rule="digest",
        severity="info",
        title=_title(digest, period),
        sentence=_spend(digest, facts),
        link=_link(base, period),
        at=period.due.isoformat(),
        cause=tuple(
            line
            for line in (
                _why(facts.change),
                _movers(facts.by_agent),
                _savings(facts.savings),
                _alerts(facts.alerts),
                _budgets(facts.budgets),
            )
            if line
        ),
    )


def _spend(digest: Digest, facts: DigestFacts) -> str:
    now, before = facts.now, facts.before
    usd, requests = now.get("cost_usd") or 0.0, now.get("requests") or 0.0
    if not requests and not usd:
        return f"No request came that {digest.every}."
    priced = now.get("priced_ratio")
    least = "at least " if priced is not None and priced < 0.9995 else ""
    told = f"Spend {least}{say_amount(usd, 'USD')} on {requests:,.0f} requests"
    was = before.get("cost_usd")
    if was is not None:
        share = f" ({_signed_share(usd / was - 1)})" if was else ""
        told += f", {_signed(usd - was)}{share} against the {digest.every} before"
    parts = [
        f"{name} {say_amount(value, unit)}"
        for key, name, unit in (
            ("cost_per_request_usd", "cost per request", "USD"),
            ("error_rate", "error rate", "ratio"),
            ("loop_length_mean", "loop length", "1"),
            ("cache_hit_ratio", "cache-hit ratio", "ratio"),
        )
        if (value := now.get(key)) is not None
    ]
    told += f"; {', '.join(parts)}." if parts else "."
    if least:
        told += f" Only {say_amount(priced or 0.0, 'ratio')} of the tokens have a price."
    return told


def _why(change: Decomposition) -> str:
    if abs(change.change_pico) < _NOTABLE_USD * _PICO:
        return ""
    parts = sorted(FACTORS, key=lambda factor: -abs(change.parts[factor]))
    told = [
        f"{FACTOR_NAMES[factor]} {_signed(change.parts[factor] / _PICO)}"
        for factor in parts
        if abs(change.parts[factor]) >= _NOTABLE_SHARE * abs(change.change_pico)
    ]
    return f"Why: {', '.join(told)}."


def _movers(by_agent: Mapping[str | None, Decomposition]) -> str:
    told = [
        f"{name or 'no agent'} {_signed(found.change_pico / _PICO)}"
        f" (now {say_amount(found.after.cost_pico / _PICO, 'USD')})"
        for name, found in list(by_agent.items())[:_MOST_NAMED]
        if abs(found.change_pico) >= _NOTABLE_USD * _PICO
    ]
    return f"Changed most: {', '.join(told)}." if told else ""


def _savings(savings: Sequence[tuple[float, str]]) -> str:
    found = sorted((s for s in savings if s[0] >= _NOTABLE_USD), reverse=True)[:_MOST_NAMED]
    told = [f"{say_amount(usd, 'USD')} for {what}" for usd, what in found]
    return f"To save: {'; '.join(told)}." if told else ""


def _alerts(alerts: Sequence[tuple[str, str]]) -> str:
    if not alerts:
        return "Alerts: none."
    critical = sum(severity == "critical" for severity, _ in alerts)
    titles = [title for _, title in alerts]
    more = f"; and {len(titles) - _MOST_NAMED} more" if len(titles) > _MOST_NAMED else ""
    number = f"{say_count(len(alerts), 'incident')}, {critical} critical"
    return f"Alerts: {number}: {'; '.join(titles[:_MOST_NAMED])}{more}."


def _budgets(budgets: Sequence[BudgetUse]) -> str:
    full = sorted(
        (found for found in budgets if found.ratio >= _BUDGET_FROM), key=lambda found: -found.ratio
    )
    more = f"; and {len(full) - _MOST_NAMED} more" if len(full) > _MOST_NAMED else ""
    told = [_budget(found) for found in full[:_MOST_NAMED]]
    return f"Budgets: {'; '.join(told)}{more}." if told else ""


def _budget(found: BudgetUse) -> str:
    budget = found.budget
    least = "at least " if found.used.is_lower_bound else ""
    when = "" if found.is_only_one else f" ({_named(budget, found.start)})"
    whose = f", {group_title(found.labels)}" if found.labels else ""
    return (
        f"{budget.name}{whose}: {least}{say_amount(found.ratio, 'ratio')}"
        f" of {say_amount(budget.amount_usd, 'USD')} per {budget.period}{when}"
    )


def _named(budget: Budget, start: datetime) -> str:
    first = start.astimezone(ZoneInfo(budget.zone))
    if budget.period == "month":
        return f"{first:%B}"
    day = f"{first.day} {first:%B}"
    return f"{first:%A} {day}" if budget.period == "day" else f"week of {day}"


def _title(digest: Digest, period: Period) -> str:
    zone = ZoneInfo(digest.zone)
    first, last = period.start.astimezone(zone), (period.end - timedelta(hours=1)).astimezone(zone)
    if digest.every == "day":
        return f"{first:%A} {first.day} {first:%B}"
    month = f" {first:%B}" if first.month != last.month else ""
    return f"{first.day}{month} to {last.day} {last:%B}"


def _link(base: str | None, period: Period) -> str | None:
    if base is None:
        return None
    window = {"start": f"{period.start:%Y-%m-%dT%H:%MZ}", "end": f"{period.end:%Y-%m-%dT%H:%MZ}"}
    return f"{base.rstrip('/')}/costs?{urlencode(window)}"


def _signed(usd: float) -> str:
    return ("+" if usd >= 0 else "") + say_amount(usd, "USD")


def _signed_share(share: float) -> str:
    return ("+" if share >= 0 else "-") + say_amount(abs(share), "ratio")


def _at(day: date, digest: Digest, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, digest.at, zone).astimezone(UTC)


def named(values: Mapping[str, Any]) -> Values:
    """Return the metrics of a row by name, without its other columns."""
    return {name: value for name, value in values.items() if isinstance(value, float)}
