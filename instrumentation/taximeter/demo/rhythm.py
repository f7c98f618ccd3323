"""When people work: requests per hour by hour of day and weekday, and arrivals drawn from it.

The company's office clock follows the machine's, unless it is night there: then its customers
live where it is early afternoon, so that a demo never starts in an empty office.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final

# Share of the busiest hour, by hour of the office day.
WORKDAY: Final = (
    *(0.05, 0.04, 0.03, 0.03, 0.04, 0.07, 0.15, 0.35),
    *(0.70, 0.95, 1.00, 1.00, 0.80, 0.90, 1.00, 0.98),
    *(0.90, 0.70, 0.42, 0.30, 0.24, 0.18, 0.12, 0.08),
)
WEEKEND_SHARE: Final = 0.22
GROWTH_PER_DAY: Final = 0.085
"""How much busier each day is than the one before: the customers' use is growing."""


@dataclass(frozen=True, slots=True)
class Office:
    """The office clock: UTC plus an offset, anchored at the moment the demo starts."""

    now: datetime
    offset: timedelta

    def local(self, at: datetime) -> datetime:
        """Return office time (its tzinfo says UTC, its hands show the office)."""
        return at + self.offset

    def load(self, at: datetime) -> float:
        """Return the share of the busiest hour of today that is usual at this time.

        >>> monday = datetime(2026, 11, 23, 10, 30, tzinfo=UTC)
        >>> Office(monday, timedelta(0)).load(monday)
        1.0
        """
        local = self.local(at)
        share = WORKDAY[local.hour]
        if local.weekday() >= 5:
            share = max(0.03, share * WEEKEND_SHARE)
        days_ago = (self.now - at) / timedelta(days=1)
        return share / float((1 + GROWTH_PER_DAY) ** max(0.0, days_ago))

    def workday(self, days_ago: float, hour: int, minute: int) -> datetime:
        """Return the UTC time of an office hour on the last workday at least so long ago."""
        local = (self.local(self.now) - timedelta(days=days_ago)).replace(
            hour=hour, minute=minute, second=0, microsecond=0
        )
        while local.weekday() >= 5:
            local -= timedelta(days=1)
        return local - self.offset


def open_office(now: datetime, machine_offset: timedelta) -> Office:
    """Return an office in which it is working time now.

    >>> night = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
    >>> open_office(night, timedelta(0)).local(night).hour
    14
    """
    hour = (now + machine_offset).hour
    if 10 <= hour < 17:
        return Office(now, machine_offset)
    return Office(now, timedelta(hours=14 - now.hour))


def machine_offset() -> timedelta:
    """Return this machine's own offset from UTC."""
    return datetime.now(UTC).astimezone().utcoffset() or timedelta(0)


def arrivals(
    rng: Random,
    start: datetime,
    end: datetime,
    per_hour: Callable[[datetime], float],
    *,
    step: timedelta = timedelta(minutes=15),
) -> Iterator[datetime]:
    """Yield random arrival times in [start, end), at a rate that is looked up once a step."""
    at = start
    while at < end:
        until, rate = min(at + step, end), per_hour(at)
        moment = at
        while rate > 0:
            moment += timedelta(hours=rng.expovariate(rate))
            if moment >= until:
                break
            yield moment
        at = until
