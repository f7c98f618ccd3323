"""What the collector reads of denied tools, open circuits, attempts and guardrails."""

from __future__ import annotations

from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from tests.instrumentation.observed import judged_desk
from tests.telemetry import follow, one, receive, rows

import taximeter
from taximeter.demo.fake_api import FakeApi
from taximeter.guardrails import guardrail, protect
from taximeter.policies import Denied, Workdir
from taximeter.runs.limits import Limits
from taximeter.testing import SpanList
from taximeter.tools.breaker import Breaker
from taximeter.tools.retry import Backoff
from taximeter_collector.store.store import Store


def keep(store: Store, spans: SpanList) -> None:
    receive(store, [("traces", encode_spans(spans.spans).SerializeToString())])
    follow(store)


def test_denied_calls_and_open_circuits_are_no_errors_and_attempts_are_seen(
    spans: SpanList, store: Store, tmp_path: Path
) -> None:
    @taximeter.tool(allow={"path": Workdir(tmp_path)}, cost_usd=0.01)
    def read(path: str) -> str:
        return "text"

    @taximeter.tool(breaker=Breaker(2, fallback="down"), retries=1, backoff=Backoff(0.0))
    def look(city: str) -> str:
        raise TimeoutError("down")

    @taximeter.agent("desk")
    def desk() -> None:
        read("a.txt")
        with pytest.raises(Denied):
            read("../b.txt")
        with pytest.raises(TimeoutError):
            look("Bonn")
        look("Rome")

    with taximeter.request():
        desk()
    keep(store, spans)
    found = rows(
        store,
        "select tool_name, attempt, coalesce(is_error, false), is_denied, error_type from tool_calls order by start_time, attempt",
    )
    assert found == [
        ("read", 1, False, False, None),
        ("read", 1, False, True, "Denied"),
        ("look", 1, True, False, "TimeoutError"),
        ("look", 2, True, False, "TimeoutError"),
        ("look", 1, False, True, "circuit_open"),
    ]
    assert one(store, "select is_error, termination_reason from requests") == (False, "completed")
    assert one(
        store,
        "select sum(attributes['taximeter.tool.cost_usd']::double),"
        " count(*) filter (attributes['taximeter.breaker.state'] = 'open') from spans where kind = 'tool'",
    ) == (0.01, 2)


def test_a_guardrails_block_is_a_span_of_its_kind_and_the_runs_end(
    spans: SpanList, store: Store
) -> None:
    @guardrail
    def polite(text: str) -> bool:
        return "damn" not in text

    @taximeter.agent("desk")
    @protect(output=polite)
    def desk() -> str:
        return "damn"

    with taximeter.request(), pytest.raises(taximeter.GuardrailBlocked):
        desk()
    keep(store, spans)
    assert one(
        store,
        "select name, attributes['taximeter.guardrail.verdict'] from spans where kind = 'guardrail'",
    ) == ("execute_guardrail polite", "block")
    assert one(store, "select termination_reason from agent_runs") == ("guardrail",)
    assert one(store, "select termination_reason from requests") == ("guardrail",)


def test_the_shim_counts_the_loop_and_money_of_guardrails_as_the_collector_does(
    spans: SpanList, store: Store, api: FakeApi
) -> None:
    desk = judged_desk(api, Limits())
    with taximeter.request() as request:
        desk("hi")
    keep(store, spans)
    assert request.loop_length == 1
    assert one(store, "select loop_length, model_calls, cost_pico from requests") == (
        request.loop_length,
        request.model_calls,
        request.cost_pico,
    )
