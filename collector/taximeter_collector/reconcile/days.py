"""Which UTC days the exports cover, whole or in part, with usage and with cost. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from taximeter_collector.reconcile.rows import Export

Interval = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class Day:
    """A day of one provider that is compared."""

    provider: str
    date: date
    parts: tuple[Interval, ...]
    """What of the day the export covers; calls of ours that start in it are compared."""
    has_usage: bool
    has_cost: bool

    @property
    def is_whole(self) -> bool:
        """Whether the export covers midnight to midnight."""
        start = midnight(self.date)
        return self.parts == ((start, start + timedelta(days=1)),)


def covered_days(export: Export, first: date | None, last: date | None) -> list[Day]:
    """Return the days to compare; adds a note for each day whose usage can't stand beside its cost."""
    found = []
    for provider in sorted({provider for provider, _ in export.covered}):
        usage = _merged(_cut(export, export.covered.get((provider, "usage"), ())))
        cost = _merged(_cut(export, export.covered.get((provider, "cost"), ())))
        for day in sorted({*_dates(usage), *_dates(cost)}):
            if (first and day < first) or (last and day > last):
                continue
            found.append(_day(export, provider, day, _within(usage, day), _within(cost, day)))
    return found


def _day(
    export: Export,
    provider: str,
    day: date,
    usage: tuple[Interval, ...],
    cost: tuple[Interval, ...],
) -> Day:
    if cost and usage and usage != cost:
        export.notes.append(
            f"{provider} {day}: the usage export covers other hours than the cost export;"
            " only the cost is compared."
        )
        usage = ()
    return Day(provider, day, cost or usage, bool(usage), bool(cost))


def midnight(day: date) -> datetime:
    """Return when a UTC day starts."""
    return datetime.combine(day, time(), UTC)


def edges(days: Iterable[Day]) -> Iterator[tuple[datetime, Day | None, Day | None]]:
    """Yield every end of a covered part: the time, the day before it, the day after it."""
    days = list(days)
    ends = {part[1]: day for day in days for part in day.parts}
    starts = {part[0]: day for day in days for part in day.parts}
    for edge in sorted(ends.keys() | starts.keys()):
        before, after = ends.get(edge), starts.get(edge)
        if before is not after:
            yield edge, before, after


def _cut(export: Export, intervals: Iterable[Interval]) -> Iterator[Interval]:
    """Yield the intervals, those that were not over when the file was written up to then."""
    for start, end in intervals:
        yield start, min(end, max(export.cut.get(end, end), start))


def _merged(intervals: Iterable[Interval]) -> list[Interval]:
    merged: list[Interval] = []
    for start, end in sorted(intervals):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        elif start < end:
            merged.append((start, end))
    return merged


def _dates(intervals: Iterable[Interval]) -> Iterator[date]:
    for start, end in intervals:
        day = start.date()
        while midnight(day) < end:
            yield day
            day += timedelta(days=1)


def _within(intervals: Sequence[Interval], day: date) -> tuple[Interval, ...]:
    start = midnight(day)
    end = start + timedelta(days=1)
    cut = ((max(one, start), min(other, end)) for one, other in intervals)
    return tuple((one, other) for one, other in cut if one < other)
