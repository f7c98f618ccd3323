"""The collector as a `Source`: asked again only for what may have changed since it was asked last.

What a window holds changes when data comes (the collector's data version grows) or when time
passes over a minute with traffic. Judging goes on every minute all the same.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from importlib.resources import files
from typing import Any, Final, Generic, Protocol, TypeVar

from taximeter_alerts.judge.budgets import (
    BudgetSpend,
    GroupSpend,
    current_windows,
    past_days,
    spend_by_day,
)
from taximeter_alerts.judge.groups import Groups, History
from taximeter_alerts.judge.windows import (
    Reader,
    Shape,
    read_history,
    read_samples,
    read_spend,
)
from taximeter_alerts.rules.book import NEWEST_S, WINDOWS_S, Budget

REFRESH: Final = timedelta(minutes=10)
"""Reads are kept no longer: retention and repairs change data without a new version."""
LEARNING_REFRESH: Final = timedelta(seconds=10)
LEARNING_SHARE: Final = 20
"""Where some group always learns, reading the past takes at most one part in so many of the time."""
DAYS_REFRESH: Final = timedelta(hours=1)
"""Complete days of the past change only by what comes late."""
_ACTIVE_MINUTES: Final = files("taximeter_alerts") / "sql" / "active_minutes.sql"
_Key = tuple[Shape, tuple[str, ...]]
T = TypeVar("T")


class Collector(Reader, Protocol):
    """The part of the read client that is used here."""

    def status(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class _Read(Generic[T]):
    """An answer, and what it depends on."""

    found: T
    end: datetime
    version: int
    asked_at: datetime
    took: timedelta = timedelta(0)


class LiveSource:
    """Answers are kept until they can have changed."""

    def __init__(
        self,
        reader: Collector,
        clock: Callable[[], datetime],
        is_learning: Callable[[Shape], bool],
    ) -> None:
        """`is_learning`: a shape's history is wanted anew as soon as data comes."""
        self._reader, self._clock, self._is_learning = reader, clock, is_learning
        self._version = -1
        self._samples: dict[_Key, _Read[Groups]] = {}
        self._histories: dict[_Key, _Read[History]] = {}
        self._spends: dict[tuple[Shape, Budget], _Read[GroupSpend]] = {}
        self._days: dict[tuple[Shape, Budget], _Read[dict[str, dict[date, float]]]] = {}
        self._active: _Read[list[float]] | None = None

    def look(self) -> None:
        """Ask whether anything came; what was kept is forgotten after a while. Raises QueryError."""
        self._version = int(self._reader.status()["data_version"])
        oldest = self._clock() - REFRESH
        self._samples = {k: r for k, r in self._samples.items() if self._is_kept(r, oldest)}
        self._spends = {k: r for k, r in self._spends.items() if self._is_kept(r, oldest)}

    def samples(self, shape: Shape, metrics: Sequence[str], at: datetime) -> Groups:
        """Return each group's trailing windows that end at `at`. Raises QueryError."""
        key = (shape, tuple(metrics))
        known = self._samples.get(key)
        if known is not None and known.version == self._version and self._is_same(known.end, at):
            return known.found
        groups = read_samples(self._reader, shape, metrics, at)
        self._samples[key] = _Read(groups, at, self._version, self._clock())
        return groups

    def history(self, shape: Shape, metrics: Sequence[str], at: datetime) -> History:
        """Return what was usual up to the hour of `at`. Raises QueryError."""
        key, now = (shape, tuple(metrics)), self._clock()
        end = at.replace(minute=0, second=0, microsecond=0)
        known = self._histories.get(key)
        if known is not None and known.end == end:
            age = now - known.asked_at
            refresh = REFRESH
            if known.version != self._version and self._is_learning(shape):
                refresh = min(REFRESH, max(LEARNING_REFRESH, LEARNING_SHARE * known.took))
            if timedelta(0) <= age < refresh:
                return known.found
        history = read_history(self._reader, shape, metrics, end)
        self._histories[key] = _Read(history, end, self._version, now, self._clock() - now)
        return history

    def spend(self, shape: Shape, budget: Budget, at: datetime) -> BudgetSpend:
        """Return what each group spent in the period, lately and on past days. Raises QueryError."""
        key, windows = (shape, budget), current_windows(budget, at)
        days = self._past_days(shape, budget, at)
        known = self._spends.get(key)
        if (
            known is not None
            and known.version == self._version
            and known.end > windows[0][0]  # of this period
            and self._is_same(known.end, at)
        ):
            return BudgetSpend(known.found, days)
        found = read_spend(self._reader, shape, windows)
        self._spends[key] = _Read(found, at, self._version, self._clock())
        return BudgetSpend(found, days)

    def _past_days(
        self, shape: Shape, budget: Budget, at: datetime
    ) -> dict[str, dict[date, float]]:
        key, days, now = (shape, budget), past_days(budget, at), self._clock()
        (_, end) = list(days.values())[-1]
        known = self._days.get(key)
        if known is None or known.end != end or now - known.asked_at >= DAYS_REFRESH:
            spent = read_spend(self._reader, shape, list(days.values()))
            known = self._days[key] = _Read(spend_by_day(spent, days), end, self._version, now)
        return known.found

    def _is_kept(self, read: _Read[Any], oldest: datetime) -> bool:
        return read.version == self._version and read.asked_at >= oldest

    def _is_same(self, before: datetime, at: datetime) -> bool:
        """Return whether windows that end at `at` hold what those that ended `before` held."""
        if at == before:
            return True
        if at < before:
            return False
        active = self._active_minutes(before)
        return not any(
            _has_any(active, before - timedelta(seconds=w), at - timedelta(seconds=w))
            for w in (0, NEWEST_S, *WINDOWS_S)
        )

    def _active_minutes(self, before: datetime) -> list[float]:
        start = before - timedelta(seconds=WINDOWS_S[-1])
        known = self._active
        if known is None or known.version != self._version or known.end > start:
            sql = _ACTIVE_MINUTES.read_text(encoding="utf-8")
            (found,) = self._reader.query(sql, {"start": start}).columns
            minutes = sorted(minute.timestamp() for minute in found.to_pylist())
            known = self._active = _Read(minutes, start, self._version, self._clock())
        return known.found


def _has_any(minutes: Sequence[float], start: datetime, end: datetime) -> bool:
    """Return whether one of the ordered minutes lies in [start, end)."""
    return bisect_left(minutes, start.timestamp()) < bisect_left(minutes, end.timestamp())
