"""What spans, log events and metrics of one client tell together, and each alone: every call once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, get_args

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.corpus.archive import scenarios
from tests.corpus.replay import as_protobuf
from tests.telemetry import Body, follow, put, receive, rows

from taximeter_collector.ingest.decode import Signal
from taximeter_collector.store.store import Store

ALL: tuple[Signal, ...] = get_args(Signal)
AGAIN = b"\x0a\x00"
"""One more, empty, resource: the same records in another body, as a retry by another exporter."""


@dataclass(frozen=True, slots=True)
class Run:
    """What one client sent in one scenario, and what the fake provider served."""

    client: str
    scenario: str
    bodies: Sequence[Body]
    truth: dict[str, Any]

    @property
    def expected(self) -> dict[str, Any]:
        """The facts that the telemetry is held to."""
        found: dict[str, Any] = self.truth["expected"]
        return found

    @property
    def has_telemetry(self) -> bool:
        """Whether the client said anything (Codex ends a failed run without a flush)."""
        return bool(self.bodies)


@pytest.fixture(scope="session")
def runs() -> dict[str, list[Run]]:
    """Return the runs of each client."""
    found: dict[str, list[Run]] = {}
    for one in scenarios().values():
        bodies = [(sent.signal, as_protobuf(sent)) for sent in one.exports]
        found.setdefault(one.client, []).append(Run(one.client, one.name, bodies, one.truth))
    return found


def deliver(store: Store, bodies: Sequence[Body], *, is_one_by_one: bool = False) -> None:
    """Store the bodies, in few group commits or one in each; follow those of one signal before the next."""
    for _, group in groupby(bodies, key=lambda one: one[0]):
        for commit in [[one] for one in group] if is_one_by_one else [list(group)]:
            receive(store, commit)
        follow(store)


def sent(runs: Sequence[Run], signals: Sequence[Signal]) -> list[Body]:
    """Return all bodies of the runs, signal by signal in the order given."""
    return [one for signal in signals for run in runs for one in run.bodies if one[0] == signal]


BILLED = (
    "select count(*), count(*) filter (status = 'error'), coalesce(sum(prompt_tokens), 0)::bigint,"
    " coalesce(sum(cache_read_tokens), 0)::bigint, coalesce(sum(output_tokens), 0)::bigint"
    " from calls where is_billed"
)
TOOLS = "select count(*), count(*) filter (is_error) from tool_calls where true"


def usage(runs: Sequence[Run]) -> tuple[int, ...]:
    """Return calls, failed calls, input, cache reads and output as served."""
    facts = [run.expected for run in runs]
    return (
        sum(one["model_calls"] for one in facts),
        sum(one["failed_model_calls"] for one in facts),
        sum(one["whole_input"] for one in facts),
        sum(one["tokens"].get("cache_read", 0) for one in facts),
        sum(one["tokens"].get("output", 0) for one in facts),
    )


def tools(runs: Sequence[Run]) -> tuple[int, int]:
    facts = [run.expected for run in runs]
    return sum(f["tool_calls"] for f in facts), sum(f["failed_tool_calls"] for f in facts)


def session_of(run: Run) -> str | None:
    session: str | None = run.truth["user_sessions"][0]["session"]
    return session


CLI = ("claude-code", "claude-code-traces", "codex-cli")


def deliveries(client: str) -> list[tuple[Signal, ...]]:
    """Orders of all signals in which each comes first and each pair both ways; what tells of calls alone.

    Every order of all three: test_gemini_cli.py.
    """
    if client == "claude-code":
        return [("logs", "metrics"), ("metrics", "logs"), ("logs",)]
    if client == "codex-cli":
        return [ALL, ALL[::-1], ("logs",), ("traces",)]
    return [ALL, ALL[::-1], ("logs", "traces", "metrics"), ("logs",), ("traces",)]


@pytest.mark.parametrize(
    ("client", "signals"), [(client, order) for client in CLI for order in deliveries(client)]
)
def test_a_coding_agents_runs_are_the_truth_whatever_signal_came_and_when(
    store: Store, runs: dict[str, list[Run]], client: str, signals: tuple[Signal, ...]
) -> None:
    told = [run for run in runs[client] if run.has_telemetry]
    deliver(store, sent(told, signals))
    assert rows(store, BILLED) == [usage(told)]
    assert rows(store, TOOLS) == [tools(told)]
    requests = "select model_calls, loop_length, tool_calls, tool_errors, is_error from requests"
    loops = [2 if run.scenario == "multi_agent" else run.expected["model_calls"] for run in told]
    assert sorted(rows(store, requests)) == sorted(
        (
            run.expected["model_calls"],
            loop,
            run.expected["tool_calls"],
            run.expected["failed_tool_calls"],
            run.expected["end_reason"].startswith("error"),
        )
        for run, loop in zip(told, loops, strict=True)
    )
    if client != "codex-cli":
        for run in told:
            where = f" and session_id = '{session_of(run)}'"
            assert rows(store, BILLED + where) == [usage([run])], run.scenario
            assert rows(store, TOOLS + where) == [tools([run])], run.scenario
    repeated = rows(store, "select max(consecutive_repeat) from tool_calls")
    if signals != ("traces",):  # the spans of neither client say what a tool was asked
        assert repeated == [(3,)]


@pytest.mark.parametrize("client", ["claude-code", "claude-code-traces", "codex-cli"])
def test_metrics_alone_give_the_tokens_as_aggregates_and_no_requests(
    store: Store, runs: dict[str, list[Run]], client: str
) -> None:
    told = [run for run in runs[client] if run.has_telemetry]
    deliver(store, sent(told, ("metrics",)))
    assert rows(store, BILLED)[0][2:] == usage(told)[2:]
    assert rows(store, "select distinct cost_quality from calls where is_billed") == [
        ("aggregate",)
    ]
    assert rows(store, "select count(*) from requests") == [(0,)]
    assert rows(store, "select sum(calls), sum(cost_pico) > 0 from usage_minute") == [(0, True)]


NO_EVENT = ("embeddings", "simple_nocontent")
HAND_OVER = ("multi_agent",)  # not a tool
SAME_IDS = ("agent_loop_stream", "error_500", "error_529")  # the fake gives ids of other scenarios
LEFT_OUT = (*NO_EVENT, *HAND_OVER, *SAME_IDS)


@pytest.mark.parametrize("client", ["otel-genai-openai", "google-adk"])
@pytest.mark.parametrize("signals", [ALL, ALL[::-1], ("traces",), ("logs",)])
def test_generic_events_and_metrics_add_nothing_to_spans_and_stand_in_for_them(
    store: Store, runs: dict[str, list[Run]], client: str, signals: tuple[Signal, ...]
) -> None:
    told = [run for run in runs[client] if run.scenario not in LEFT_OUT]
    deliver(store, sent(told, signals))
    billed = rows(store, BILLED)[0]
    assert billed[2:] == usage(told)[2:]
    if signals != ("logs",):
        assert rows(store, TOOLS) == [tools(told)]


@pytest.mark.parametrize("is_one_by_one", [False, True])
def test_running_totals_exported_twice_count_once_and_only_where_no_span_is(
    store: Store, runs: dict[str, list[Run]], is_one_by_one: bool
) -> None:
    told = [run for run in runs["google-adk"] if run.scenario in ("agent_loop", "thrash")]
    metrics = sent(told, ("metrics",))
    bodies = [*metrics[::-1], *((signal, data + AGAIN) for signal, data in metrics)]
    deliver(store, bodies, is_one_by_one=is_one_by_one)
    assert rows(
        store, "select sum(prompt_tokens), sum(output_tokens) from calls where is_billed"
    ) == [(usage(told)[2], usage(told)[4])]
    deliver(store, sent(told, ("traces",)))
    assert rows(store, BILLED) == [usage(told)]


@pytest.mark.parametrize("client", ["claude-code-traces", "codex-cli"])
def test_records_sent_again_in_another_body_change_nothing(
    store: Store, runs: dict[str, list[Run]], client: str
) -> None:
    told = [run for run in runs[client] if run.has_telemetry]
    bodies = sent(told, ("logs", "metrics", "traces"))
    again = [(signal, data + AGAIN) for signal, data in bodies]
    deliver(store, [*bodies, *again], is_one_by_one=client == "codex-cli")
    assert rows(store, BILLED) == [usage(told)]
    assert rows(store, TOOLS) == [tools(told)]


def test_content_only_events_tell_of_no_call(store: Store, runs: dict[str, list[Run]]) -> None:
    deliver(store, sent(runs["openllmetry-anthropic-events"], ("logs",)))
    assert rows(store, "select count(*) from calls") == [(0,)]
    assert rows(store, "select count(*) > 0 from log_record") == [(True,)]


def test_a_span_takes_what_only_its_log_event_says(
    store: Store, runs: dict[str, list[Run]]
) -> None:
    told = [
        run for run in runs["claude-code-traces"] if run.scenario in ("agent_loop", "error_429")
    ]
    deliver(store, sent(told, ("traces", "logs")))
    kept = "select signal, count(*), round(sum(cost_reported_usd), 7), max(resend_count) from calls"
    assert rows(store, f"{kept} where is_billed group by signal") == [("span", 5, 0.0198468, 1)]
    assert rows(
        store, "select count(*) from calls where billed_reason like '%tells it better'"
    ) == [(5,)]


AGENT_SDK = "openinference.instrumentation.claude_agent_sdk"


def agent_sdk(run: Run, name: str = AGENT_SDK) -> bytes:
    """Return what OpenInference's Claude Agent SDK instrumentation says of the run: one sum, its tools."""
    seen = ExportTraceServiceRequest()
    for signal, data in run.bodies:
        if signal == "traces":
            seen.MergeFromString(data)
    spans = [s for r in seen.resource_spans for scope in r.scope_spans for s in scope.spans]
    message = ExportTraceServiceRequest()
    resource = message.resource_spans.add()
    put(resource.resource.attributes, {"service.name": "travel-desk"})
    scope = resource.scope_spans.add()
    scope.scope.name = name
    agent = scope.spans.add(trace_id=b"o" * 16, span_id=b"a" * 8, name="receive_response")
    agent.start_time_unix_nano = min(s.start_time_unix_nano for s in spans) - 10**7
    agent.end_time_unix_nano = max(s.end_time_unix_nano for s in spans) + 10**7
    said = {"openinference.span.kind": "AGENT", "llm.model_name": "claude-sonnet-4-5",
            "session.id": "sess-c-99", "llm.token_count.prompt": run.expected["whole_input"],
            "llm.token_count.completion": 4}  # fmt: skip
    put(agent.attributes, said)
    for span in (s for s in spans if s.name == "claude_code.tool"):
        call_id = next(a.value.string_value for a in span.attributes if a.key == "tool_use_id")
        tool = scope.spans.add(trace_id=b"o" * 16, parent_span_id=b"a" * 8, name="tool")
        tool.span_id = span.span_id[::-1]
        tool.start_time_unix_nano = span.start_time_unix_nano - 10**6
        tool.end_time_unix_nano = span.end_time_unix_nano + 10**6
        put(tool.attributes, {"openinference.span.kind": "TOOL", "tool.name": "get_weather",
                              "tool.id": call_id, "input.value": '{"city":"Lyon"}'})  # fmt: skip
    return message.SerializeToString()


@pytest.mark.parametrize("sdk_first", [True, False])
def test_an_agents_sum_repeats_the_calls_of_the_program_that_it_ran(
    store: Store, runs: dict[str, list[Run]], sdk_first: bool
) -> None:
    told = [run for run in runs["claude-code-traces"] if run.scenario == "thrash"]
    program = sent(told, ALL)
    sdk: Body = ("traces", agent_sdk(told[0]))
    deliver(store, [sdk, *program[::-1]] if sdk_first else [*program, sdk])
    assert rows(store, BILLED) == [usage(told)]
    assert rows(store, TOOLS) == [tools(told)]
    assert rows(store, "select count(*) from requests") == [(1,)]


@pytest.mark.parametrize(
    ("scope", "quality"), [(AGENT_SDK, "unpriced"), ("openinference.instrumentation", "aggregate")]
)
def test_an_agents_sum_alone_is_an_aggregate(
    store: Store, runs: dict[str, list[Run]], scope: str, quality: str
) -> None:
    """The SDK's own count of the output is of its last message's first event: it is not believed, so not priced."""
    told = [run for run in runs["claude-code-traces"] if run.scenario == "thrash"]
    deliver(store, [("traces", agent_sdk(told[0], scope))])
    found = rows(store, "select prompt_tokens, cost_quality from calls where is_billed")
    assert found == [(told[0].expected["whole_input"], quality)]
    assert rows(store, TOOLS) == [tools(told)]
