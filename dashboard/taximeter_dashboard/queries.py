"""Metric names and a scope in, series and rows out. No aggregate of a metric is written here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

from taximeter_collector.metrics import metric_query
from taximeter_dashboard.scope import FILTERS, Scope

Row = dict[str, Any]
Values = list[float | None]
OTHERS: Final = "other"
_EVER: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TOP: Final = 7
_OPTIONS: Final = 200


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
    return _pivoted(scope, rows)


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
    condition, params = _request_filter(scope)
    sql = (
        f"select time_bucket(to_seconds($bucket_s), start_time) as bucket, {_CAUSE} as cause,"
        f" count(*)::double as failed from requests where {condition} and is_error"
        " group by all order by all"
    )
    rows = reader.rows(sql, {**params, "bucket_s": scope.bucket_s})
    return _pivoted(scope, [(r["bucket"], r["cause"], r["failed"]) for r in rows])


def filter_options(reader: Reads, start: datetime) -> dict[str, list[str]]:
    """Return the values that each filter can take, from the requests since `start`."""
    sql = " union all ".join(
        f"(select distinct '{name}' as filter, {column} as value from usage_minute"
        f" where minute >= $start and {column} is not null order by value limit {_OPTIONS})"
        for name, column in FILTERS.items()
        if name != "user"
    )
    options: dict[str, list[str]] = {name: [] for name in FILTERS}
    for row in reader.rows(sql, {"start": start}):
        options[row["filter"]].append(row["value"])
    return options


SORTS: Final = {
    "time": "start_time",
    "agent": "agent_name",
    "loops": "loop_length",
    "duration": "duration_ms",
    "tokens": "coalesce(uncached_input_tokens, 0) + coalesce(cache_read_tokens, 0)"
    " + coalesce(cache_write_tokens, 0) + coalesce(output_tokens, 0)",
    "cache": "cache_hit_ratio",
    "cost": "cost_pico",
}
STATUSES: Final = {
    "All": "true",
    "OK": "not is_error",
    "Errors": "is_error",
    "Recovered": "not is_error and recovered_errors > 0",
}
_SEARCHED: Final = ("request_id", "name", "agent_name", "user_id", "session_id", "tenant",
                    "error_type", "error_class", "termination_reason")  # fmt: skip
_LISTED: Final = """request_id, name, service_name, agent_name, user_id, session_id, start_time,
    duration_ms, is_error, error_type, error_class, recovered_errors, cost_usd, priced_ratio,
    model_calls, tool_calls, tool_errors, loop_length, models, uncached_input_tokens,
    cache_read_tokens, cache_write_tokens, output_tokens, cache_hit_ratio, termination_reason,
    max_consecutive_repeat, is_complete"""


@dataclass(frozen=True, slots=True)
class RequestFilter:
    """What the list of requests is narrowed to, beyond the scope."""

    text: str = ""
    status: str = "All"
    min_cost_usd: float = 0.0
    sort: str = "time"
    is_descending: bool = True


def request_page(
    reader: Reads, scope: Scope, wanted: RequestFilter, page: int, size: int
) -> tuple[int, list[Row]]:
    """Return how many requests match and the rows of one page (the first is 1)."""
    condition, params = _request_filter(scope)
    condition += f" and {STATUSES.get(wanted.status, 'true')}"
    if wanted.text:
        # contains() instead of like: % and _ in a search are what the person typed.
        columns = [f"contains(lower({column}), $text)" for column in _SEARCHED]
        columns += [
            f"contains(lower(array_to_string({c}, ' ')), $text)"
            for c in ("models", "agents", "tags")
        ]
        condition += f" and ({' or '.join(columns)})"
        params["text"] = wanted.text.lower()
    if wanted.min_cost_usd > 0:
        condition += " and cost_pico >= $min_cost_pico"
        params["min_cost_pico"] = round(wanted.min_cost_usd * 10**12)
    found = reader.rows(f"select count(*) as n from requests where {condition}", params)
    order = SORTS.get(wanted.sort, SORTS["time"])
    way = "desc" if wanted.is_descending else "asc"
    rows = reader.rows(
        f"select {_LISTED} from requests where {condition}"
        f" order by {order} {way} nulls last, request_id limit {int(size)}"
        f" offset {max(int(page) - 1, 0) * int(size)}",
        params,
    )
    return int(found[0]["n"]), rows


def request(reader: Reads, request_id: str) -> Row | None:
    """Return one request, None if it is not in the store."""
    rows = reader.rows("select * from requests where request_id = $id limit 1", {"id": request_id})
    return rows[0] if rows else None


_SPANS: Final = """select span_id, parent_span_id, kind, name, dialect, start_time, duration_ms, status,
    error_type, error_class
from spans where trace_id = $id and received_at >= $since order by start_time, span_id limit 20000"""
_CALL_COLUMNS: Final = ("model", "prompt_tokens", "output_tokens", "cache_read_tokens", "cost_pico",
    "cost_usd", "cost_lower_bound_pico", "cost_upper_bound_pico", "cost_quality", "is_billed")  # fmt: skip
_TOOL_COLUMNS: Final = ("consecutive_repeat", "is_repeat")
_OF_TRACE: Final = "where trace_id = $id and start_time between $first and $last"
_CALLS: Final = f"select span_id, {', '.join(_CALL_COLUMNS)} from calls {_OF_TRACE}"
_TOOLS: Final = f"select span_id, {', '.join(_TOOL_COLUMNS)} from tool_calls {_OF_TRACE}"
_NEITHER: Final = dict.fromkeys((*_CALL_COLUMNS, *_TOOL_COLUMNS))
_DAY: Final = timedelta(days=1)


def spans_of(reader: Reads, request_id: str, since: datetime | None = None) -> list[Row]:
    """Return the spans of a request in order of start, with what their calls cost.

    ``since`` is when its first span was received: the longer history is not looked through.
    """
    seen: dict[str, Row] = {}
    for row in reader.rows(_SPANS, {"id": request_id, "since": since or _EVER}):
        seen.setdefault(row["span_id"], _NEITHER | row)
    if seen:
        starts = [row["start_time"] for row in seen.values()]
        window = {"id": request_id, "first": min(starts) - _DAY, "last": max(starts) + _DAY}
        for row in (*reader.rows(_CALLS, window), *reader.rows(_TOOLS, window)):
            if row["span_id"] in seen:
                seen[row["span_id"]] |= row
    return list(seen.values())


def span_detail(
    reader: Reads, request_id: str, span_id: str, since: datetime | None = None
) -> Row | None:
    """Return one span as received: attributes, resource and events."""
    rows = reader.rows(
        "select * from spans where trace_id = $id and span_id = $span and received_at >= $since"
        " limit 1",
        {"id": request_id, "span": span_id, "since": since or _EVER},
    )
    return rows[0] if rows else None


def call_detail(reader: Reads, request_id: str, span_id: str, start: datetime) -> Row | None:
    """Return the model call of a span, which started at ``start``, with every part of its price.

    None if it is none.
    """
    rows = reader.rows(
        "select * from calls where trace_id = $id and span_id = $span"
        " and start_time between $first and $last limit 1",
        {"id": request_id, "span": span_id, "first": start - _DAY, "last": start + _DAY},
    )
    return rows[0] if rows else None


def received_by_dialect(reader: Reads, since: datetime) -> list[Row]:
    """Return what arrived since then, by how it was written."""
    return reader.rows(
        "select dialect, service_name, count(*) as spans, max(received_at) as last_received"
        " from spans where received_at >= $since group by all order by spans desc limit 50",
        {"since": since},
    )


def unpriced_models(reader: Reads) -> list[Row]:
    """Return the models without a price, the most used first."""
    return reader.rows("select * from unpriced_models order by tokens desc nulls last limit 100")


def has_any_request(reader: Reads) -> bool:
    """Return whether the store holds anything at all."""
    return bool(reader.rows("select 1 as one from requests limit 1"))


def _request_filter(scope: Scope) -> tuple[str, dict[str, Any]]:
    conditions = ["start_time >= $start", "start_time < $end"]
    params: dict[str, Any] = {"start": scope.start, "end": scope.end}
    for column, values in scope.where.items():
        conditions.append(f"list_contains($w_{column}, {column})")
        params[f"w_{column}"] = values
    return " and ".join(conditions), params


def _pivoted(scope: Scope, rows: Sequence[tuple[datetime, Any, Any]]) -> Series:
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
