"""What a scenario's truth says, and what the tables say after its telemetry was stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import duckdb

from taximeter.pricing import load_catalog
from taximeter.usage import normalise_usage

Facts = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact of one scenario: the truth, the stored value, and how they compare."""

    fact: str
    truth: Any
    stored: Any

    @property
    def verdict(self) -> str:
        """``equal``, ``missing`` (the store says that it does not know) or ``wrong``."""
        if self.stored == self.truth:
            return "equal"
        if self.stored is None or self.stored == () or self.stored == "unknown":
            return "missing"
        return "wrong"


def stated(truth: dict[str, Any]) -> Facts:
    """Return the facts of a ``truth.json``; what it does not speak of is left out."""
    expected = truth["expected"]
    tokens = expected["tokens"]
    facts: Facts = {
        "calls": expected["model_calls"],
        "failed_calls": expected["failed_model_calls"],
        "retries": expected["http_retries"],
        "tool_calls": expected["tool_calls"],
        "failed_tool_calls": expected["failed_tool_calls"],
        "repeated_tool_calls": sum(
            r["count"] - 1 for r in expected["repeated_identical_tool_calls"]
        ),
        "sessions": _names(truth, "session"),
        "users": _names(truth, "user"),
        "models": tuple(sorted(expected["models_responded"])),
        "models_asked": tuple(sorted(expected["models_requested"])),
        "end_reason": END_REASONS.get(truth["end_reason"].split(":")[0]),
    }
    if truth["iterations"] is not None and not _counts_messages(truth):
        facts["iterations"] = truth["iterations"]
    if tokens:
        write, long = (
            tokens.get("cache_write_5m", tokens.get("cache_write")),
            tokens.get("cache_write_1h", 0),
        )
        facts |= {
            "whole_input": expected["whole_input"],
            "uncached_input": tokens["uncached_input"],
            "cache_read": tokens["cache_read"],
            "cache_write": (write or 0) + (long or 0),
            "cache_write_long": long or 0,
            "output": tokens["output"],
            "reasoning": tokens.get("reasoning_in_output"),
        }  # fmt: skip
    facts["cost_pico"] = bill(truth)
    return {name: value for name, value in facts.items() if value not in (None, ())}


def bill(truth: dict[str, Any]) -> int | None:
    """Return what the provider would charge for the usage that it served, in pico-USD."""
    total = 0
    for call in truth["model_calls"]:
        if call.get("usage_raw") is None:
            if call["ok"]:
                return None
            continue
        usage = normalise_usage(SHAPES[call["api"].split(".")[0]], call["usage_raw"])
        entry = load_catalog().resolve(call["provider"], call["model_responded"])
        assert entry is not None
        cost = load_catalog().price(usage, entry, datetime.fromtimestamp(call["start_unix"], UTC))
        assert cost is not None
        total += cost.total_pico
    return total


SHAPES = {
    "messages": "anthropic",
    "chat": "openai_chat",
    "embeddings": "openai_chat",
    "responses": "openai_responses",
    "generateContent": "gemini",
    "streamGenerateContent": "gemini",
    "converse": "bedrock",
}


END_REASONS = {
    "completed": "completed",
    "max_turns": "iteration_cap",
    "max_tokens": "truncated",
    "error": "error",
}


def _counts_messages(truth: dict[str, Any]) -> bool:
    """Claude Code's own ``num_turns`` counts messages: two tools of one turn are two."""
    reported = truth.get("client_reported")
    return "num_turns" in (reported[0] if isinstance(reported, list) else reported or {})


def _names(truth: dict[str, Any], key: str) -> tuple[str, ...]:
    return tuple(sorted({u[key] for u in truth["user_sessions"] if u.get(key)}))


def stored(cursor: duckdb.DuckDBPyConnection, traces: Sequence[str]) -> Facts:
    """Return the same facts from the tables, for these traces."""
    cursor.execute(
        "create or replace temp table of_scenario as select unnest($1::varchar[]) as trace_id",
        [list(traces)],
    )
    facts = _named(cursor, _CALLS) | _named(cursor, _TOKENS) | _named(cursor, _REQUESTS)
    facts |= _named(cursor, _TOOLS) | _named(cursor, _RUNS)
    for name in ("sessions", "users", "models", "models_asked"):
        facts[name] = tuple(sorted(facts[name] or ()))
    if facts.pop("inexact"):
        facts["cost_pico"] = None
    return facts


def _named(cursor: duckdb.DuckDBPyConnection, sql: str) -> Facts:
    row = cursor.execute(sql).fetchone()
    assert row is not None
    return dict(zip([column[0] for column in cursor.description], row, strict=True))


_CALLS = """
select list(distinct response_model) filter (status <> 'error' and response_model is not null) as models,
    list(distinct request_model) filter (request_model is not null) as models_asked,
    sum(cost_pico)::bigint as cost_pico, bool_or(cost_quality <> 'exact') as inexact
from calls where is_billed and trace_id in (from of_scenario)
"""
_SUM = "case when bool_and({0} is not null) then sum({0})::bigint end as {1}"
_COLUMNS = {
    "whole_input": "prompt_tokens",
    "uncached_input": "uncached_input_tokens",
    "cache_read": "cache_read_tokens",
    "cache_write": "cache_write_tokens",
    "cache_write_long": "cache_write_long_tokens",
    "output": "output_tokens",
    "reasoning": "reasoning_tokens",
}
_TOKENS = (
    f"select {', '.join(_SUM.format(column, name) for name, column in _COLUMNS.items())} from calls"
    " where is_billed and trace_id in (from of_scenario)"
    " and (status <> 'error' or coalesce(prompt_tokens, output_tokens) is not null)"
)
_COUNTS = {
    "calls": "model_calls",
    "failed_calls": "failed_calls",
    "retries": "retries",
    "tool_calls": "tool_calls",
    "iterations": "loop_length",
}
_REQUESTS = f"""
select {", ".join(_SUM.format(column, name) for name, column in _COUNTS.items())},
    list(distinct session_id) filter (session_id is not null) as sessions,
    list(distinct user_id) filter (user_id is not null) as users,
    case when count(distinct termination_reason) <= 1 then any_value(termination_reason)
        else list(distinct termination_reason)::varchar end as end_reason
from requests where request_id in (from of_scenario)
"""
_RUNS = """
select sum(loop_length)::bigint as iterations_of_all from agent_runs where trace_id in (from of_scenario)
"""
_TOOLS = """
with asked as (
    select bool_and(coalesce(tool_calls = 0, false)) as for_none from requests where request_id in (from of_scenario)
)
select case when count(span_id) > 0 or any_value(for_none) then count(*) filter (is_error and not is_delegation) end as failed_tool_calls,
    case when count(arguments_hash) > 0 or any_value(for_none) then count(*) filter (is_repeat and not is_delegation) end as repeated_tool_calls
from asked left join tool_calls on trace_id in (from of_scenario)
"""


def compare(truth: Facts, found: Facts) -> list[Finding]:
    """Return one finding a fact of the truth."""
    findings = []
    for name, value in truth.items():
        seen = found.get(name)
        if name == "models_asked":
            continue
        if name == "models":  # some tell only what was asked for
            known = {*value, *truth["models_asked"]}
            named = {model.split("/")[-1] for model in (seen or found["models_asked"])}
            seen = value if named and named <= known else tuple(sorted(named))
        if name == "iterations" and found["iterations_of_all"] == value:
            seen = value  # some count the sub-agents' turns too
        findings.append(Finding(name, value, seen))
    return findings
