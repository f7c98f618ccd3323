"""Realistic OTLP requests for the benchmarks: agent traces of a fixed shape, fresh ids each."""

from __future__ import annotations

import os
import random
import time
from datetime import timedelta

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

TEXT = "The customer asks where order 4711 is, and whether it can be sent to another address. " * 12
MODEL_ATTRIBUTES: dict[str, str | int | float | list[str]] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "anthropic",
    "gen_ai.request.model": "claude-sonnet-4-5",
    "gen_ai.response.model": "claude-sonnet-4-5-20250929",
    "gen_ai.request.max_tokens": 1024,
    "gen_ai.request.temperature": 0.2,
    "gen_ai.response.finish_reasons": ["end_turn"],
    "gen_ai.usage.input_tokens": 9277,
    "gen_ai.usage.output_tokens": 405,
    "gen_ai.usage.cache_read.input_tokens": 6496,
    "gen_ai.usage.cache_write.input_tokens": 2272,
    "gen_ai.conversation.id": "sess-4711",
    "server.address": "api.anthropic.com",
    "gen_ai.input.messages": TEXT,
}
TOOL_ATTRIBUTES: dict[str, str | int | float | list[str]] = {
    "gen_ai.operation.name": "execute_tool",
    "gen_ai.tool.name": "search_orders",
    "taximeter.tool.arguments_hash": "5f3e" * 16,
    "taximeter.tool.result_hash": "a01b" * 16,
    "gen_ai.tool.call.result": TEXT,
}
AGENT_ATTRIBUTES: dict[str, str | int | float | list[str]] = {
    "gen_ai.operation.name": "invoke_agent",
    "gen_ai.agent.name": "support-desk",
    "gen_ai.agent.version": "2026.11.1",
    "session.id": "sess-4711",
    "user.id": "user-17",
}


def request_body(spans: int, spread: timedelta = timedelta()) -> bytes:
    """Return one export request of ``spans`` spans: runs of one agent, five calls, four tools.

    The runs are over now, or at any time within ``spread`` before.
    """
    message = ExportTraceServiceRequest()
    resource = message.resource_spans.add()
    _set(resource.resource.attributes.add(), "service.name", "support-desk")
    scope = resource.scope_spans.add()
    scope.scope.name, scope.scope.version = "opentelemetry.instrumentation.genai.anthropic", "1.4"
    for at in range(spans):
        position = at % 10
        if position == 0:
            trace_id, root_id = os.urandom(16), os.urandom(8)
            now = time.time_ns() - int(random.random() * spread.total_seconds() * 1e9)
        span = scope.spans.add(
            trace_id=trace_id,
            span_id=root_id if position == 0 else os.urandom(8),
            parent_span_id=b"" if position == 0 else root_id,
            start_time_unix_nano=now - 10**9 + position * 10**7,
            end_time_unix_nano=now - 10**9 + (position + 1) * 10**7,
        )
        _fill(span, position)
    return message.SerializeToString()


def _fill(span: Span, position: int) -> None:
    if position == 0:
        span.name, attributes = "invoke_agent support-desk", AGENT_ATTRIBUTES
    elif position % 2:
        span.name, attributes = "chat claude-sonnet-4-5", MODEL_ATTRIBUTES
    else:
        span.name, attributes = "execute_tool search_orders", TOOL_ATTRIBUTES
    for key, value in attributes.items():
        _set(span.attributes.add(), key, value)
    if position and not position % 2:
        _set(span.attributes.add(), "gen_ai.tool.call.id", f"toolu_{os.urandom(12).hex()}")
    elif position:
        _set(span.attributes.add(), "gen_ai.response.id", f"msg_{os.urandom(12).hex()}")


def _set(pair: KeyValue, key: str, value: str | float | list[str]) -> None:
    pair.key = key
    if isinstance(value, str):
        pair.value.string_value = value
    elif isinstance(value, int):
        pair.value.int_value = value
    elif isinstance(value, float):
        pair.value.double_value = value
    else:
        for item in value:
            pair.value.array_value.values.add().string_value = item
