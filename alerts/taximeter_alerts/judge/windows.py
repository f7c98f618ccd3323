"""Asks the collector: one query for all trailing windows, one for the reference.

Metric formulas are the registry's; here only windows are named.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from taximeter_alerts.judge.budgets import GroupSpend, Spend, Window
from taximeter_alerts.judge.detect import (
    ENOUGH_IN_REFERENCE,
    HISTORY_DAYS,
    Reference,
    Sample,
)
from taximeter_alerts.judge.past_columns import COST, GroupPast, PastColumns
from taximeter_alerts.rules.book import NEWEST_S, RATES, WINDOWS_S, Rule, labels_key
from taximeter_collector.metrics import METRICS, Query, metric_query

HOUR_S: Final = 3_600
MOST_ROWS: Final = 50_000_000
"""Of one answer: the past of thousands of groups."""
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


@dataclass(slots=True)
class Group:
    """All that is known of one group, by metric and window."""

    labels: dict[str, str | None]
    samples: dict[str, dict[int, Sample]] = field(default_factory=dict)


Groups = dict[str, Group]


@dataclass(frozen=True, slots=True)
class History:
    """The references of all groups of a shape."""

    references: dict[tuple[str, str], Reference]
    """By group and metric."""
    size: float
    """How many requests and calls it is made of; it grows when data comes late."""

    def of(self, group: str, metric: str) -> Reference:
        return self.references.get((group, metric), _NOTHING)


_NOTHING: Final = Reference({})


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
        for window_s in (NEWEST_S, *WINDOWS_S)
    }
    groups: Groups = {}
    joined = _union(queries)
    for row in reader.query(joined.sql, joined.params).to_pylist():
        labels = {name: row[name] for name in shape.by}
        group = groups.setdefault(labels_key(labels), Group(labels))
        for metric in metrics:
            sample = sample_of(metric, row)
            group.samples.setdefault(metric, {})[row["window_s"]] = sample
    return groups


def read_history(reader: Reader, shape: Shape, metrics: Sequence[str], end: datetime) -> History:
    """Return the tumbling windows of the last days before `end`, from one statement."""
    start = end - timedelta(days=HISTORY_DAYS)
    queries = {w: _query(shape, metrics, start, end, bucket_s=w) for w in WINDOWS_S}
    joined = _union({w: query if w == HOUR_S else _enough(query) for w, query in queries.items()})
    table = reader.query(joined.sql, joined.params, max_rows=MOST_ROWS)
    if not len(table):
        return History({}, 0.0)
    columns = PastColumns(table, shape.by, start, end)
    by_metric = {name: columns.metric(name, _counted_by(name)) for name in metrics}
    references = {
        (labels_key(dict(zip(shape.by, labels, strict=True))), name): Reference(
            GroupPast(columns, metric, rows)
        )
        for labels, rows in columns.rows.items()
        for name, metric in by_metric.items()
    }
    hours = [row for rows in columns.rows.values() for row in rows.get(HOUR_S, ())]
    counts = [columns.column(name) for name in dict.fromkeys(_counted_by(m) for m in metrics)]
    size = sum(count[row] for count in counts for row in hours if count[row] > 0)
    return History(references, size)


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
) -> Query:
    names = asked_metrics(metrics)
    where = {name: list(values) for name, values in shape.where}
    return metric_query(names, start, end, bucket_s=bucket_s, by=shape.by, where=where, parts=True)


def _enough(query: Query) -> Query:
    """Return the windows that can be learned from; by the hour, all are looked at."""
    counted = [name for name in ("sample_requests", f"{_CALLS}__den") if name in query.sql]
    least = " or ".join(f"{name} >= {ENOUGH_IN_REFERENCE}" for name in counted)
    return Query(f"select * from ({query.sql}) where {least}", query.params)


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


def _counted_by(metric: str) -> str:
    """Return the column that says of how many a metric is made."""
    if metric in RATES or metric == COST:
        return f"{metric}__den"
    return f"{_CALLS}__den" if _is_call_metric(metric) else "sample_requests"


def sample_of(metric: str, row: Mapping[str, Any]) -> Sample:
    """Return one metric of a row of `asked_metrics` with their parts."""
    requests = row["sample_requests"] or 0.0
    return Sample(
        value=row[metric],
        count=row[_counted_by(metric)] or 0.0,
        failures=(row[f"{metric}__num"] or 0.0) if metric in RATES else 0.0,
        cost_per_request=row[COST],
        requests=requests,
        priced_ratio=row["priced_ratio"],
    )
