"""The past of all groups as the columns it came in: a group's windows are made when they are looked at.

Thousands of groups have millions of windows; most of them are never judged.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import isnan
from typing import Any, Final

import pyarrow as pa

from taximeter_alerts.judge.detect import PastWindow, Sample
from taximeter_alerts.rules.book import RATES

COST: Final = "cost_per_request_usd"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
Labels = tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class MetricColumns:
    """The columns that a metric's windows are made of; a missing value is not a number."""

    value: Sequence[float]
    count: Sequence[float]
    failures: Sequence[float] | None


class PastColumns:
    """One answer about the past; `rows` are the places of each group's windows in it, by size."""

    def __init__(self, table: pa.Table, by: Sequence[str], start: datetime, end: datetime) -> None:
        self._table, self._end = table, end
        self._kept: dict[str, Sequence[float]] = {}
        self._times: dict[tuple[int, int], tuple[int, float, datetime]] = {}
        self._starts = _numbers(
            table["bucket"].cast(pa.timestamp("us", "UTC")).cast(pa.int64()), "q"
        )
        self.rows: dict[Labels, dict[int, array[int]]] = {}
        names = [_encoded(table[name]) for name in by]
        sizes = table["window_s"].to_pylist()
        groups: list[tuple[int | None, ...]] = list(
            zip(*(places for places, _ in names), strict=True)
        )
        found: dict[tuple[int | None, ...], dict[int, array[int]]] = {}
        first, last = ((at - _EPOCH) // timedelta(microseconds=1) for at in (start, end))
        for row, size in enumerate(sizes):
            if self._starts[row] < first or self._starts[row] + size * 1_000_000 > last:
                continue  # a part of a window is no window of this size
            group = groups[row] if groups else ()
            found.setdefault(group, {}).setdefault(size, array("q")).append(row)
        for group, rows in found.items():
            labels = tuple(
                None if place is None else values[place]
                for place, (_, values) in zip(group, names, strict=True)
            )
            self.rows[labels] = rows

    def metric(self, name: str, counted_by: str) -> MetricColumns:
        """Return a metric's columns; `counted_by` is the column of its sample size."""
        failures = self.column(f"{name}__num") if name in RATES else None
        return MetricColumns(self.column(name), self.column(counted_by), failures)

    def column(self, name: str) -> Sequence[float]:
        if name not in self._kept:
            self._kept[name] = _numbers(self._table[name].cast(pa.float64()), "d")
        return self._kept[name]

    def windows(
        self, metric: MetricColumns, rows: Sequence[int], window_s: int
    ) -> list[PastWindow]:
        """Return the whole windows of these rows that hold something."""
        costs, found = self.column(COST), []
        for row in rows:
            value, count = metric.value[row], metric.count[row]
            if isnan(value) or not count > 0:
                continue
            cost = costs[row]
            failures = metric.failures[row] if metric.failures is not None else 0.0
            age_days, hours_off, start = self._time(self._starts[row], window_s)
            found.append(
                PastWindow(
                    age_days, hours_off, value, count, 0.0 if isnan(failures) else failures,
                    None if isnan(cost) else cost, start,
                )
            )  # fmt: skip
        return found

    def _time(self, start_us: float, window_s: int) -> tuple[int, float, datetime]:
        key = (int(start_us), window_s)
        if key not in self._times:
            start = _EPOCH + timedelta(microseconds=key[0])
            past = past_window(start, Sample(0.0, 1.0), window_s, self._end)
            assert past is not None
            self._times[key] = (past.age_days, past.hours_off, start)
        return self._times[key]


class GroupPast(Mapping[int, Sequence[PastWindow]]):
    """The past windows of one metric of one group, by their size."""

    def __init__(
        self, columns: PastColumns, metric: MetricColumns, rows: Mapping[int, array[int]]
    ) -> None:
        self._columns, self._metric, self._rows = columns, metric, rows

    def __getitem__(self, window_s: int) -> Sequence[PastWindow]:
        # Not kept: what is worked out of them is, and they would take a hundred times the room.
        return self._columns.windows(self._metric, self._rows[window_s], window_s)

    def __iter__(self) -> Iterator[int]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


def past_window(start: datetime, sample: Sample, window_s: int, end: datetime) -> PastWindow | None:
    """Return a window as the reference's end sees it; None if there was nothing in it."""
    if sample.value is None or sample.count <= 0:
        return None
    age = end - start
    age_s = age.days * 86_400 + age.seconds
    # From the window's middle to the middle of the hour that is judged.
    hours = (age_s - window_s / 2 + 1_800) / 3_600 % 24
    return PastWindow(
        max(0, age_s - 1) // 86_400,
        min(hours, 24 - hours),
        sample.value,
        sample.count,
        sample.failures,
        sample.cost_per_request,
        start,
    )


def _encoded(column: Any) -> tuple[list[int | None], list[str]]:
    """Return a column of text as places in the list of its values."""
    encoded = pa.chunked_array(column.chunks, pa.string()).combine_chunks().dictionary_encode()
    return encoded.indices.to_pylist(), encoded.dictionary.to_pylist()


def _numbers(column: Any, kind: str) -> Sequence[float]:
    """Return a column of 8-byte numbers as they lie in memory; a NULL is not a number."""
    whole = column.combine_chunks()
    if whole.null_count:
        whole = whole.fill_null(float("nan"))
    numbers = memoryview(whole.buffers()[1]).cast("B").cast(kind)  # type: ignore[call-overload]
    found: Sequence[float] = numbers[whole.offset : whole.offset + len(whole)]
    return found
