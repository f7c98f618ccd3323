"""The minutes of all groups as columns in memory; any window's sums out of running sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final

import numpy as np

from taximeter_alerts.judge.groups import Labels, SampleColumns
from taximeter_alerts.judge.past import PastWindows
from taximeter_alerts.judge.segments import Floats, Ints
from taximeter_alerts.judge.tables import floats, group_of_rows, seconds
from taximeter_alerts.judge.windows import Reader, Shape, asked_metrics, sample_columns
from taximeter_alerts.rules.book import labels_key
from taximeter_collector.client import QueryError
from taximeter_collector.metrics import METRICS, metric_query

_MINUTE_S: Final = 60
_COUNT: Final = "sample_requests"
_MOST_ROWS: Final = 20_000_000
_PIECE: Final = timedelta(days=2)
"""Read at once; a whole month of many groups would be one very large answer. Halved where even that is."""
_TOO_LARGE: Final = ("too_large", "too_many_rows", "memory")
_LEAST_PIECE: Final = timedelta(minutes=45)
"""Two days halved six times: still whole minutes."""
_LATEST: Final = 2**33
"""Later than any moment: a group and a moment are one number."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Which minutes lie in some windows: a row a window, a column a group."""

    low: Ints
    high: Ints
    group: Ints

    def of(self, places: Ints) -> Rows:
        """Return those of some groups."""
        return Rows(self.low[:, places], self.high[:, places], self.group[places])


class Minutes:
    """Minutes with traffic, in the order of groups and time."""

    def __init__(
        self, labels: list[Labels], group: Ints, at: Ints, columns: dict[str, Floats]
    ) -> None:
        self.labels = labels
        self.places = {labels_key(named): place for place, named in enumerate(labels)}
        order = np.lexsort((at, group))
        self._group, self._at = group[order], at[order]
        self._moments = self._group * _LATEST + self._at
        # A value more than there are minutes, so that a window may begin behind the last one.
        self._columns = {name: np.append(column[order], np.nan) for name, column in columns.items()}
        first = np.searchsorted(self._group, np.arange(len(labels) + 1))
        self._sums = cache(lambda name: _running_sums(self._columns[name], first))
        self._tumbling: dict[tuple[str, int], PastWindows] = {}

    def rows(self, start_s: Any, end_s: Any) -> Rows:
        """Return the minutes of each group in [start, end); a row a window."""
        group = np.arange(len(self.labels))
        low, high = (
            np.searchsorted(self._moments, group * _LATEST + np.asarray(s).astype(np.int64))
            for s in (start_s, end_s)
        )
        low, high = np.broadcast_arrays(low, high)
        return Rows(low, high, group)

    def samples(self, metric: str, rows: Rows) -> SampleColumns:
        """Return a metric over these windows."""

        @cache
        def column(name: str) -> Floats:
            if name.endswith(("__num", "__den")) or name == _COUNT:
                return self._total(name, rows)
            return self._value(name, rows)

        found = sample_columns(metric, column)
        found.value[rows.low == rows.high] = np.nan
        return found

    def past(self, metric: str, window_s: int, start: datetime, end: datetime) -> PastWindows:
        """Return the tumbling windows of this size that lie in [start, end) and hold something."""
        key = (metric, window_s)
        if key not in self._tumbling:
            self._tumbling[key] = self._all_windows(metric, window_s)
        windows = self._tumbling[key]
        first = np.searchsorted(windows.start_s, int(start.timestamp()))
        last = np.searchsorted(windows.start_s, int(end.timestamp()) - window_s, side="right")
        return windows.where(slice(first, last))

    def _all_windows(self, metric: str, window_s: int) -> PastWindows:
        """Return all of them in the order of time."""
        start_s = self._at // window_s * window_s
        moments = self._group * _LATEST + start_s
        low = np.flatnonzero(np.diff(moments, prepend=-1))
        rows = Rows(low, np.append(low[1:], len(moments))[: len(low)], self._group[low])
        found = self.samples(metric, rows)
        windows = PastWindows(
            rows.group, start_s[low], found.value, found.count, found.failures,
            found.cost_per_request,
        )  # fmt: skip
        holding = np.flatnonzero(~np.isnan(found.value) & (found.count > 0))
        return windows.where(holding[np.argsort(start_s[low][holding], kind="stable")])

    def _total(self, name: str, rows: Rows) -> Floats:
        # Before the minutes of a group lies a zero for each group so far.
        sums = self._sums(name)
        total: Floats = sums[rows.high + rows.group] - sums[rows.low + rows.group]
        return total

    def _value(self, name: str, rows: Rows) -> Floats:
        if METRICS[name].numerator.startswith("max("):
            return _highest(self._columns[f"{name}__num"], rows)
        above = self._total(f"{name}__num", rows)
        if METRICS[name].denominator is None:
            return above
        below = self._total(f"{name}__den", rows)
        return np.divide(above, below, out=np.full_like(above, np.nan), where=below != 0)


def read_minutes(
    reader: Reader, shape: Shape, metrics: Sequence[str], start: datetime, end: datetime
) -> Minutes:
    """Return the minutes of all groups in [start, end). Raises QueryError."""
    where = {name: list(values) for name, values in shape.where}
    names = asked_metrics(metrics)
    columns = [_COUNT, *(f"{name}__{part}" for name in names for part in ("num", "den"))]
    places: dict[str, int] = {}
    labels: list[Labels] = []
    pieces: dict[str, list[Any]] = {name: [] for name in ("group", "at", *columns)}
    piece = _PIECE
    while start < end:
        last = min(start + piece, end)
        query = metric_query(
            names, start, last, bucket_s=_MINUTE_S, by=shape.by, where=where, parts=True
        )
        sql = f"select bucket, {', '.join([*shape.by, *columns])} from ({query.sql})"
        try:
            table = reader.query(sql, query.params, max_rows=_MOST_ROWS)
        except QueryError as error:
            if error.type not in _TOO_LARGE or piece <= _LEAST_PIECE:
                raise
            piece /= 2
            continue
        start = last
        group, here = group_of_rows(table, shape.by)
        for named in here:
            if labels_key(named) not in places:
                places[labels_key(named)] = len(labels)
                labels.append(named)
        order = np.array([places[labels_key(named)] for named in here], dtype=np.int64)
        pieces["group"].append(order[group])
        pieces["at"].append(seconds(table["bucket"]))
        for name in columns:
            pieces[name].append(floats(table[name]))
    whole = {name: np.concatenate(found) for name, found in pieces.items()}
    return Minutes(labels, whole.pop("group"), whole.pop("at"), whole)


def _running_sums(column: Floats, first: Ints) -> Floats:
    """Return the sums of each group so far, from 0 on: a place more a group than there are values."""
    groups = len(first) - 1
    column = np.nan_to_num(column[: first[-1]])
    sums = np.zeros(len(column) + groups)
    for group in range(groups):
        low, high = first[group], first[group + 1]
        np.cumsum(column[low:high], out=sums[low + group + 1 : high + group + 1])
    return sums


def _highest(column: Floats, rows: Rows) -> Floats:
    """Return the highest value of each window, NaN where none is known; of an empty one any."""
    # From the last group back: then nothing lies between the end of a window and the next start.
    low, high = rows.low.T[::-1], rows.high.T[::-1]
    edges = np.stack([low, high], axis=-1)
    highest = np.fmax.reduceat(column, edges.reshape(-1))[::2]
    return highest.reshape(low.shape)[::-1].T
