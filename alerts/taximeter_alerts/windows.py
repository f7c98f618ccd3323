"""Asks the collector: one query for all trailing windows, one for the reference.

Metric formulas are the registry's; here only windows are named.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from taximeter_alerts.budgets import GroupSpend, Spend, Window
from taximeter_alerts.detect import HISTORY_DAYS, PastWindow, Reference, Sample
from taximeter_alerts.rules import NEWEST_S, RATES, WINDOWS_S, Rule, labels_key
from taximeter_collector.metrics import METRICS, Query, metric_query

_COST = "cost_per_request_usd"
_CALLS = "call_error_rate"
"""Its denominator counts model calls: the sample size of call metrics."""


class Reader(Protocol):
    """The part of the read client that is used here."""

    def query(self, sql: str, params: Any = None, *, max_rows: int = 1_000_000) -> Any: ...


@dataclass(frozen=True, slots=True)
class Shape:
    """Rules that can be answered by the same query."""

    by: tuple[str, ...]
    where: tuple[tuple[str, tuple[str, ...]], ...]


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
    joined = _union(queries)
    found: dict[tuple[str, str], dict[int, list[PastWindow]]] = {}
    for row in reader.query(joined.sql, joined.params).to_pylist():
        window_s = row["window_s"]
        if row["bucket"] < start or row["bucket"] + timedelta(seconds=window_s) > end:
            continue  # a part of a window is no window of this size
        group = labels_key({name: row[name] for name in shape.by})
        for metric in metrics:
            past = past_window(row["bucket"], sample_of(metric, row), window_s, end)
            if past is None:
                continue
            found.setdefault((group, metric), {}).setdefault(window_s, []).append(past)
    size = sum(past.count for windows in found.values() for past in windows.get(3_600, ()))
    return History({key: Reference(windows) for key, windows in found.items()}, size)


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


def asked_metrics(metrics: Sequence[str]) -> list[str]:
    """Return the metrics to read for these: beside them what they are counted and priced by."""
    calls = [_CALLS] if any(_is_call_metric(metric) for metric in metrics) else []
    return list(dict.fromkeys([*metrics, _COST, *calls, "priced_ratio"]))


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


def sample_of(metric: str, row: Mapping[str, Any]) -> Sample:
    """Return one metric of a row of `asked_metrics` with their parts."""
    requests = row["sample_requests"] or 0.0
    if metric in RATES or metric == _COST:
        count = row[f"{metric}__den"] or 0.0
    elif _is_call_metric(metric):
        count = row[f"{_CALLS}__den"] or 0.0
    else:
        count = requests
    value = row[metric]
    return Sample(
        value=value,
        count=count,
        failures=(row[f"{metric}__num"] or 0.0) if metric in RATES else 0.0,
        cost_per_request=row[_COST],
        requests=requests,
        priced_ratio=row["priced_ratio"],
    )
