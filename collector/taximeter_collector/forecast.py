"""Spend by day in, spend to a period's end out, as an interval. Pure. Method: docs/metrics.md, "Forecast"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from statistics import NormalDist, fmean
from typing import Final

HISTORY_DAYS: Final = 28
NEEDED_DAYS: Final = 7
WEEKEND_FROM_DAYS: Final = 14
CONFIDENCE: Final = 0.8
_SATURDAY: Final = 5


@dataclass(frozen=True, slots=True)
class Forecast:
    """Spend of the period when it ends, in USD: between low and high four times in five."""

    spent_usd: float
    low_usd: float
    expected_usd: float
    high_usd: float
    days: int
    """Complete days it was learned from."""
    knows_weekends: bool


@dataclass(frozen=True, slots=True)
class TooFewDays:
    """Why there is no forecast: complete days there are, and how many it takes."""

    spent_usd: float
    days: int
    needed: int = NEEDED_DAYS


def history_start(now: datetime) -> datetime:
    """Return from when on `forecast_month` reads days: 28 days back, or the month's start."""
    today = datetime.combine(now.astimezone(UTC).date(), datetime.min.time(), UTC)
    return min(today.replace(day=1), today - timedelta(days=HISTORY_DAYS))


def forecast_month(spend: Mapping[date, float], now: datetime) -> Forecast | TooFewDays:
    """Return what the month (UTC) of ``now`` will cost, from spend in USD by UTC day."""
    now = now.astimezone(UTC)
    month = now.date().replace(day=1)
    spent = sum(usd for day, usd in spend.items() if day.replace(day=1) == month)
    next_month = (month + timedelta(days=31)).replace(day=1)
    return forecast_period(spend, spent, now, next_month)


def forecast_period(
    spend: Mapping[date, float], spent_usd: float, now: datetime, end: date
) -> Forecast | TooFewDays:
    """Return what a period that ends before the day ``end`` will cost, in which ``spent_usd`` is spent.

    ``spend`` is in USD by the days of the time zone of ``now``. A day between others that is not
    in it cost nothing; the first day is left out of what is learned, as it may have begun in the
    middle.
    """
    today = now.date()
    days = _complete_days(spend, today)
    if len(days) < NEEDED_DAYS:
        return TooFewDays(spent_usd, len(days))
    knows_weekends = len(days) >= WEEKEND_FROM_DAYS

    def is_weekend(day: date) -> bool:
        return knows_weekends and day.weekday() >= _SATURDAY

    usual = {
        kind: fmean(spend.get(day, 0.0) for day in days if is_weekend(day) == kind)
        for kind in {is_weekend(day) for day in days}
    }
    freedom = len(days) - len(usual)
    spread = sum((spend.get(day, 0.0) - usual[is_weekend(day)]) ** 2 for day in days) / freedom
    ahead = _ahead(now, end)
    more = sum(part * usual[is_weekend(day)] for day, part in ahead.items())
    rest = sum(ahead.values())
    # Days differ by chance, and so does the mean they are taken from.
    reach = (
        _t_quantile((1 + CONFIDENCE) / 2, freedom) * (spread * (rest + rest**2 / len(days))) ** 0.5
    )
    expected = spent_usd + more
    low, high = max(spent_usd, expected - reach), expected + reach
    return Forecast(spent_usd, low, expected, high, len(days), knows_weekends)


def _complete_days(spend: Mapping[date, float], today: date) -> list[date]:
    if not spend:
        return []
    first = max(min(spend) + timedelta(days=1), today - timedelta(days=HISTORY_DAYS))
    return [first + timedelta(days=i) for i in range((today - first).days)]


def _ahead(now: datetime, end: date) -> dict[date, float]:
    """Return the days that are left, each with the share of it that is still to come."""
    today = now.date()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    left = {today: 1 - (now - midnight) / timedelta(days=1)}
    day = today + timedelta(days=1)
    while day < end:
        left[day] = 1.0
        day += timedelta(days=1)
    return left


def _t_quantile(p: float, freedom: int) -> float:
    """Return Student's quantile, by the expansion of Cornish and Fisher (0.2 % off at 5 degrees)."""
    z = NormalDist().inv_cdf(p)
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
