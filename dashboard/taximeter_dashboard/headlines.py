"""Headline numbers: a metric's totals and series in, what the KPI component draws out. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from taximeter_dashboard import charts, format
from taximeter_dashboard.queries import Row

COMPARABLE: Final = 0.05
"""Share of this period's requests that the previous one must have to be compared with."""


@dataclass(frozen=True, slots=True)
class Headline:
    """How one headline number is shown."""

    label: str
    metric: str
    text: Callable[[float | None], str]
    color: str
    better: Literal["lower", "higher", "neutral"]
    notable: float
    """The change from which on it is tinted: relative, or in ratio points if `is_ratio`."""
    is_ratio: bool = False
    is_money: bool = False
    page: str = "requests"
    link: dict[str, str] = field(default_factory=dict)


def is_comparable(now: Row, before: Row) -> bool:
    """Return whether the previous period holds enough requests to compare with."""
    return (before["sample_requests"] or 0) >= COMPARABLE * (now["sample_requests"] or 0)


def headline_item(
    headline: Headline,
    now: Row,
    before: Row,
    *,
    unit: str,
    values: Sequence[float | None],
    earlier: Sequence[float | None],
    href: str,
) -> dict[str, Any]:
    """Return one headline for `components.kpis`: value, change, sparkline, coverage and link."""
    value, previous = now[headline.metric], before[headline.metric]
    if not is_comparable(now, before):
        previous = None  # a handful of requests is no period to compare with
    change = charts.change(value, previous, is_ratio=headline.is_ratio)
    say = format.change_points if headline.is_ratio else format.change_relative
    return {
        "metric": headline.metric,
        "label": headline.label,
        "value": headline.text(value),
        "unit": unit,
        "color": headline.color,
        "delta": say(value, previous),
        "still": "no change" if previous is not None else "new",
        "note": "vs previous period" if previous is not None else "nothing to compare with",
        "dir": 0 if not change else (1 if change > 0 else -1),
        "tone": charts.tone(change, headline.better, headline.notable),
        "zero": headline.is_ratio,
        "spark": values,
        "prev": earlier if previous is not None else None,
        "text": [headline.text(v) for v in values],
        "badge": format.coverage(now["priced_ratio"]) if headline.is_money else None,
        "href": href,
    }
