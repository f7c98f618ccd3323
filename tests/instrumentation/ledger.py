"""What a store shows of the shim's runs, beside what the shim itself has counted of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan
from tests.telemetry import Body, follow, receive

from taximeter.runs.limits import Used
from taximeter_collector.store.store import Store

RUN_SQL = """
    select r.span_id, r.loop_length, r.cost_pico, r.termination_reason, r.tool_calls,
        r.max_consecutive_repeat, r.cycle_repeats, c.prompt, c.output
    from agent_runs r left join (
        select agent_span_id, sum(prompt_tokens)::bigint as prompt, sum(output_tokens)::bigint as output
        from calls group by all) c on c.agent_span_id = r.span_id
"""


def stored_runs(spans: Sequence[ReadableSpan], store: Store) -> dict[str, dict[str, Any]]:
    """Store the spans; return the rows of their runs by span id."""
    bodies: list[Body] = [
        ("traces", encode_spans(spans[at : at + 500]).SerializeToString())
        for at in range(0, len(spans), 500)
    ]
    receive(store, bodies)
    follow(store)
    with store.cursor() as cursor:
        cursor.execute(RUN_SQL)
        names = [column[0] for column in cursor.description or ()]
        found = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    return {row["span_id"]: row for row in found}


def counted(used: Used) -> dict[str, int]:
    """Return what the shim has counted of a run."""
    return {
        "loop_length": used.iterations,
        "tool_calls": used.tool_calls,
        "cost_pico": round(used.cost_usd * 1e12),
        "input_tokens": used.input_tokens,
        "output_tokens": used.output_tokens,
        "tokens": used.tokens,
    }


def shown(row: dict[str, Any], below: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Return the same as the store shows it; ``below`` are the run and its sub-agents' runs."""
    prompt = sum(other["prompt"] or 0 for other in below)
    output = sum(other["output"] or 0 for other in below)
    return {
        "loop_length": row["loop_length"] or 0,
        "tool_calls": row["tool_calls"],
        "cost_pico": row["cost_pico"] or 0,
        "input_tokens": prompt,
        "output_tokens": output,
        "tokens": prompt + output,
    }
