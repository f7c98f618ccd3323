"""Rows of alerts.sqlite as the alerts API shows them. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from taximeter_alerts.incidents import RANK


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
