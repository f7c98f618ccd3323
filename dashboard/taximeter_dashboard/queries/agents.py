"""Agents: how their runs end and how long they are, their tools, and their versions side by side."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from taximeter_dashboard.queries.core import Reads, Row, Series, pivoted, request_filter
from taximeter_dashboard.scope import Scope
from taximeter_dashboard.significance import Ratio, mean, rate

SEEN_DAYS: Final = 90
"""How far back the first and last run of a version are looked for."""
_OF_RUNS: Final = ("agent_name", "agent_version", "environment", "service_name")


def run_filter(scope: Scope) -> tuple[str, dict[str, Any]]:
    """Return the condition on `agent_runs` that a scope means, and its parameters.

    Runs know no user and no tenant; their request does.
    """
    conditions = ["start_time >= $start", "start_time < $end"]
    params: dict[str, Any] = {"start": scope.start, "end": scope.end}
    for column, values in scope.where.items():
        params[f"w_{column}"] = values
        if column in _OF_RUNS:
            conditions.append(f"list_contains($w_{column}, {column})")
        else:
            params["day_before"] = scope.start - timedelta(days=1)
            conditions.append(
                "trace_id in (select request_id from requests where start_time >= $day_before"
                f" and start_time < $end and list_contains($w_{column}, {column}))"
            )
    return " and ".join(conditions), params


def endings_by_agent(reader: Reads, scope: Scope) -> dict[str, dict[str, int]]:
    """Return agent → termination reason → runs, the commonest reason first."""
    condition, params = run_filter(scope)
    rows = reader.rows(
        "select agent_name, coalesce(termination_reason, 'unknown') as reason, count(*) as runs"
        f" from agent_runs where {condition} and agent_name is not null"
        " group by all order by runs desc, reason",
        params,
    )
    endings: dict[str, dict[str, int]] = {}
    for row in rows:
        endings.setdefault(row["agent_name"], {})[row["reason"]] = int(row["runs"])
    return endings


def endings_over_time(reader: Reads, scope: Scope) -> Series:
    """Return runs by bucket and termination reason."""
    condition, params = run_filter(scope)
    rows = reader.rows(
        "select time_bucket(to_seconds($bucket_s), start_time) as bucket, count(*)::double as runs,"
        " coalesce(termination_reason, 'unknown') as reason"
        f" from agent_runs where {condition} group by all order by all",
        {**params, "bucket_s": scope.bucket_s},
    )
    return pivoted(scope, [(r["bucket"], r["reason"], r["runs"]) for r in rows])


def loop_lengths(reader: Reads, scope: Scope) -> dict[int, int]:
    """Return loop length → runs; runs of unknown length are left out."""
    condition, params = run_filter(scope)
    rows = reader.rows(
        f"select loop_length, count(*) as runs from agent_runs where {condition}"
        " and loop_length is not null group by all order by all",
        params,
    )
    return {int(row["loop_length"]): int(row["runs"]) for row in rows}


def run_lengths(reader: Reads, scope: Scope) -> dict[str, float]:
    """Return agent → mean loop length of its runs, where any is known."""
    condition, params = run_filter(scope)
    rows = reader.rows(
        f"select agent_name, avg(loop_length) as loops from agent_runs where {condition}"
        " and agent_name is not null and loop_length is not null group by all order by all",
        params,
    )
    return {row["agent_name"]: row["loops"] for row in rows}


def thrash(reader: Reads, scope: Scope) -> Row:
    """Return runs, those that repeated a tool call, the longest repeat, and what repeats cost."""
    condition, params = run_filter(scope)
    (row,) = reader.rows(
        "select count(*) as runs, count(*) filter (max_repeats > 0) as thrashing_runs,"
        " max(max_consecutive_repeat) as longest, sum(thrash_cost_pico) / 1e12 as cost_usd,"
        " count(*) filter (max_repeats > 0 and thrash_cost_pico is null) as unpriced_runs"
        f" from agent_runs where {condition}",
        params,
    )
    return row


def kept_iterations(reader: Reads, scope: Scope) -> Row:
    """Return `completed` runs and `iterations`, the least limit that stops at most one in a thousand of them."""
    condition, params = run_filter(scope)
    (row,) = reader.rows(
        "select count(*) as completed, quantile_disc(loop_length, 0.999) as iterations"
        f" from agent_runs where {condition} and termination_reason = 'completed'"
        " and loop_length is not null",
        params,
    )
    return row


@dataclass(frozen=True, slots=True)
class Version:
    """One version of an agent in a window, next to when it was seen at all."""

    name: str | None
    first_seen: datetime
    last_seen: datetime
    units: int
    """Requests that the agent answered, or runs of an agent that starts no request."""
    cost_usd: Ratio
    loop_length: Ratio
    error_rate: Ratio
    cache_hit_ratio: Ratio
    p95_ms: float | None


_SUMS: Final = """select agent_version, count(*) as units,
    count(cost_pico) as n_cost, sum(cost_pico / 1e12) as cost, sum(cost_pico / 1e12 * (cost_pico / 1e12)) as cost2,
    count(loop_length) as n_loop, sum(loop_length) as loop, sum(loop_length::double * loop_length) as loop2,
    count(*) filter ({failed}) as failed, quantile_disc(duration_ms, 0.95) as p95_ms
from {view} where {condition} group by all"""
_CACHE: Final = """select agent_version, count(*) as n, sum(r) as r, sum(p) as p,
    sum(r * r) as rr, sum(r * p) as rp, sum(p * p) as pp
from (
    select agent_version, trace_id, sum(cache_read_tokens)::double as r, sum(prompt_tokens)::double as p
    from calls where {condition} and is_billed and cache_reported group by all
) where p > 0 group by all"""
_SEEN: Final = """select agent_version, min(start_time) as first_seen, max(start_time) as last_seen
from agent_runs where {condition} group by all"""
_FAILED: Final = {
    "requests": "is_error",
    "agent_runs": "termination_reason not in ('completed', 'handoff', 'cancelled', 'unknown')",
}


def versions(reader: Reads, scope: Scope) -> tuple[bool, list[Version]]:
    """Return whether requests were compared (else runs), and the versions, the newest first.

    Versions seen in the window only; they are sought 90 days back for when they were first seen.
    """
    condition, params = request_filter(scope)
    asked = _SUMS.format(view="requests", failed=_FAILED["requests"], condition=condition)
    sums = {row["agent_version"]: row for row in reader.rows(asked, params)}
    counts_requests = bool(sums)
    of_runs, run_params = run_filter(scope)
    if not counts_requests:
        asked = _SUMS.format(view="agent_runs", failed=_FAILED["agent_runs"], condition=of_runs)
        sums = {row["agent_version"]: row for row in reader.rows(asked, run_params)}
    cache = {
        row["agent_version"]: row for row in reader.rows(_CACHE.format(condition=condition), params)
    }
    long_ago = {**run_params, "start": scope.start - timedelta(days=SEEN_DAYS)}
    seen = reader.rows(_SEEN.format(condition=of_runs), long_ago)
    found = [
        _version(row, sums[row["agent_version"]], cache.get(row["agent_version"]))
        for row in seen
        if row["agent_version"] in sums
    ]
    return counts_requests, sorted(found, key=lambda version: version.first_seen, reverse=True)


def _version(seen: Row, sums: Row, cache: Row | None) -> Version:
    hits = Ratio(0, 0, 0, 0, 0, 0)
    if cache is not None:
        hits = Ratio(cache["n"], cache["r"], cache["p"], cache["rr"], cache["rp"], cache["pp"])
    return Version(
        seen["agent_version"],
        seen["first_seen"],
        seen["last_seen"],
        sums["units"],
        mean(sums["n_cost"], sums["cost"] or 0.0, sums["cost2"] or 0.0),
        mean(sums["n_loop"], sums["loop"] or 0.0, sums["loop2"] or 0.0),
        rate(sums["failed"], sums["units"]),
        hits,
        sums["p95_ms"],
    )
