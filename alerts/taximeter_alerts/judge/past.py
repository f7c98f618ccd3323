"""What is usual, for all groups at once: columns of past windows in, a fact a group out. Pure.

*Usual* is the median of comparable windows, its range what all but two of the days stayed within (of
few days: all but one); a usual failure rate is the median of the days' rates. Two bad days, or one
bad night over the turn of a day, can't become usual, three can.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from taximeter_alerts.judge.detect import HISTORY_DAYS, Reference, Usual, days_outside
from taximeter_alerts.judge.segments import Floats, Ints, Segments, number_of, spread
from taximeter_alerts.rules.book import DEAREST, DROPS, RATES

HOUR_S: Final = 3_600
DAY_S: Final = 86_400
HOURS: Final = HISTORY_DAYS * 24
ENOUGH_IN_REFERENCE: Final = 10
ENOUGH_OF_A_RATE: Final = 100
ENOUGH_WINDOWS: Final = {300: 24, 900: 12, 3_600: 8, 21_600: 6, 86_400: 3}
"""How many windows of a size make a usual."""
NEAR_HOURS: Final = 1.5
NEAR_DAYS: Final = 3
_MOST_DAYS: Final = 32
"""More than any age: a group and a day are one number."""


@dataclass(frozen=True, slots=True)
class PastWindows:
    """Tumbling windows of one size and metric, a place a window; a value that is not known is NaN."""

    group: Ints
    start_s: Ints
    """Since 1970."""
    value: Floats
    count: Floats
    failures: Floats
    cost: Floats
    """USD per request."""

    def where(self, chosen: Any) -> PastWindows:
        """Return some of the windows, by a mask or a slice."""
        return PastWindows(*(getattr(self, column.name)[chosen] for column in fields(self)))

    def holding(self) -> PastWindows:
        """Return the windows that hold something of the metric."""
        return self.where(~np.isnan(self.value) & (self.count > 0))

    def age_days(self, end: datetime) -> Ints:
        """Return the whole rolling days before `end`: 0 is the last 24 hours."""
        return np.maximum(int(end.timestamp()) - self.start_s - 1, 0) // DAY_S

    def hours_off(self, end: datetime, window_s: int) -> Floats:
        """Return how far the middles are from that of the hour after `end`, around the clock."""
        age_s = int(end.timestamp()) - self.start_s
        hours = (age_s - window_s / 2 + HOUR_S / 2) / HOUR_S % 24
        return np.minimum(hours, 24 - hours)


@dataclass(frozen=True, slots=True)
class UsualColumns:
    """`Usual` of each group; its value is NaN while too little is known."""

    value: Floats
    high: Floats
    low: Floats
    cost: Floats
    days: Ints
    is_this_hour: npt.NDArray[np.bool_]

    def of(self, place: int) -> Usual | None:
        value, high, low, cost = (
            float(column[place]) for column in (self.value, self.high, self.low, self.cost)
        )
        if np.isnan(value):
            return None
        return Usual(
            value=value,
            high=high,
            days=int(self.days[place]),
            is_this_hour=bool(self.is_this_hour[place]),
            cost_per_request=None if np.isnan(cost) else cost,
            low=low,
        )


@dataclass(frozen=True, slots=True)
class Learned:
    """The past of one metric. Each column has a place more than there are groups: nothing is known there.

    What no rule asks of the metric is not worked out.
    """

    end: datetime
    days: Ints
    """On how many of the last days there was anything to learn from."""
    busiest_hour: Floats
    rate: Floats
    rate_days: Ints
    dearest: Floats
    """The third-highest of the days' dearest requests."""
    dearest_days: Ints
    usual: Mapping[int, UsualColumns] = field(default_factory=dict)
    """By window size."""
    hours: Floats | None = None
    """Counts by group and hour before `end`, oldest first; NaN where there was none."""

    def at(self, places: Ints) -> Self:
        """Return the past of these places."""
        usual = {
            size: replace(known, **{n: c[places] for n, c in _columns(known).items()})
            for size, known in self.usual.items()
        }
        return replace(self, usual=usual, **{n: c[places] for n, c in _columns(self).items()})

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Return the past of the groups of all parts, in their order."""
        usual = {
            size: replace(known, **_concatenated([part.usual[size] for part in parts]))
            for size, known in parts[0].usual.items()
        }
        return replace(parts[0], usual=usual, **_concatenated(parts))

    def reference(self, place: int) -> Reference:
        """Return what is known of one group."""
        rate = float(self.rate[place])
        return Reference(
            days=int(self.days[place]),
            busiest_hour=float(self.busiest_hour[place]),
            usuals={size: usual.of(place) for size, usual in self.usual.items()},
            rate=None if np.isnan(rate) else rate,
            rate_days=int(self.rate_days[place]),
            dearest=float(self.dearest[place]),
            dearest_days=int(self.dearest_days[place]),
            hours=self._hours(place),
        )

    def _hours(self, place: int) -> dict[datetime, float]:
        if self.hours is None:
            return {}
        first, counts = self.end - timedelta(hours=HOURS), self.hours[place]
        return {
            first + timedelta(hours=int(hour)): float(counts[hour])
            for hour in np.flatnonzero(~np.isnan(counts))
        }


def _columns(record: Any) -> dict[str, Any]:
    values = {column.name: getattr(record, column.name) for column in fields(record)}
    return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}


def _concatenated(records: Sequence[Any]) -> dict[str, Any]:
    """Return the columns of all, the place of nothing known once."""
    *others, last = map(_columns, records)
    return {
        name: np.concatenate([*(columns[name][:-1] for columns in others), column])
        for name, column in last.items()
    }


def has_usual_range(metric: str) -> bool:
    """Return whether a metric can leave its range; of others the hours are all that is asked."""
    return metric in DROPS


def learn(
    metric: str,
    hours: PastWindows,
    groups: int,
    end: datetime,
    usual: Mapping[int, UsualColumns],
) -> Learned:
    """Return what a metric's rules ask of its past; `groups` is how many there are."""
    size = groups + 1
    ages = hours.age_days(end)
    nothing, none = np.full(size, np.nan), np.zeros(size, dtype=np.int64)
    rate, rate_days = usual_rate(hours, ages, size) if metric in RATES else (nothing, none)
    dear, dear_days = dearest(hours, ages, size) if metric == DEAREST else (np.zeros(size), none)
    busiest = Segments(hours.group, hours.count)
    return Learned(
        end=end,
        days=_days_of(hours.group, ages, size),
        busiest_hour=np.nan_to_num(spread(busiest.ids, busiest.nth(-1), size)),
        rate=rate,
        rate_days=rate_days,
        dearest=dear,
        dearest_days=dear_days,
        usual=usual,
        hours=_by_hour(hours, size, end) if metric == "requests" else None,
    )


def usual_range(windows: PastWindows, window_s: int, size: int, end: datetime) -> UsualColumns:
    """Return the usual range of one window size: of this hour of day, of any where that is too little."""
    wanted = ENOUGH_WINDOWS[window_s]
    windows = windows.where(windows.count >= ENOUGH_IN_REFERENCE)
    ages = windows.age_days(end)
    near = windows.hours_off(end, window_s) <= NEAR_HOURS
    near &= window_s <= HOUR_S
    group = windows.group[near]
    is_near = number_of(group, size) >= wanted
    is_near &= _days_of(group, ages[near], size) >= NEAR_DAYS
    chosen = near | ~is_near[windows.group]
    chosen &= (number_of(windows.group[chosen], size) >= wanted)[windows.group]
    windows, ages = windows.where(chosen), ages[chosen]

    by_day = Segments(windows.group * _MOST_DAYS + ages, windows.value)
    highs = Segments(by_day.ids // _MOST_DAYS, by_day.quantile(0.95))
    lows = Segments(by_day.ids // _MOST_DAYS, by_day.quantile(0.05))
    outside = days_outside(highs.size)
    middle = Segments(windows.group, windows.value)
    has_cost = ~np.isnan(windows.cost)
    costs = Segments(windows.group[has_cost], windows.cost[has_cost])
    return UsualColumns(
        value=spread(middle.ids, middle.median(), size),
        high=spread(highs.ids, highs.nth(-1 - outside), size),
        low=spread(lows.ids, lows.nth(outside), size),
        cost=spread(costs.ids, costs.median(), size),
        days=number_of(by_day.ids // _MOST_DAYS, size),
        is_this_hour=is_near,
    )


def usual_rate(hours: PastWindows, ages: Ints, size: int) -> tuple[Floats, Ints]:
    """Return the usual failure rates (NaN: not known yet), and of how many days."""
    days = hours.group * _MOST_DAYS + ages
    failures = np.bincount(days, hours.failures, size * _MOST_DAYS)
    counts = np.bincount(days, hours.count, size * _MOST_DAYS)
    (judged,) = np.nonzero(counts >= ENOUGH_IN_REFERENCE)
    rates = Segments(judged // _MOST_DAYS, failures[judged] / counts[judged])
    rate = spread(rates.ids, rates.median(), size)
    rate[counts.reshape(size, _MOST_DAYS).sum(axis=1) < ENOUGH_OF_A_RATE] = np.nan
    judged_days = number_of(judged // _MOST_DAYS, size)
    return rate, np.where(np.isnan(rate), _days_of(hours.group, ages, size), judged_days)


def dearest(hours: PastWindows, ages: Ints, size: int) -> tuple[Floats, Ints]:
    """Return the third-highest of the days' dearest requests, and of how many days."""
    by_day = Segments(hours.group * _MOST_DAYS + ages, hours.value)
    days = Segments(by_day.ids // _MOST_DAYS, np.maximum(by_day.nth(-1), 0.0))
    return np.nan_to_num(spread(days.ids, days.nth(-3), size)), number_of(
        by_day.ids // _MOST_DAYS, size
    )


def _days_of(group: Ints, ages: Ints, size: int) -> Ints:
    """Return on how many days each group had a window."""
    seen = np.zeros((size, _MOST_DAYS), dtype=bool)
    seen[group, ages] = True
    days: Ints = seen.sum(axis=1)
    return days


def _by_hour(hours: PastWindows, size: int, end: datetime) -> Floats:
    counts = np.full((size, HOURS), np.nan)
    counts[hours.group, (hours.start_s - int(end.timestamp())) // HOUR_S + HOURS] = hours.count
    return counts
