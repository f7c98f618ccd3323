"""The list of requests: searched, sorted and cut into pages by the collector."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from taximeter_dashboard.queries.core import Reads, Row, request_filter
from taximeter_dashboard.queries.failures import ANY, Among, among_condition
from taximeter_dashboard.scope import FILTERS, Scope

_OPTIONS: Final = 200


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
_USES_TOOL: Final = """request_id in (select trace_id from tool_calls where start_time >= $start
    and start_time < $end + interval 1 day and contains(lower(tool_name), $text))"""
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
    among: Among = ANY


def request_page(
    reader: Reads, scope: Scope, wanted: RequestFilter, page: int, size: int
) -> tuple[int, list[Row]]:
    """Return how many requests match and the rows of one page (the first is 1)."""
    condition, params = request_filter(scope)
    condition += f" and {STATUSES.get(wanted.status, 'true')}"
    if wanted.among.is_any:
        only, names = among_condition(wanted.among)
        condition += f" and {only}"
        params |= names
    if wanted.text:
        # contains() instead of like: % and _ in a search are what the person typed.
        columns = [f"contains(lower({column}), $text)" for column in _SEARCHED]
        columns += [
            f"contains(lower(array_to_string({c}, ' ')), $text)"
            for c in ("models", "agents", "tags")
        ]
        columns.append(_USES_TOOL)
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
