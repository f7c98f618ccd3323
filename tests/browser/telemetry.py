"""A small fleet's spans as OTLP: what the browser tests show. Same seed, same spans."""

from __future__ import annotations

import json
import random
import urllib.request
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

HOSTILE = (
    '<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>[x](javascript:1) **b**'
)
AGENTS = (
    ("support-triage", "claude-haiku-4-5", 2.4, 0.34),
    ("code-reviewer", "claude-sonnet-4-5", 4.5, 0.2),
    ("sql-analyst", "gpt-5", 4.0, 0.2),
    ("invoice-parser", "gpt-5-mini", 2.0, 0.18),
    ("deep-research", "claude-sonnet-4-5", 9.0, 0.08),
)
TOOLS = ("search_docs", "sql_query", "http_get", "read_file", "run_tests", "create_ticket")


class Fleet:
    """Writes requests of simulated agents as OTLP spans."""

    def __init__(self, seed: int = 7) -> None:
        self._random = random.Random(seed)

    def history(self, end: datetime, hours: float, number: int) -> Iterator[bytes]:
        """Yield export requests that hold `number` requests, spread over the hours before `end`."""
        starts = sorted(self._random.random() for _ in range(number))
        for chunk in range(0, number, 100):
            spans: list[Span] = []
            for share in starts[chunk : chunk + 100]:
                spans += self.request(end - timedelta(hours=hours * (1 - share)))
            yield export(spans)

    def request(
        self, start: datetime, *, name: str | None = None, loops: int | None = None
    ) -> list[Span]:
        """Return the spans of one request: root, model calls, tools between them."""
        rng = self._random
        agent, model, mean_loops, _ = rng.choices(AGENTS, [a[3] for a in AGENTS])[0]
        trace_id = rng.randbytes(16)
        loops = loops or max(1, round(rng.gammavariate(2.0, mean_loops / 2)))
        user = {"user.id": f"u-{rng.randint(1, 90)}", "session.id": f"s-{rng.randint(1, 400)}"}
        root_id, at, spans = rng.randbytes(8), start + timedelta(milliseconds=12), []
        is_broken = rng.random() < 0.05
        for turn in range(loops):
            call, at = self._call(trace_id, root_id, at, agent, model, turn)
            spans.append(call)
            if turn == loops - 1:
                break
            is_failing = rng.random() < 0.06 or (is_broken and turn == loops - 2)
            tool, at = self._tool(trace_id, root_id, at, agent, is_failing)
            spans.append(tool)
        root = _span(
            trace_id, root_id, b"", name or f"invoke_agent {agent}", start, at,
            {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": agent,
             "gen_ai.agent.version": "2026.11.2", **user},
        )  # fmt: skip
        if is_broken:
            root.status.CopyFrom(Status(code=Status.STATUS_CODE_ERROR, message="gave up"))
            kind = rng.choice(("TimeoutError", "RateLimitError", "ToolError"))
            root.attributes.append(KeyValue(key="error.type", value=AnyValue(string_value=kind)))
        return [root, *spans]

    def _call(
        self, trace_id: bytes, parent: bytes, at: datetime, agent: str, model: str, turn: int
    ) -> tuple[Span, datetime]:
        rng = self._random
        fresh, output = rng.randint(400, 1_800), int(rng.lognormvariate(5.0, 0.7)) + 8
        cached = rng.randint(1_000, 6_000) if turn or rng.random() < 0.4 else 0
        end = at + timedelta(milliseconds=350 + output * 9)
        is_openai = model.startswith("gpt")
        # Both conventions of the API: OpenAI counts cached input in, Anthropic beside.
        usage = (
            {"prompt_tokens": fresh + cached, "completion_tokens": output,
             "total_tokens": fresh + cached + output,
             "prompt_tokens_details": {"cached_tokens": cached}}
            if is_openai else
            {"input_tokens": fresh, "cache_read_input_tokens": cached,
             "cache_creation_input_tokens": 0, "output_tokens": output}
        )  # fmt: skip
        span = _span(
            trace_id, rng.randbytes(8), parent, f"chat {model}", at, end,
            {"gen_ai.operation.name": "chat", "gen_ai.agent.name": agent,
             "gen_ai.provider.name": "openai" if is_openai else "anthropic",
             "gen_ai.request.model": model, "gen_ai.response.model": model,
             "gen_ai.usage.input_tokens": fresh + cached, "gen_ai.usage.output_tokens": output,
             "gen_ai.usage.cache_read.input_tokens": cached,
             "taximeter.usage": json.dumps(usage),
             "taximeter.usage_shape": "openai_chat" if is_openai else "anthropic",
             "gen_ai.input.messages": json.dumps([{"role": "user", "content": "Where is my order?"}]),
             "gen_ai.output.messages": json.dumps([{"role": "assistant", "content": "On its way."}])},
        )  # fmt: skip
        return span, end + timedelta(milliseconds=8)

    def _tool(
        self, trace_id: bytes, parent: bytes, at: datetime, agent: str, is_failing: bool
    ) -> tuple[Span, datetime]:
        rng = self._random
        tool, end = rng.choice(TOOLS), at + timedelta(milliseconds=rng.lognormvariate(5.4, 0.8))
        span = _span(
            trace_id, rng.randbytes(8), parent, f"execute_tool {tool}", at, end,
            {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": tool,
             "gen_ai.agent.name": agent,
             "taximeter.tool.arguments_hash": f"{rng.randint(0, 9)}"},
        )  # fmt: skip
        if is_failing:
            span.status.CopyFrom(Status(code=Status.STATUS_CODE_ERROR, message="timed out"))
            kind = AnyValue(string_value="TimeoutError")
            span.attributes.append(KeyValue(key="error.type", value=kind))
        return span, end + timedelta(milliseconds=5)


def hostile_request(start: datetime) -> list[Span]:
    """Return a request whose every text tries to become markup."""
    trace_id, root, end = b"\xba" * 16, b"\xad" * 8, start + timedelta(seconds=2)
    agent: dict[str, str | int] = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": HOSTILE,
             "user.id": HOSTILE, "session.id": HOSTILE}  # fmt: skip
    call: dict[str, str | int] = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai",
            "gen_ai.request.model": HOSTILE, "gen_ai.usage.input_tokens": 10,
            "gen_ai.usage.output_tokens": 5, "gen_ai.usage.cache_read.input_tokens": 3,
            "gen_ai.agent.name": HOSTILE,
            "gen_ai.input.messages": HOSTILE, "gen_ai.output.messages": HOSTILE}  # fmt: skip
    spans = [
        _span(trace_id, root, b"", HOSTILE, start, end, agent),
        _span(trace_id, b"\xbe" * 8, root, HOSTILE, start, end, call),
    ]
    error = KeyValue(key="error.type", value=AnyValue(string_value=HOSTILE))
    for span in spans:
        span.status.CopyFrom(Status(code=Status.STATUS_CODE_ERROR, message=HOSTILE))
        span.attributes.append(error)
    return spans


def export(spans: list[Span], service: str = "shop") -> bytes:
    """Return an OTLP export request."""
    resource = ResourceSpans(scope_spans=[ScopeSpans(spans=spans)])
    resource.resource.attributes.extend(
        _attributes({"service.name": service, "deployment.environment.name": "prod"})
    )
    body: bytes = ExportTraceServiceRequest(resource_spans=[resource]).SerializeToString()
    return body


def send(collector: str, body: bytes) -> None:
    """Post an export request; returns once the collector has stored it."""
    headers = {"Content-Type": "application/x-protobuf"}
    request = urllib.request.Request(f"{collector}/v1/traces", body, headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        response.read()


def _span(
    trace_id: bytes, span_id: bytes, parent: bytes, name: str, start: datetime, end: datetime,
    attributes: Mapping[str, str | int],
) -> Span:  # fmt: skip
    return Span(
        trace_id=trace_id, span_id=span_id, parent_span_id=parent, name=name,
        start_time_unix_nano=_nanoseconds(start), end_time_unix_nano=_nanoseconds(end),
        attributes=_attributes(attributes),
    )  # fmt: skip


def _nanoseconds(when: datetime) -> int:
    return (when - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000


def _attributes(values: Mapping[str, str | int]) -> list[KeyValue]:
    return [
        KeyValue(
            key=key,
            value=AnyValue(int_value=value)
            if isinstance(value, int)
            else AnyValue(string_value=value),
        )
        for key, value in values.items()
    ]
