"""Budgets of the alerts service as rows of a table. Pure; a field that is missing stays unknown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Any, Final

from taximeter_dashboard import format
from taximeter_dashboard.alerting import label_parameters, moment_in

_MINUTE: Final = "%Y-%m-%dT%H:%MZ"
COLUMNS: Final = (
    {"label": "Budget", "type": "main", "prio": "p1", "width": "24%"},
    {"label": "Used", "type": "meter", "color": "cost"},
    {"label": "Left", "align": "r", "width": "110px", "prio": "p2"},
    {"label": "Expected at the end", "align": "r", "width": "210px", "hide": "h1"},
    {"label": "Ends", "cls": "mute", "width": "120px", "hide": "h1"},
    {"label": "When used up", "cls": "mute", "width": "170px", "hide": "h1"},
)


def touching(
    rows: Sequence[Mapping[str, Any]], where: Mapping[str, Sequence[str]]
) -> list[Mapping[str, Any]]:
    """Return the budgets that may hold spend of these filters: all but those of another agent, tenant, ….

    >>> rows = [{"labels": {"tenant": "a"}}, {"labels": {"tenant": "b"}}, {"labels": {}}]
    >>> touching(rows, {"tenant": ["a"], "agent_name": ["x"]})
    [{'labels': {'tenant': 'a'}}, {'labels': {}}]
    """
    return [
        row
        for row in rows
        if all(
            (row.get("labels") or {}).get(column) in (None, *values)
            for column, values in where.items()
        )
    ]


def summary(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return how many there are, how many are used up and how many will be.

    >>> summary([{"is_exhausted": True}, {"amount_usd": 5.0, "forecast": {"expected_usd": 7.0}}])
    '2 watched, 1 used up, 1 expected to be'
    """
    full = sum(bool(row.get("is_exhausted")) for row in rows)
    coming = sum(_will_be_exceeded(row) for row in rows)
    text = f"{format.exact(len(rows))} watched, {format.exact(full)} used up"
    return text + (f", {format.exact(coming)} expected to be" if coming else "")


def _will_be_exceeded(row: Mapping[str, Any]) -> bool:
    expected = (row.get("forecast") or {}).get("expected_usd")
    amount = row.get("amount_usd")
    return bool(
        not row.get("is_exhausted")
        and expected is not None
        and amount is not None
        and expected > amount
    )


def budget_rows(
    rows: Sequence[Mapping[str, Any]], zone: tzinfo, now: datetime, url: Callable[..., str]
) -> list[dict[str, Any]]:
    """Return the table's rows, the fullest budget first."""
    ordered = sorted(rows, key=lambda row: -(row.get("used_ratio") or 0.0))
    return [_row(row, zone, now, url) for row in ordered]


def _row(
    row: Mapping[str, Any], zone: tzinfo, now: datetime, url: Callable[..., str]
) -> dict[str, Any]:
    labels = {k: str(v) for k, v in (row.get("labels") or {}).items() if v is not None}
    used, amount, ratio = row.get("used_usd"), row.get("amount_usd"), row.get("used_ratio")
    least = "≥ " if row.get("is_lower_bound") else ""
    spent = f"{least}{format.usd(used)} of {format.usd(amount)} a {row.get('period')}"
    start, end = moment_in(row, "period_start"), moment_in(row, "period_end")
    left = row.get("left_usd")
    over = f"{format.usd(left)} left"
    if left is not None and left < 0:
        over = f"{format.usd(-left)} over"
    ends = format.moment(end, zone, seconds=False) if end else format.usd(None)
    covered = format.coverage(row.get("priced_ratio")) or ""
    # Without a group it may still be of a part only: a rule's `where` is not told.
    name = str(row.get("budget")) + (f": {' / '.join(labels.values())}" if labels else "")
    href = ""
    if start and end:
        window = {"start": start.strftime(_MINUTE), "end": min(end, now).strftime(_MINUTE)}
        href = url("costs", **window, **label_parameters(labels))
    stops = "the fleet is told to stop" if row.get("on_exhausted") == "stop" else "people are told"
    return {
        "id": name,
        "sub": f"{spent} ({format.percent(ratio)}), ends {ends}",
        "c": [
            [name, href, "", covered],
            [f"{spent} · {format.percent(ratio)}", ratio],
            over,
            _expected(row.get("forecast"), row.get("forecast_days")),
            ends,
            stops,
        ],
    }


def _expected(forecast: Any, days: Any) -> str:
    if not isinstance(forecast, Mapping):
        return f"learning, {days or 0} of 7 days"
    low, high = format.usd(forecast.get("low_usd")), format.usd(forecast.get("high_usd"))
    return f"{format.usd(forecast.get('expected_usd'))} ({low} – {high})"
