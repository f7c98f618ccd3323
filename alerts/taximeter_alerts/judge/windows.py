"""Asks the collector: one query for all trailing windows, one a window size for the past.

Metric formulas are the registry's; here only windows are named. Answers stay columns.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final, Protocol

import numpy as np

from taximeter_alerts.judge.budgets import GroupSpend, Spend, Window
from taximeter_alerts.judge.detect import HISTORY_DAYS
from taximeter_alerts.judge.groups import WINDOWS, Groups, History, SampleColumns
from taximeter_alerts.judge.past import (
    DAY_S,
    ENOUGH_IN_REFERENCE,
    HOUR_S,
    HOURS,
    PastWindows,
    has_usual_range,
    learn,
    usual_range,
)
from taximeter_alerts.judge.segments import Floats, Ints
from taximeter_alerts.judge.tables import floats, group_of_rows, seconds
from taximeter_alerts.rules.book import RATES, WINDOWS_S, Rule, labels_key
from taximeter_collector.metrics import METRICS, Query, metric_query

COST: Final = "cost_per_request_usd"
MOST_ROWS: Final = 50_000_000
"""Of one answer: the past of thousands of groups."""
ANSWER_BYTES: Final = 60_000_000
"""Of one answer about the past; the collector gives twice as much at most."""
_LABEL_BYTES: Final = 40
_CALLS = "call_error_rate"
"""Its denominator counts model calls: the sample size of call metrics."""


class Reader(Protocol):
    """The part of the read client that is used here."""

    def query(self, sql: str, params: Any = None, *, max_rows: int = 1_000_000) -> Any: ...


@dataclass(frozen=True, slots=True)
class Shape:
    """Rules that can be answered by the same query."""

    by: tuple[str, ...]
    where: tuple[tuple[str, tuple[str | None, ...]], ...]


def shape_of(rule: Rule) -> Shape:
    """Return what a rule's groups and filters are."""
    return Shape(rule.by, rule.where)


def shapes_of(rules: Iterable[Rule]) -> dict[Shape, list[Rule]]:
    """Return the rules by the query that answers them."""
    shapes: dict[Shape, list[Rule]] = {}
    for rule in rules:
        shapes.setdefault(shape_of(rule), []).append(rule)
    return shapes


def read_samples(reader: Reader, shape: Shape, metrics: Sequence[str], at: datetime) -> Groups:
    """Return each group's trailing windows that end at `at`, from one statement."""
    queries = {
        window_s: _query(shape, metrics, at - timedelta(seconds=window_s), at)
        for window_s in WINDOWS
    }
    joined = _union(queries)
    table = reader.query(joined.sql, joined.params)
    groups, labels = group_of_rows(table, shape.by)
    rows = np.searchsorted(WINDOWS, table["window_s"].to_numpy())

    @cache
    def column(name: str) -> Floats:
        """Return a column of the answer by window and group."""
        found = np.full((len(WINDOWS), len(labels)), np.nan)
        found[rows, groups] = floats(table[name])
        return found

    return Groups(labels, {metric: sample_columns(metric, column) for metric in metrics})


def read_history(reader: Reader, shape: Shape, metrics: Sequence[str], end: datetime) -> History:
    """Return what was learned from the tumbling windows of the last days before `end`.

    Of thousands of groups some are read at a time: an answer has a largest size.
    """
    parts = _number_of_parts(reader, shape, metrics, end) if shape.by else 1
    shares = [(part, parts) for part in range(parts)] if parts > 1 else [None]
    return History.joined(
        [_PastAnswer(reader, shape, metrics, end, share).history() for share in shares]
    )


def _number_of_parts(reader: Reader, shape: Shape, metrics: Sequence[str], end: datetime) -> int:
    """Return in how many answers the past fits, from what groups can have of it at most."""
    where = {name: list(values) for name, values in shape.where}
    start = end - timedelta(days=HISTORY_DAYS)
    query = metric_query([_CALLS], start, end, by=shape.by, where=where, parts=True)
    enough = f"greatest(sample_requests, {_CALLS}__den) / {ENOUGH_IN_REFERENCE}"
    whole_s = HISTORY_DAYS * DAY_S
    rows = [f"least({enough}, {whole_s // w})" for w in WINDOWS_S if w != HOUR_S]
    sql = f"select sum({HOURS} + coalesce({' + '.join(rows)}, 0)) as rows from ({query.sql})"
    (found,) = reader.query(sql, query.params).columns
    row_bytes = 8 * len(_past_columns(shape, metrics)) + _LABEL_BYTES * len(shape.by)
    return max(1, math.ceil((found[0].as_py() or 0) * row_bytes / ANSWER_BYTES))


def _past_columns(shape: Shape, metrics: Sequence[str]) -> list[str]:
    """Return the columns that are learned from."""
    counts = [counted_by(metric) for metric in metrics]
    failures = [f"{metric}__num" for metric in metrics if metric in RATES]
    return list(dict.fromkeys(["bucket", *shape.by, COST, *metrics, *counts, *failures]))


class _PastAnswer:
    """The tumbling windows of a share of the groups, as the columns that they came in."""

    def __init__(
        self,
        reader: Reader,
        shape: Shape,
        metrics: Sequence[str],
        end: datetime,
        share: tuple[int, int] | None,
    ) -> None:
        self._metrics, self._start, self._end = metrics, end - timedelta(days=HISTORY_DAYS), end
        self._ranged = [metric for metric in metrics if has_usual_range(metric)]
        joined = _union(
            {
                window_s: self._query(shape, window_s, share)
                for window_s in (WINDOWS_S if self._ranged else (HOUR_S,))
            }
        )
        self._table = reader.query(joined.sql, joined.params, max_rows=MOST_ROWS)
        self._group, self._labels = group_of_rows(self._table, shape.by)
        self._start_s = seconds(self._table["bucket"])
        self._window_s = self._table["window_s"].to_numpy()
        self._column = cache(lambda name: floats(self._table[name]))
        self._rows = cache(self._whole)

    def _query(self, shape: Shape, window_s: int, share: tuple[int, int] | None) -> Query:
        query = _query(shape, self._metrics, self._start, self._end, window_s, share)
        sql = f"select {', '.join(_past_columns(shape, self._metrics))} from ({query.sql})"
        if window_s != HOUR_S:  # by the hour all are looked at, else what can be learned from
            enough = dict.fromkeys(counted_by(metric) for metric in self._ranged)
            sql += " where " + " or ".join(f"{name} >= {ENOUGH_IN_REFERENCE}" for name in enough)
        return Query(sql, query.params)

    def history(self) -> History:
        """Return what was learned of these groups."""
        groups = len(self._labels)
        learned = {}
        for metric in self._metrics:
            usual = {
                window_s: usual_range(
                    self._windows(metric, window_s), window_s, groups + 1, self._end
                )
                for window_s in (WINDOWS_S if metric in self._ranged else ())
            }
            hours = self._windows(metric, HOUR_S)
            learned[metric] = learn(metric, hours, groups, self._end, usual)
        places = {labels_key(named): place for place, named in enumerate(self._labels)}
        return History(places, learned, self._size())

    def _windows(self, metric: str, window_s: int) -> PastWindows:
        """Return the whole windows of a size that hold something of a metric."""
        rows = self._rows(window_s)
        count = self._column(counted_by(metric))[rows]
        failures = self._column(f"{metric}__num")[rows] if metric in RATES else 0 * count
        return PastWindows(
            self._group[rows],
            self._start_s[rows],
            self._column(metric)[rows],
            count,
            np.nan_to_num(failures),
            self._column(COST)[rows],
        ).holding()

    def _whole(self, window_s: int) -> Ints:
        """Return the rows of the windows of a size that lie in the past as a whole."""
        first, last = int(self._start.timestamp()), int(self._end.timestamp()) - window_s
        is_whole = (self._start_s >= first) & (self._start_s <= last)
        return np.flatnonzero(is_whole & (self._window_s == window_s))

    def _size(self) -> float:
        """Return how many requests and calls there were."""
        names = dict.fromkeys(counted_by(metric) for metric in self._metrics)
        hours = self._window_s == HOUR_S
        return float(sum(np.nansum(self._column(name)[hours]) for name in names))


def read_spend(reader: Reader, shape: Shape, windows: Sequence[Window]) -> GroupSpend:
    """Return what each group spent in these windows, from one statement."""
    where = {name: list(values) for name, values in shape.where}
    queries = {
        place: metric_query(["cost_usd"], start, end, by=shape.by, where=where)
        for place, (start, end) in enumerate(windows)
    }
    joined = _union(queries)
    found: dict[str, tuple[dict[str, str | None], dict[int, Spend]]] = {}
    for row in reader.query(joined.sql, joined.params).to_pylist():
        labels = {name: row[name] for name in shape.by}
        spend = Spend(row["cost_usd"] or 0.0, row["priced_ratio"])
        found.setdefault(labels_key(labels), (labels, {}))[1][row["window_s"]] = spend
    return {
        key: (labels, tuple(spent.get(place, Spend()) for place in range(len(windows))))
        for key, (labels, spent) in found.items()
    }


def asked_metrics(metrics: Sequence[str]) -> list[str]:
    """Return the metrics to read for these: beside them what they are counted and priced by."""
    calls = [_CALLS] if any(_is_call_metric(metric) for metric in metrics) else []
    return list(dict.fromkeys([*metrics, COST, *calls, "priced_ratio"]))


def _query(
    shape: Shape,
    metrics: Sequence[str],
    start: datetime,
    end: datetime,
    bucket_s: int | None = None,
    share: tuple[int, int] | None = None,
) -> Query:
    names = asked_metrics(metrics)
    where = {name: list(values) for name, values in shape.where}
    return metric_query(
        names, start, end, bucket_s=bucket_s, by=shape.by, where=where, parts=True, share=share
    )


def _is_call_metric(name: str) -> bool:
    return name not in RATES and "model" in METRICS[name].dimensions


def _union(queries: Mapping[int, Query]) -> Query:
    """Return one statement for several windows: they then see the same moment of the store."""
    selects: list[str] = []
    params: dict[str, Any] = {}
    for window_s, query in queries.items():
        sql = re.sub(r"\$(\w+)", rf"$\g<1>_{window_s}", query.sql)
        selects.append(f"(select {window_s} as window_s, * from ({sql}))")
        params |= {f"{name}_{window_s}": value for name, value in query.params.items()}
    return Query(" union all by name ".join(selects), params)


def counted_by(metric: str) -> str:
    """Return the column that says of how many a metric is made."""
    if metric in RATES or metric == COST:
        return f"{metric}__den"
    return f"{_CALLS}__den" if _is_call_metric(metric) else "sample_requests"


def sample_columns(metric: str, column: Callable[[str], Floats]) -> SampleColumns:
    """Return one metric's windows; `column` gives what was asked by `asked_metrics`, with parts."""
    count = np.nan_to_num(column(counted_by(metric)))
    return SampleColumns(
        value=column(metric),
        count=count,
        failures=np.nan_to_num(column(f"{metric}__num")) if metric in RATES else 0 * count,
        cost_per_request=column(COST),
        requests=np.nan_to_num(column("sample_requests")),
        priced_ratio=column("priced_ratio"),
    )
