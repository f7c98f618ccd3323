"""The past, minute by minute: reads the roll-up once, then any moment's windows out of memory.

Gives what windows.py asks the collector for, for thousands of moments. Percentiles don't add up
over minutes: those are asked for at each moment.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import accumulate
from typing import Any, Final

from taximeter_alerts.judge.budgets import (
    BudgetSpend,
    Spend,
    Window,
    current_windows,
    past_days,
    spend_by_day,
)
from taximeter_alerts.judge.detect import HISTORY_DAYS, PastWindow, Reference, Sample
from taximeter_alerts.judge.past_columns import past_window
from taximeter_alerts.judge.windows import (
    Group,
    Groups,
    History,
    Reader,
    Shape,
    asked_metrics,
    read_history,
    read_samples,
    sample_of,
)
from taximeter_alerts.rules.book import NEWEST_S, WINDOWS_S, Budget, labels_key
from taximeter_collector.metrics import METRICS, metric_query

_COUNT: Final = "sample_requests"
_MINUTE: Final = 60
_LONGEST_PERIOD: Final = timedelta(days=31)
"""Of a budget, which may have begun so long before the first moment."""


@dataclass
class _Minutes:
    """One group's minutes with traffic: running sums, and the values of what has a maximum."""

    labels: dict[str, str | None]
    at: array[float] = field(default_factory=lambda: array("d"))
    columns: dict[str, list[float]] = field(default_factory=dict)
    cache: dict[tuple[str, int], list[tuple[datetime, Sample]]] = field(default_factory=dict)

    @cached_property
    def sums(self) -> dict[str, array[float]]:
        return {
            name: array("d", accumulate(values, initial=0.0))
            for name, values in self.columns.items()
        }

    def sample(self, metric: str, start: float, end: float) -> Sample | None:
        """Return the metric over [start, end) in seconds; None without any row."""
        low, high = bisect_left(self.at, start), bisect_left(self.at, end)
        if low == high:
            return None

        def total(name: str) -> float:
            sums = self.sums.get(name)
            return sums[high] - sums[low] if sums is not None else 0.0

        row: dict[str, Any] = {_COUNT: total(_COUNT)}
        for name in asked_metrics([metric]):
            row[f"{name}__num"], row[f"{name}__den"] = total(f"{name}__num"), total(f"{name}__den")
            row[name] = self._value(name, low, high, row)
        return sample_of(metric, row)

    def spends(self, windows: Iterable[Window]) -> tuple[Spend, ...]:
        """Return the spend in each window."""
        found = (self.sample("cost_usd", a.timestamp(), b.timestamp()) for a, b in windows)
        return tuple(Spend(s.value or 0.0, s.priced_ratio) if s else Spend() for s in found)

    def _value(self, name: str, low: int, high: int, row: Mapping[str, Any]) -> float | None:
        if METRICS[name].numerator.startswith("max("):
            return max(self.columns[f"{name}__num"][low:high])
        if METRICS[name].denominator is None:
            return float(row[f"{name}__num"])
        below = row[f"{name}__den"]
        return row[f"{name}__num"] / below if below else None

    def tumbling(self, metric: str, window_s: int) -> list[tuple[datetime, Sample]]:
        """Return all windows of this size with a row, by their start."""
        key = (metric, window_s)
        if key not in self.cache:
            starts = dict.fromkeys(int(at) // window_s * window_s for at in self.at)
            found = ((start, self.sample(metric, start, start + window_s)) for start in starts)
            self.cache[key] = [
                (datetime.fromtimestamp(start, UTC), sample)
                for start, sample in found
                if sample is not None
            ]
        return self.cache[key]


class _Past(Mapping[int, Sequence[PastWindow]]):
    """The past windows of one metric of one group before `end`, built when they are asked for."""

    def __init__(self, minutes: _Minutes, metric: str, end: datetime) -> None:
        self._minutes, self._metric, self._end = minutes, metric, end
        self._built: dict[int, Sequence[PastWindow]] = {}

    def __getitem__(self, window_s: int) -> Sequence[PastWindow]:
        if window_s not in self._built:
            windows = self._minutes.tumbling(self._metric, window_s)
            start = self._end - timedelta(days=HISTORY_DAYS)
            first = bisect_left(windows, start, key=lambda w: w[0])
            last = bisect_right(
                windows, self._end - timedelta(seconds=window_s), key=lambda w: w[0]
            )
            found = (past_window(*window, window_s, self._end) for window in windows[first:last])
            self._built[window_s] = [window for window in found if window is not None]
        return self._built[window_s]

    def __iter__(self) -> Iterator[int]:
        return iter(WINDOWS_S)

    def __len__(self) -> int:
        return len(WINDOWS_S)


class Replay:
    """A `Source` of any moment in (start, end]."""

    def __init__(self, reader: Reader, start: datetime, end: datetime) -> None:
        self._reader = reader
        self._start, self._end = start - timedelta(days=HISTORY_DAYS), end
        self._spent: dict[Shape, dict[str, _Minutes]] = {}
        self._minutes: dict[tuple[Shape, tuple[str, ...]], dict[str, _Minutes]] = {}
        self._histories: dict[tuple[Shape, tuple[str, ...]], tuple[datetime, History]] = {}

    def samples(self, shape: Shape, metrics: Sequence[str], at: datetime) -> Groups:
        """Return each group's trailing windows that end at `at`."""
        added, others = _by_kind(metrics)
        end = at.timestamp()
        groups: Groups = {}
        for key, minutes in self._loaded(shape, added).items():
            if bisect_left(minutes.at, end) == bisect_left(minutes.at, end - WINDOWS_S[-1]):
                continue
            group = groups.setdefault(key, Group(minutes.labels))
            for metric in added:
                found = {w: minutes.sample(metric, end - w, end) for w in (NEWEST_S, *WINDOWS_S)}
                group.samples[metric] = {w: s for w, s in found.items() if s is not None}
        if others:
            for key, live in read_samples(self._reader, shape, others, at).items():
                groups.setdefault(key, live).samples.update(live.samples)
        return groups

    def history(self, shape: Shape, metrics: Sequence[str], at: datetime) -> History:
        """Return what was usual up to the hour of `at`."""
        end = at.replace(minute=0, second=0, microsecond=0)
        known = self._histories.get((shape, tuple(metrics)))
        if known is not None and known[0] == end:
            return known[1]
        added, others = _by_kind(metrics)
        references = {
            (key, metric): Reference(_Past(minutes, metric, end))
            for key, minutes in self._loaded(shape, added).items()
            for metric in added
        }
        if others:
            references |= read_history(self._reader, shape, others, end).references
        history = History(references, 0.0)
        self._histories[shape, tuple(metrics)] = (end, history)
        return history

    def spend(self, shape: Shape, budget: Budget, at: datetime) -> BudgetSpend:
        """Return what the groups of a budget spent up to `at`."""
        if shape not in self._spent:
            self._spent[shape] = self._load(shape, ["cost_usd"], self._start - _LONGEST_PERIOD)
        minutes, days = self._spent[shape], past_days(budget, at)
        spent = {group: (m.labels, m.spends(days.values())) for group, m in minutes.items()}
        current = {
            group: (m.labels, m.spends(current_windows(budget, at))) for group, m in minutes.items()
        }
        return BudgetSpend(current, spend_by_day(spent, days))

    def _loaded(self, shape: Shape, metrics: Sequence[str]) -> dict[str, _Minutes]:
        key = (shape, tuple(metrics))
        if key not in self._minutes:
            self._minutes[key] = self._load(shape, metrics, self._start)
        return self._minutes[key]

    def _load(self, shape: Shape, metrics: Sequence[str], start: datetime) -> dict[str, _Minutes]:
        where = {name: list(values) for name, values in shape.where}
        names = asked_metrics(metrics)
        columns = [_COUNT, *(f"{name}__{part}" for name in names for part in ("num", "den"))]
        found: dict[str, _Minutes] = {}
        while start < self._end:
            end = min(start + _PIECE, self._end)
            query = metric_query(
                names, start, end, bucket_s=_MINUTE, by=shape.by, where=where, parts=True
            )
            start = end
            table = self._reader.query(query.sql, query.params, max_rows=_MOST_ROWS)
            for row in table.to_pylist():
                labels = {name: row[name] for name in shape.by}
                minutes = found.setdefault(labels_key(labels), _Minutes(labels))
                minutes.at.append(row["bucket"].timestamp())
                for name in columns:
                    minutes.columns.setdefault(name, []).append(row[name] or 0.0)
        return found


_MOST_ROWS: Final = 20_000_000
_PIECE: Final = timedelta(days=2)
"""Read at once; a whole month of many groups would be one very large answer."""


def _by_kind(metrics: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the metrics that add up over minutes (or have a maximum), and the others."""
    added = [name for name in metrics if METRICS[name].numerator.startswith(("sum(", "max("))]
    return added, [name for name in metrics if name not in added]
