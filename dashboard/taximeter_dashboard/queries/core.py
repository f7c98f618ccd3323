"""What every page's queries share: rows and series, a metric by bucket, the scope as a condition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

from taximeter_collector.metrics import REQUEST_DIMENSIONS, matching, metric_query
from taximeter_dashboard.scope import Scope

Row = dict[str, Any]
Values = list[float | None]
OTHERS: Final = "other"
_TOP: Final = 7


class Reads(Protocol):
    """Whoever answers a statement with rows."""

    def rows(self, sql: str, params: Mapping[str, Any] | None = None) -> list[Row]: ...


@dataclass(frozen=True, slots=True)
class Series:
    """Values by name over the buckets of a scope; a bucket without data is None."""

    times: list[datetime]
    values: dict[str, Values]


def totals(reader: Reads, scope: Scope, names: Sequence[str]) -> Row:
    """Return each metric over the whole window, with sample_requests and priced_ratio."""
    query = metric_query(names, scope.start, scope.end, where=scope.where)
    rows = reader.rows(query.sql, query.params)
    return rows[0] if rows else dict.fromkeys((*names, "sample_requests", "priced_ratio"))


def over_time(reader: Reads, scope: Scope, names: Sequence[str]) -> Series:
    """Return each metric by bucket."""
    query = metric_query(names, scope.start, scope.end, bucket_s=scope.bucket_s, where=scope.where)
    rows = {row["bucket"]: row for row in reader.rows(query.sql, query.params)}
    times = scope.buckets
    return Series(times, {name: [rows.get(t, {}).get(name) for t in times] for name in names})


def over_time_by(reader: Reads, scope: Scope, name: str, dimension: str) -> Series:
    """Return one metric by bucket and value of a dimension, the biggest first, the rest added up."""
    query = metric_query(
        [name], scope.start, scope.end,
        bucket_s=scope.bucket_s, by=[dimension], where=scope.where,
    )  # fmt: skip
    rows = [(r["bucket"], r[dimension], r[name]) for r in reader.rows(query.sql, query.params)]
    return pivoted(scope, rows)


def request_filter(scope: Scope) -> tuple[str, dict[str, Any]]:
    """Return the condition on `requests` that a scope means, and its parameters."""
    rows = matching(scope.where, REQUEST_DIMENSIONS)
    params = {"start": scope.start, "end": scope.end, **rows.params}
    return f"start_time >= $start and start_time < $end and {rows.sql}", params


def pivoted(scope: Scope, rows: Sequence[tuple[datetime, Any, Any]]) -> Series:
    """Return one series a name, biggest total first; beyond the colours they are added up."""
    times = scope.buckets
    place = {time: i for i, time in enumerate(times)}
    sums: dict[str, Values] = {}
    for bucket, name, value in rows:
        if value is None or bucket not in place:
            continue
        values = sums.setdefault(str(name or "unknown"), [None] * len(times))
        values[place[bucket]] = (values[place[bucket]] or 0) + value
    ranked = sorted(sums, key=lambda name: (-sum(v or 0 for v in sums[name]), name))
    kept = {name: sums[name] for name in ranked[:_TOP]}
    if len(ranked) > _TOP:
        rest = [sums[name] for name in ranked[_TOP:]]
        kept[OTHERS] = [sum(v or 0 for v in column) or None for column in zip(*rest, strict=True)]
    return Series(times, kept)
