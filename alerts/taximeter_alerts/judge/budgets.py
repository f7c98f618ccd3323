"""Budgets: spend of a period in, how much is used and what the period will cost out. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from taximeter_alerts.amounts import say_amount
from taximeter_alerts.judge.detect import Verdict
from taximeter_alerts.judge.explain import subject
from taximeter_alerts.rules.book import Budget, Rule
from taximeter_collector.forecast import HISTORY_DAYS, Forecast, TooFewDays, forecast_period

HOUR: Final = timedelta(hours=1)
NEWEST: Final = timedelta(minutes=5)
"""The pace of the last hour must still be that of the newest minutes."""
_DAY_S: Final = 86_400
_ALL_PRICED: Final = 0.9995
_MOST_PRICED: Final = 0.995
"""From here on "at least" says enough."""
Window = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class Spend:
    """What one group spent in one window."""

    usd: float = 0.0
    priced_ratio: float | None = None
    """Share of the tokens that has a price; below 1 the spend is a lower bound."""

    @property
    def is_lower_bound(self) -> bool:
        """Some calls have no price: they cost more than is known."""
        return self.priced_ratio is not None and self.priced_ratio < _ALL_PRICED


GroupSpend = dict[str, tuple[dict[str, str | None], tuple[Spend, ...]]]
"""Group -> its labels, and its spend in each window that was asked for."""


@dataclass(frozen=True, slots=True)
class BudgetSpend:
    """What the groups of a budget spent."""

    current: GroupSpend
    """In `current_windows`."""
    days: Mapping[str, Mapping[date, float]]
    """On `past_days`, in USD; days without spend are left out."""


@dataclass(frozen=True, slots=True)
class BudgetStatus:
    """Where one budget stands for one group at one moment."""

    budget: Budget
    labels: dict[str, str | None]
    start: datetime
    end: datetime
    at: datetime
    used: Spend
    hour_usd: float
    newest_usd: float
    forecast: Forecast | TooFewDays

    @property
    def used_ratio(self) -> float:
        return self.used.usd / self.budget.amount_usd

    @property
    def left_usd(self) -> float:
        """What is left; negative when more is spent than there was."""
        return self.budget.amount_usd - self.used.usd

    @property
    def is_exhausted(self) -> bool:
        return self.used.usd >= self.budget.amount_usd


def period_of(budget: Budget, at: datetime) -> Window:
    """Return the day, week (from Monday) or month of the budget's time zone that ends at or after `at`.

    What ends at midnight belongs to the day before: `at` is the end of a minute.

    >>> berlin = Budget("b", 100.0, "month", "Europe/Berlin")
    >>> [t.isoformat() for t in period_of(berlin, datetime(2026, 10, 31, 23, 30, tzinfo=UTC))]
    ['2026-10-31T23:00:00+00:00', '2026-11-30T23:00:00+00:00']
    """
    zone = ZoneInfo(budget.zone)
    today = (at - timedelta(microseconds=1)).astimezone(zone).date()
    if budget.period == "day":
        first, end = today, today + timedelta(days=1)
    elif budget.period == "week":
        first = today - timedelta(days=today.weekday())
        end = first + timedelta(days=7)
    else:
        first = today.replace(day=1)
        end = (first + timedelta(days=31)).replace(day=1)
    return midnight(first, zone), midnight(end, zone)


def periods_of(budget: Budget, start: datetime, end: datetime) -> list[Window]:
    """Return what a report on `start` to `end` tells of a budget, the newest first.

    The period that goes on at its end, up to there, and each that ended within: of those that
    are no longer than the report itself, only what lies in it for the most part.

    >>> def told(period, start, end):
    ...     at = [datetime(2026, 11, day, tzinfo=UTC) for day in (start, end)]
    ...     found = periods_of(Budget("b", 100.0, period), *at)
    ...     return [f"{a:%d %b} - {b:%d %b}" for a, b in found]
    >>> told("day", 19, 20), told("month", 19, 20)
    (['19 Nov - 20 Nov'], ['01 Nov - 20 Nov'])
    >>> told("day", 1, 4)
    ['03 Nov - 04 Nov', '02 Nov - 03 Nov', '01 Nov - 02 Nov']
    """
    first, _ = period_of(budget, end)
    windows = [(first, end)]
    while first > start:
        first, last = period_of(budget, first)
        if first + (last - first) / 2 >= start or last - first > end - start:
            windows.append((first, last))
    return windows


def past_days(budget: Budget, at: datetime) -> dict[date, Window]:
    """Return the complete days of the budget's time zone that a forecast is learned from."""
    zone = ZoneInfo(budget.zone)
    today = (at - timedelta(microseconds=1)).astimezone(zone).date()
    days = [today - timedelta(days=age) for age in range(HISTORY_DAYS, 0, -1)]
    return {day: (midnight(day, zone), midnight(day + timedelta(days=1), zone)) for day in days}


def spend_by_day(spent: GroupSpend, days: Iterable[date]) -> dict[str, dict[date, float]]:
    """Return each group's spend by day, from windows in the order of `days`."""
    order = list(days)
    return {
        group: {day: spend.usd for day, spend in zip(order, spends, strict=True) if spend.usd}
        for group, (_, spends) in spent.items()
    }


def current_windows(budget: Budget, at: datetime) -> tuple[Window, Window, Window]:
    """Return the period so far, the last hour and the newest minutes."""
    return (period_of(budget, at)[0], at), (at - HOUR, at), (at - NEWEST, at)


def status_of(
    budget: Budget, labels: dict[str, str | None], group: str, spend: BudgetSpend, at: datetime
) -> BudgetStatus:
    """Return where a budget stands for a group; one that is not in `spend` spent nothing."""
    start, end = period_of(budget, at)
    used, hour, newest = spend.current[group][1] if group in spend.current else (Spend(),) * 3
    days = spend.days.get(group, {})
    zone = ZoneInfo(budget.zone)
    now = (at - timedelta(microseconds=1)).astimezone(zone)
    forecast = forecast_period(days, used.usd, now, end.astimezone(zone).date())
    return BudgetStatus(budget, labels, start, end, at, used, hour.usd, newest.usd, forecast)


def judge_budget(rule: Rule, status: BudgetStatus) -> Verdict:
    """Return whether a level of a budget is reached."""
    amount, level = status.budget.amount_usd, rule.condition.limit
    kind = rule.condition.kind
    if kind == "forecast":
        if isinstance(status.forecast, TooFewDays):
            return Verdict("learning", status.used.usd, _DAY_S, days=status.forecast.days)
        value, window_s = status.forecast.expected_usd, _DAY_S
        is_breach = value > amount
    elif kind == "pace":
        value, window_s = status.hour_usd, 3_600
        still = status.newest_usd >= level * amount * (NEWEST / HOUR)
        is_breach = value >= level * amount and still
    else:
        value, window_s = status.used.usd, _DAY_S
        is_breach = value >= level * amount
    return Verdict(
        "breach" if is_breach else "clear",
        value,
        window_s,
        count=1.0,
        priced_ratio=status.used.priced_ratio,
        is_fresh=is_breach,
    )


def budget_sentence(rule: Rule, status: BudgetStatus) -> str:
    """Return the sentence of a budget's alert."""
    budget, used = status.budget, status.used
    who, amount = subject(rule, status.labels), say_amount(budget.amount_usd, "USD")
    least = "at least " if status.used.is_lower_bound else ""
    spent = (
        f"{least}{say_amount(used.usd, 'USD')} of {amount} per {budget.period} used"
        f" ({say_amount(status.used_ratio, 'ratio')})"
    )
    parts = []
    if rule.condition.kind == "pace":
        share = say_amount(status.hour_usd / budget.amount_usd, "ratio")
        hour = say_amount(status.hour_usd, "USD")
        parts.append(f"{who}: {hour} in the last hour, {share} of the budget; {spent}.")
    else:
        parts.append(f"{who}: {spent}, {_time_left(status)}.")
    if status.is_exhausted and budget.on_exhausted == "stop":
        parts.append(f"Agents that ask for budgets are stopped until the {budget.period} ends.")
    if isinstance(status.forecast, Forecast):
        parts.append(_expected(status.forecast, budget.period))
    if used.priced_ratio is not None and used.priced_ratio < _MOST_PRICED:
        priced = say_amount(used.priced_ratio, "ratio")
        parts.append(f"Only {priced} of the tokens have a price: it is more than that.")
    return " ".join(parts)


def _expected(forecast: Forecast, period: str) -> str:
    low, high = say_amount(forecast.low_usd, "USD"), say_amount(forecast.high_usd, "USD")
    expected = say_amount(forecast.expected_usd, "USD")
    return f"The {period} is expected to cost {expected} (four times in five {low} to {high})."


def _time_left(status: BudgetStatus) -> str:
    left_s = (status.end - status.at).total_seconds()
    if left_s >= 2 * _DAY_S:
        return f"{left_s / _DAY_S:.0f} days to go"
    return f"{left_s / 3_600:.0f} h to go" if left_s >= 7_200 else f"{left_s / 60:.0f} min to go"


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """Return when a day begins in a time zone, in UTC."""
    return datetime.combine(day, time.min, zone).astimezone(UTC)
