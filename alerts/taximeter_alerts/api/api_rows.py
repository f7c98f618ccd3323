"""Rows of alerts.sqlite as the alerts API shows them. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from taximeter_alerts.incidents.incidents import importance
from taximeter_alerts.judge.budgets import BudgetStatus
from taximeter_alerts.judge.detect import HISTORY_DAYS
from taximeter_alerts.judge.explain import metric_title
from taximeter_alerts.notification_log import time_text
from taximeter_alerts.rules.book import Receiver, Rule
from taximeter_collector.forecast import Forecast

STATUSES: Final = ("firing", "pending", "resolved", "learning", "no_data", "error", "inactive")
"""The most important first."""


def alert_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """One alert of an incident, as it is told."""
    peak = json.loads(row["peak"])
    peak.pop("past_day", None)
    return {
        **row,
        "labels": json.loads(row["labels"]),
        "peak": peak,
        "status": "firing" if row["resolved_at"] is None else "resolved",
        "extra_usd": peak.get("extra_usd"),
    }


def incident_row(
    row: Mapping[str, Any], alerts: list[dict[str, Any]], told: list[str]
) -> dict[str, Any]:
    """An incident with its alerts, the worst first: its rule and sentence are the incident's."""
    alerts.sort(
        key=lambda a: (
            a["resolved_at"] is not None,
            importance(a["severity"], a["extra_usd"], a["opened_at"]),
        )
    )
    lead = alerts[0] if alerts else {}
    return {
        **{name: value for name, value in row.items() if name != "group_key"},
        "labels": json.loads(row["labels"]),
        "status": "firing" if row["resolved_at"] is None else "resolved",
        "rule": lead.get("rule"),
        "sentence": lead.get("sentence"),
        "peak": lead.get("peak"),
        "extra_usd": lead.get("extra_usd"),
        "alerts": alerts,
        "told": sorted(told),
    }


def budget_row(status: BudgetStatus) -> dict[str, Any]:
    """A budget as it stands for one group."""
    budget, found = status.budget, status.forecast
    forecast = None
    if isinstance(found, Forecast):
        forecast = {
            "low_usd": found.low_usd,
            "expected_usd": found.expected_usd,
            "high_usd": found.high_usd,
        }
    return {
        "budget": budget.name,
        "labels": status.labels,
        "amount_usd": budget.amount_usd,
        "period": budget.period,
        "zone": budget.zone,
        "period_start": time_text(status.start),
        "period_end": time_text(status.end),
        "used_usd": status.used.usd,
        "used_ratio": status.used_ratio,
        "left_usd": status.left_usd,
        "priced_ratio": status.used.priced_ratio,
        "is_lower_bound": status.used.is_lower_bound,
        "forecast": forecast,
        "forecast_days": found.days,
        "on_exhausted": budget.on_exhausted,
        "is_exhausted": status.is_exhausted,
    }


def rule_row(
    rule: Rule, statuses: Sequence[str], days: int, receivers: Iterable[Receiver]
) -> dict[str, Any]:
    """A rule with the statuses of its groups; `days` are those it has learned from."""
    status = next((s for s in STATUSES if s in statuses), "no_data")
    is_learning = rule.condition.kind in ("spike", "drop") and days < HISTORY_DAYS
    is_learning &= status not in ("firing", "pending")
    return {
        "name": rule.name,
        "title": metric_title(rule.watch),
        "watch": rule.watch,
        "unit": rule.metric.unit,
        "by": list(rule.by),
        "where": dict(rule.where),
        "when": rule.condition.text,
        "critical": rule.critical.text if rule.critical is not None else None,
        "for_s": rule.hold_for.total_seconds() if rule.hold_for is not None else None,
        "no_data": rule.no_data,
        "severity": rule.severity,
        "sensitivity": rule.sensitivity,
        "is_default": rule.is_default,
        "receivers": [r.name for r in receivers],
        "status": status,
        "groups": {s: statuses.count(s) for s in STATUSES if s in statuses},
        "learning": f"learning, {days} of {HISTORY_DAYS} days" if is_learning else None,
    }
