"""What failed in the requests of a window: requests, model calls and tools, by class, type, tool, model or agent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from taximeter_dashboard.queries.core import Reads, Row, request_filter
from taximeter_dashboard.scope import Scope

What = Literal["request", "call", "tool"]
UNKNOWN: Final = "unknown"
"""The name of a failure that has none; a link can say it, NULL it cannot."""


class _Kind(NamedTuple):
    view: str
    id: str
    condition: str
    retried: str
    columns: dict[str, str]


_COMMON: Final = {"class": "error_class", "type": "error_type", "agent": "agent_name"}
KINDS: Final[dict[What, _Kind]] = {
    "request": _Kind("requests", "request_id", "is_error", "null::boolean", _COMMON),
    "call": _Kind("calls", "trace_id", "is_billed and status = 'error'", "not is_last_attempt",
                  {**_COMMON, "model": "model"}),
    "tool": _Kind("tool_calls", "trace_id", "is_error and is_delegation is not true",
                  "null::boolean", {**_COMMON, "tool": "tool_name"}),
}  # fmt: skip
DIMENSIONS: Final = ("class", "type", "tool", "model", "agent")
# What a request of the window did may have happened after the window's end.
_OF_WINDOW: Final = "start_time >= $start and start_time < $end + interval 1 day"


@dataclass(frozen=True, slots=True)
class Among:
    """Requests narrowed to those of a session, with a failure, or that used a tool: exact names."""

    session: str = ""
    tool: str = ""
    """Used by the request; with `failed` the tool that failed."""
    failed: What | None = None
    names: tuple[tuple[str, str], ...] = ()
    """(dimension, name) of the failure."""

    @property
    def is_any(self) -> bool:
        return bool(self.session or self.tool or self.failed)


ANY: Final = Among()


def among_condition(among: Among) -> tuple[str, dict[str, Any]]:
    """Return the further condition on `requests`, and its parameters."""
    conditions: list[str] = []
    params: dict[str, Any] = {}
    if among.session:
        conditions.append("session_id = $among_session")
        params["among_session"] = among.session
    if among.failed:
        kind = KINDS[among.failed]
        held = [kind.condition]
        for dimension, name in among.names:
            if dimension in kind.columns:
                held.append(f"{_named(kind.columns[dimension])} = $among_{dimension}")
                params[f"among_{dimension}"] = name
        conditions.append(_has(kind, " and ".join(held)))
    elif among.tool:
        conditions.append(_has(KINDS["tool"], "tool_name = $among_tool"))
        params["among_tool"] = among.tool
    return " and ".join(conditions) or "true", params


def failures(reader: Reads, scope: Scope, dimension: str, limit: int = 100) -> list[Row]:
    """Return one row a kind of failure and name of the dimension, the commonest first.

    `failures`, their `share` of the kind's failures, `retried` (NULL: not told), `requests`,
    `recovered_requests` (the request ended well), `failed_usd` spent on those that did not, and
    `unpriced_requests` among these. Covers the requests of the window, like the list of requests.
    """
    condition, params = request_filter(scope)
    parts = " union all ".join(
        f"select '{what}' as what, {kind.id} as request_id, {kind.retried} as retried,"
        f" {_named(kind.columns[dimension])} as name from {kind.view} where {kind.condition}"
        f" and {_OF_WINDOW} and {kind.id} in (select request_id from asked)"
        for what, kind in KINDS.items()
        if dimension in kind.columns
    )
    return reader.rows(
        "with asked as (select request_id, is_error, cost_pico from requests"
        f" where {condition}), failure as ({parts}), by_request as (select what, name, request_id,"
        " count(*) as failures, count(*) filter (retried) as retried,"
        " count(retried) as told from failure group by all)"
        " select what, name, sum(failures)::bigint as failures,"
        " (sum(failures) / sum(sum(failures)) over (partition by what))::double as share,"
        " case when sum(told) > 0 then sum(retried)::bigint end as retried,"
        " count(*) as requests, count(*) filter (not is_error) as recovered_requests,"
        " sum(cost_pico) filter (is_error) / 1e12 as failed_usd,"
        " count(*) filter (is_error and cost_pico is null) as unpriced_requests"
        " from by_request join asked using (request_id) group by what, name"
        f" order by failures desc, what, name limit {int(limit)}",
        params,
    )


def spent_on_failed(reader: Reads, scope: Scope) -> Row:
    """Return the failed requests of the window, what they cost in USD, and how many have no price."""
    condition, params = request_filter(scope)
    (row,) = reader.rows(
        "select count(*) as requests, sum(cost_pico) / 1e12 as cost_usd,"
        " count(*) filter (cost_pico is null) as unpriced_requests"
        f" from requests where {condition} and is_error",
        params,
    )
    return row


def _named(column: str) -> str:
    return f"coalesce({column}, '{UNKNOWN}')"


def _has(kind: _Kind, condition: str) -> str:
    if kind.view == "requests":
        return f"({condition})"
    return f"request_id in (select {kind.id} from {kind.view} where {_OF_WINDOW} and ({condition}))"
