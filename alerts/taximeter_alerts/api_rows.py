"""Rows of alerts.sqlite as the alerts API shows them. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from taximeter_alerts.budgets import BudgetStatus
from taximeter_alerts.incidents import RANK
from taximeter_alerts.notification_log import time_text
from taximeter_collector.forecast import Forecast


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
    alerts.sort(key=lambda a: (a["resolved_at"] is not None, -RANK[a["severity"]], a["opened_at"]))
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
        "is_lower_bound": status.is_lower_bound,
        "forecast": forecast,
        "forecast_days": found.days,
        "on_exhausted": budget.on_exhausted,
        "is_exhausted": status.is_exhausted,
    }
