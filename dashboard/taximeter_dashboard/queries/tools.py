"""Tools: how often each runs, fails and is repeated, and how long it takes."""

from __future__ import annotations

from typing import Final

from taximeter_collector.metrics import metric_query
from taximeter_dashboard.queries.core import Reads, Row, request_filter
from taximeter_dashboard.scope import Scope

_MEASURED: Final = """quantile_disc(duration_ms, 0.5) as p50_ms, quantile_disc(duration_ms, 0.95) as p95_ms,
    sum(duration_ms) as total_ms, max(consecutive_repeat) as longest_repeat,
    count(*) filter (is_same_result or is_same_error) as idle_repeats"""
_NOTHING: Final = dict.fromkeys(("p50_ms", "p95_ms", "total_ms", "longest_repeat", "idle_repeats"))


def tools(reader: Reads, scope: Scope, limit: int = 50) -> list[Row]:
    """Return one row a tool, the most used first: its error rate and repeat ratio, times in ms and repeats.

    An idle repeat brought the same result or the same error as the execution before it.
    """
    query = metric_query(
        ["tool_error_rate", "tool_repeat_ratio"], scope.start, scope.end, by=["tool_name"],
        where=scope.where, parts=True, order_by="tool_error_rate__den", limit=limit,
    )  # fmt: skip
    rows = [row for row in reader.rows(query.sql, query.params) if row["tool_name"]]
    condition, params = request_filter(scope)  # tool calls have the same columns
    measured = reader.rows(
        f"select tool_name, {_MEASURED} from tool_calls where {condition}"
        " and is_delegation is not true group by all",
        params,
    )
    by_tool = {row["tool_name"]: row for row in measured}
    return [{**_NOTHING, **by_tool.get(row["tool_name"], {}), **row} for row in rows]
