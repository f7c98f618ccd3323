"""Gemini CLI as its source writes it (packages/core/src/telemetry/types.ts, trace.ts, metrics.ts, 0.61).

Every model call and every batch of tools is the root of a trace of its own; each call has two log records
and two metrics; the span leaves out cached and thought tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.telemetry import Body, follow, put, receive, rows

from taximeter_collector.ingest.decode import Signal
from taximeter_collector.store.store import Store

NOW = 1_795_000_000_000
"""Unix milliseconds."""
SESSION = "0b1e2f3a-session"
PROMPT = f"{SESSION}########0"
CALLS = ((412, 0, 87, 24, 111), (2207, 2048, 64, 0, 64), (2309, 2176, 71, 16, 87))
"""Prompt (cached tokens in it), cached, candidates, thoughts, output (candidates and thoughts)."""
MODEL = "gemini-2.5-flash"


def resource(message: Any, kind: str) -> Any:
    group = getattr(message, f"resource_{kind}").add()
    put(group.resource.attributes, {"service.name": "gemini-cli", "service.version": "0.61.0"})
    scope = getattr(group, f"scope_{kind}").add()
    scope.scope.name = "gemini-cli"
    return scope


def call_times(number: int) -> tuple[int, int]:
    return NOW + 1000 * number, NOW + 1000 * number + 400


def tool_times(number: int) -> tuple[int, int]:
    return NOW + 1000 * number + 450, NOW + 1000 * number + 500


def logs(fails_first: bool = False) -> bytes:
    """Return the records of one prompt: three calls with a tool after each but the last."""
    message = ExportLogsServiceRequest()
    scope = resource(message, "logs")

    def event(name: str, at: int, attributes: Mapping[str, object]) -> None:
        record = scope.log_records.add(
            time_unix_nano=at * 10**6, observed_time_unix_nano=at * 10**6
        )
        common: dict[str, object] = {
            "session.id": SESSION,
            "installation.id": "i",
            "interactive": False,
        }
        put(
            record.attributes,
            {**common, "event.name": name, "event.timestamp": str(at), **attributes},
        )

    event("gemini_cli.config", NOW - 200, {"model": MODEL})
    event("gemini_cli.user_prompt", NOW - 100, {"prompt_length": 9, "prompt_id": PROMPT})
    if fails_first:
        event("gemini_cli.api_error", NOW - 10, {
            "model": MODEL, "model_name": MODEL, "error": "quota", "status_code": 429, "duration_ms": 50,
            "error.type": "ApiError", "prompt_id": PROMPT, "role": "main"})  # fmt: skip
        event("gen_ai.client.inference.operation.details", NOW - 10,
              {"gen_ai.operation.name": "generate_content", "gen_ai.request.model": MODEL})  # fmt: skip
    for number, (prompt, cached, candidates, thoughts, _) in enumerate(CALLS):
        start, end = call_times(number)
        event(
            "gemini_cli.api_request", start, {"model": MODEL, "prompt_id": PROMPT, "role": "main"}
        )
        event("gemini_cli.api_response", end, {
            "model": MODEL, "duration_ms": end - start, "input_token_count": prompt,
            "output_token_count": candidates, "cached_content_token_count": cached,
            "thoughts_token_count": thoughts, "tool_token_count": 0,
            "total_token_count": prompt + candidates + thoughts, "prompt_id": PROMPT,
            "auth_type": "gemini-api-key", "status_code": 200, "finish_reasons": ["STOP"],
            "role": "main"})  # fmt: skip
        event("gen_ai.client.inference.operation.details", end, {
            "gen_ai.response.id": f"r{number}", "gen_ai.operation.name": "generate_content",
            "gen_ai.provider.name": "gcp.gemini", "gen_ai.request.model": MODEL,
            "gen_ai.usage.input_tokens": prompt, "gen_ai.usage.output_tokens": candidates})  # fmt: skip
        if number < len(CALLS) - 1:
            begun, over = tool_times(number)
            failed = {
                "error": "down",
                "error_type": "mcp_tool_error",
                "error.type": "mcp_tool_error",
            }
            told: dict[str, object] = {
                "function_name": "get_weather", "function_args": '{"city": "Lyon"}', "success": number == 0,
                "duration_ms": over - begun, "start_time": begun, "end_time": over, "prompt_id": PROMPT,
                "tool_type": "mcp"}  # fmt: skip
            event("gemini_cli.tool_call", over + 3, told if number == 0 else told | failed)
    return message.SerializeToString()


def traces(with_usage: bool = True) -> bytes:
    """Return the spans; usage is on them only where the user switched traces on."""
    message = ExportTraceServiceRequest()
    scope = resource(message, "spans")

    def span(trace: int, number: int, parent: int, name: str, times: tuple[int, int],
             attributes: Mapping[str, object]) -> None:  # fmt: skip
        one = scope.spans.add(
            trace_id=trace.to_bytes(16, "big"), span_id=number.to_bytes(8, "big"), name=name,
            parent_span_id=parent.to_bytes(8, "big") if parent else b"",
            start_time_unix_nano=times[0] * 10**6, end_time_unix_nano=times[1] * 10**6)  # fmt: skip
        one.status.code = 1
        common: dict[str, object] = {
            "gen_ai.conversation.id": SESSION,
            "gen_ai.operation.name": name,
        }
        put(one.attributes, {**common, "gen_ai.agent.name": "gemini-cli", **attributes})

    for number, (prompt, _, candidates, _, _) in enumerate(CALLS):
        said: dict[str, object] = {"gen_ai.request.model": MODEL, "gen_ai.prompt.name": PROMPT}
        if with_usage:
            said |= {"gen_ai.usage.input_tokens": prompt, "gen_ai.usage.output_tokens": candidates}
        span(10 + number, 100 + number, 0, "llm_call", call_times(number), said)
        if number < len(CALLS) - 1:
            times = tool_times(number)
            span(20 + number, 200 + number, 0, "schedule_tool_calls", times, {})
            span(20 + number, 300 + number, 200 + number, "tool_call", times,
                 {"gen_ai.tool.name": "get_weather", "gen_ai.tool.call_id": f"call-{number}"})  # fmt: skip
    return message.SerializeToString()


def metrics(at: int = NOW + 4000) -> bytes:
    """Return one export of the running totals, each in two metrics."""
    message = ExportMetricsServiceRequest()
    scope = resource(message, "metrics")
    totals = [sum(one[column] for one in CALLS) for column in range(4)]
    own = scope.metrics.add(name="gemini_cli.token.usage")
    own.sum.aggregation_temporality = 2
    for kind, total in zip(("input", "cache", "output", "thought"), totals, strict=True):
        point = own.sum.data_points.add(
            start_time_unix_nano=NOW * 10**6, time_unix_nano=at * 10**6, as_int=total
        )
        put(point.attributes, {"session.id": SESSION, "model": MODEL, "type": kind})
    generic = scope.metrics.add(name="gen_ai.client.token.usage")
    generic.histogram.aggregation_temporality = 2
    for kind, total in (("input", totals[0]), ("output", totals[2])):
        histogram = generic.histogram.data_points.add(
            start_time_unix_nano=NOW * 10**6, time_unix_nano=at * 10**6, count=3, sum=total
        )
        put(histogram.attributes, {"session.id": SESSION, "gen_ai.token.type": kind,
                                   "gen_ai.request.model": MODEL})  # fmt: skip
    return message.SerializeToString()


def deliver(store: Store, *bodies: Body) -> None:
    """Follow each body before the next comes."""
    for one in bodies:
        receive(store, [one])
        follow(store)


BILLED = ("select sum(prompt_tokens), sum(cache_read_tokens), sum(output_tokens) from calls"
          " where is_billed")  # fmt: skip
SERVED = (sum(c[0] for c in CALLS), sum(c[1] for c in CALLS), sum(c[4] for c in CALLS))
REQUESTS = ("select model_calls, loop_length, tool_calls, tool_errors, session_id, is_error"
            " from requests")  # fmt: skip


ORDERS = [*permutations(("traces", "logs", "metrics"))]


@pytest.mark.parametrize(
    ("order", "with_usage"),
    [*((order, True) for order in ORDERS), (ORDERS[0], False), (ORDERS[-1], False)],
)
def test_one_prompt_is_one_request_of_the_log_events_whatever_came_first(
    store: Store, order: tuple[Signal, ...], with_usage: bool
) -> None:
    bodies: dict[Signal, bytes] = {
        "traces": traces(with_usage),
        "logs": logs(),
        "metrics": metrics(),
    }
    deliver(store, *((signal, bodies[signal]) for signal in order))
    assert rows(store, BILLED) == [SERVED]
    assert rows(store, REQUESTS) == [(3, 3, 2, 1, SESSION, False)]
    assert rows(store, "select max(consecutive_repeat) from tool_calls") == [(2,)]
    assert rows(store, "select distinct signal from calls where is_billed") == [("log",)]


def test_a_call_that_failed_before_it_succeeded_is_an_attempt(store: Store) -> None:
    deliver(store, ("logs", logs(fails_first=True)))
    assert rows(store, BILLED) == [SERVED]
    found = rows(store, "select retries, loop_length, is_error, cost_quality from requests")
    assert found == [(1, 3, False, "exact")]
    assert rows(store, "select error_class from calls where status = 'error'") == [("throttled",)]


def test_metrics_alone_count_each_running_total_once(store: Store) -> None:
    deliver(store, ("metrics", metrics()), ("metrics", metrics(NOW + 64_000)))
    assert rows(store, BILLED) == [SERVED]


def test_spans_alone_say_what_they_say(store: Store) -> None:
    deliver(store, ("traces", traces()))
    assert rows(store, BILLED) == [(SERVED[0], None, sum(c[2] for c in CALLS))]  # no cache counts
    assert rows(store, "select count(*) from tool_calls") == [(2,)]
