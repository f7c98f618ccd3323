"""Agents ranked by spend, and failures by their cause."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from taximeter_collector.metrics import metric_query
from taximeter_dashboard.queries.core import Reads, Row, Series, pivoted, request_filter
from taximeter_dashboard.scope import Scope


def by_agent(reader: Reads, scope: Scope, limit: int = 50) -> list[Row]:
    """Return one row an agent, the dearest first, with its spend over time as `trend`."""
    names = ["cost_usd", "requests", "cost_per_request_usd", "loop_length_mean", "error_rate",
             "cache_hit_ratio"]  # fmt: skip
    query = metric_query(
        names, scope.start, scope.end,
        by=["agent_name"], where=scope.where, order_by="cost_usd", limit=limit,
    )  # fmt: skip
    rows = [r for r in reader.rows(query.sql, query.params) if r["agent_name"]]
    trend = metric_query(
        ["cost_usd"], scope.start, scope.end,
        bucket_s=scope.bucket_s, by=["agent_name"], where=scope.where,
    )  # fmt: skip
    spend: dict[str, dict[datetime, float | None]] = {}
    for row in reader.rows(trend.sql, trend.params):
        spend.setdefault(row["agent_name"], {})[row["bucket"]] = row["cost_usd"]
    return [
        {**row, "trend": [spend.get(row["agent_name"], {}).get(t) for t in scope.buckets]}
        for row in rows
    ]


# A limit that ended the request says more than the class of the error it raised.
_CAUSE: Final = """case when termination_reason not in ('completed', 'error', 'unknown')
    then termination_reason else coalesce(error_class, error_type, 'unknown') end"""


def failures_by_cause(reader: Reads, scope: Scope) -> Series:
    """Return the number of failed requests by bucket and cause."""
    condition, params = request_filter(scope)
    sql = (
        f"select time_bucket(to_seconds($bucket_s), start_time) as bucket, {_CAUSE} as cause,"
        f" count(*)::double as failed from requests where {condition} and is_error"
        " group by all order by all"
    )
    rows = reader.rows(sql, {**params, "bucket_s": scope.bucket_s})
    return pivoted(scope, [(r["bucket"], r["cause"], r["failed"]) for r in rows])
