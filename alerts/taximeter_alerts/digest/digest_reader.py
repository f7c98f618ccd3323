"""Reads what a digest is about: from the collector, and from the incidents that were kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, Protocol

from taximeter_alerts.digest.digest import BudgetUse, DigestFacts, Period, named
from taximeter_alerts.judge.budgets import periods_of
from taximeter_alerts.judge.windows import Reader, Shape, read_spend, shape_of
from taximeter_alerts.notification_log import time_text
from taximeter_alerts.outbox.notice import title_of_incident
from taximeter_alerts.rules.book import Budget, Rule, RuleBook
from taximeter_alerts.rules.defaults import OWN_RULES
from taximeter_collector.cache_reuse import reuse_query
from taximeter_collector.decompose import (
    added_up,
    decompose,
    decompose_groups,
    periods,
    usage_query,
)
from taximeter_collector.metrics import metric_query

METRICS: Final = (
    "cost_usd", "requests", "cost_per_request_usd", "error_rate", "loop_length_mean",
    "cache_hit_ratio", "thrash_cost_usd",
)  # fmt: skip
_MISSES: Final = {
    "prefix_changed": "a prompt whose beginning changed",
    "expired": "a cache that expired",
    "concurrent": "calls at the same time that each wrote the cache",
}
_REPEATS: Final = "calls that only repeated a tool call"


class Rows(Protocol):
    """The part of the notification log that is used here."""

    def rows(self, sql: str, *params: Any) -> list[dict[str, Any]]: ...


class DigestReader:
    """What happened in a period."""

    def __init__(
        self, book: RuleBook, reader: Reader, log: Rows, clock: Callable[[], datetime]
    ) -> None:
        self._book, self._reader, self._log, self._clock = book, reader, log, clock
        self._rules = {rule.name: rule for rule in (*book.rules, *OWN_RULES)}

    def facts(self, period: Period) -> DigestFacts:
        """Return it. Raises QueryError."""
        query = usage_query(period.before, period.start, period.end, group_by="agent_name")
        before, after = periods(self._rows(query.sql, query.params))
        now = self._metrics(period.start, period.end)
        return DigestFacts(
            now=now,
            before=self._metrics(period.before, period.start),
            change=decompose(added_up(before.values()), added_up(after.values())),
            by_agent=decompose_groups(before, after),
            savings=[*self._cache(period), (now.get("thrash_cost_usd") or 0.0, _REPEATS)],
            alerts=self._alerts(period),
            budgets=self._budgets(period),
        )

    def _metrics(self, start: datetime, end: datetime) -> dict[str, float | None]:
        query = metric_query(METRICS, start, end)
        (row,) = self._rows(query.sql, query.params)
        return dict(named(row))

    def _cache(self, period: Period) -> list[tuple[float, str]]:
        """Return what the cache could have saved, by agent and cause, and what was written in vain."""
        query = reuse_query(period.start, period.end, self._clock())
        sums: dict[str, float] = {}
        for row in self._rows(query.sql, query.params):
            who = row["agent_name"] or "no agent"
            if row["cause"] in _MISSES:
                what = f"{_MISSES[row['cause']]}, {who}"
                sums[what] = sums.get(what, 0.0) + (row["missed_usd"] or 0.0)
            what = f"cached prompts that nobody read again, {who}"
            sums[what] = sums.get(what, 0.0) + (row["unread_usd"] or 0.0)
        return [(usd, what) for what, usd in sums.items()]

    def _alerts(self, period: Period) -> list[tuple[str, str]]:
        """Return severity and title of the incidents that fired in the period, critical ones first."""
        rows = self._log.rows(
            "select i.id, i.severity, a.rule, a.labels from incident i"
            " join alert a on a.incident = i.id where i.fired_at >= ? and i.fired_at < ?"
            " order by i.severity <> 'critical', i.fired_at, i.id, a.severity <> 'critical',"
            " a.opened_at",
            time_text(period.start),
            time_text(period.end),
        )
        found: dict[str, tuple[str, list[tuple[Rule, dict[str, str | None]]]]] = {}
        for row in rows:
            rule = self._rules.get(row["rule"])
            if rule is not None:
                alerts = found.setdefault(row["id"], (row["severity"], []))[1]
                alerts.append((rule, json.loads(row["labels"])))
        return [(severity, title_of_incident(alerts)) for severity, alerts in found.values()]

    def _budgets(self, period: Period) -> list[BudgetUse]:
        """Return what was used of each budget then, whatever is used of it by now."""
        asked = {rule.budget: shape_of(rule) for rule in self._book.rules if rule.budget}
        return [
            use for budget, shape in asked.items() for use in self._fullest(shape, budget, period)
        ]

    def _fullest(self, shape: Shape, budget: Budget, period: Period) -> list[BudgetUse]:
        windows = periods_of(budget, period.start, period.end)
        found = []
        for labels, spends in read_spend(self._reader, shape, windows).values():
            at = max(range(len(windows)), key=lambda place: spends[place].usd)
            use = BudgetUse(budget, labels, spends[at], windows[at][0], len(windows) == 1)
            found.append(use)
        return found

    def _rows(self, sql: str, params: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._reader.query(sql, params).to_pylist()
        return found
