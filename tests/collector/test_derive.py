"""The roll-ups follow whatever comes: late spans, repeats, cycles, and a commit that can't be derived."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType

import duckdb
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from taximeter_collector import derive
from taximeter_collector.derive import Deriver, derive_step
from taximeter_collector.ingest import Ingest
from taximeter_collector.prices import PriceBook
from taximeter_collector.store import Store

NOW = 1_795_000_000_000_000_000
CHAT: dict[str, str | int] = {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "claude-sonnet-4-5"}  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path)
    yield store
    store.close()


class Trace:
    """One export request, span by span; ids are small numbers."""

    def __init__(self, trace_id: int = 1) -> None:
        self.message = ExportTraceServiceRequest()
        resource = self.message.resource_spans.add()
        resource.resource.attributes.add(key="service.name").value.string_value = "desk"
        self.scope = resource.scope_spans.add()
        self.scope.scope.name = "opentelemetry.instrumentation.genai.anthropic"
        self.trace_id = trace_id.to_bytes(16, "big")

    def span(
        self,
        number: int,
        parent: int = 0,
        start: int = 0,
        attributes: Mapping[str, str | int] = MappingProxyType({}),
    ) -> Trace:
        span = self.scope.spans.add(
            trace_id=self.trace_id,
            span_id=number.to_bytes(8, "big"),
            parent_span_id=parent.to_bytes(8, "big") if parent else b"",
            name=f"span {number}",
            start_time_unix_nano=NOW + start * 10**9,
            end_time_unix_nano=NOW + (start + 1) * 10**9,
        )
        for key, value in attributes.items():
            pair = span.attributes.add(key=key).value
            if isinstance(value, int):
                pair.int_value = value
            else:
                pair.string_value = value
        return self

    def chat(self, number: int, parent: int = 0, start: int = 0, tokens: int = 100) -> Trace:
        usage: dict[str, str | int] = {
            "gen_ai.usage.input_tokens": tokens,
            "gen_ai.usage.output_tokens": 10,
        }
        return self.span(number, parent, start, CHAT | usage)

    def body(self) -> bytes:
        return self.message.SerializeToString()


def follow(store: Store, *traces: Trace) -> None:
    """Store each trace's spans in a commit of its own and derive after each."""
    ingest = Ingest(store)
    with store.cursor() as cursor:
        at = derive.derived_batch(cursor)
        for trace in traces:
            ingest.submit("traces", trace.body()).result(10)
            at = derive_step(cursor, store.prices, at)
    ingest.close()


def one(store: Store, sql: str) -> tuple[object, ...]:
    with store.read() as cursor:
        row = cursor.execute(sql).fetchone()
    assert row is not None
    return row


def test_children_before_parents_become_one_request_when_the_root_comes(store: Store) -> None:
    agent = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "helper"}
    follow(store, Trace().chat(2, 1), Trace().chat(3, 1, start=2))
    assert one(store, "select is_complete, agent_name, model_calls from requests") == (
        False,
        None,
        2,
    )
    follow(store, Trace().span(1, attributes=agent))
    assert one(store, "select is_complete, agent_name, loop_length from requests") == (
        True, "helper", 2,
    )  # fmt: skip
    assert one(store, "select sum(requests), sum(calls) from usage_minute") == (1, 2)


def test_a_span_sent_again_in_another_batch_counts_once(store: Store) -> None:
    follow(store, Trace().chat(2, 1), Trace().chat(2, 1).chat(3, 1, start=2))
    assert one(store, "select count(*) from spans") == (3,)
    assert one(store, "select count(*), sum(prompt_tokens) from calls") == (2, 200)
    assert one(store, "select sum(calls), sum(tokens) from usage_minute") == (2, 220)


def test_a_parent_that_repeats_its_childrens_tokens_is_not_billed(store: Store) -> None:
    parent: dict[str, str | int] = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "a",
              "gen_ai.usage.input_tokens": 200, "gen_ai.usage.output_tokens": 20}  # fmt: skip
    follow(store, Trace().span(1, attributes=parent).chat(2, 1).chat(3, 1, start=2))
    assert one(store, "select sum(prompt_tokens) from calls where is_billed") == (200,)
    assert one(store, "select billed_reason from calls where not is_billed") == (
        "sum of the calls below it",
    )


def test_a_sum_without_calls_below_is_an_aggregate(store: Store) -> None:
    alone: dict[str, str | int] = {"gen_ai.operation.name": "invoke_agent", "gen_ai.provider.name": "anthropic",
             "gen_ai.request.model": "claude-sonnet-4-5", "gen_ai.usage.input_tokens": 200,
             "gen_ai.usage.output_tokens": 20}  # fmt: skip
    follow(store, Trace().span(1, attributes=alone))
    assert one(store, "select cost_quality, cost_pico > 0 from calls where is_billed") == (
        "aggregate", True,
    )  # fmt: skip


def test_an_unknown_model_has_no_cost_and_is_listed(store: Store) -> None:
    unknown = CHAT | {"gen_ai.request.model": "nobody-knows", "gen_ai.usage.input_tokens": 5,
                      "gen_ai.usage.output_tokens": 5}  # fmt: skip
    follow(store, Trace().span(1, attributes=unknown))
    assert one(store, "select cost_pico, cost_usd, priced_ratio from requests") == (None, None, 0.0)
    assert one(store, "select model, tokens from unpriced_models") == ("nobody-knows", 10)


def test_a_call_refused_before_it_began_is_free_and_a_cut_stream_is_unknown(store: Store) -> None:
    refused = CHAT | {"error.type": "rate_limit_error"}
    cut = CHAT | {"error.type": "api_error", "gen_ai.response.time_to_first_chunk": "0.2"}
    follow(store, Trace(1).span(1, attributes=refused), Trace(2).span(1, attributes=cut))
    with store.read() as cursor:
        rows = cursor.execute("select cost_pico from calls order by trace_id").fetchall()
    assert rows == [(0,), (None,)]


def test_cycles_self_parents_and_impossible_times_do_no_harm(store: Store) -> None:
    trace = Trace().chat(1, parent=2).chat(2, parent=1).chat(3, parent=3)
    span = trace.scope.spans.add(trace_id=trace.trace_id, span_id=b"\7" * 8, name="far")
    span.start_time_unix_nano, span.end_time_unix_nano = 2**64 - 1, 0
    follow(store, trace)
    assert one(store, "select count(*) from spans") == (4,)
    assert one(store, "select count(*) from requests") == (1,)


def test_the_same_tool_call_in_a_row_is_a_repeat(store: Store) -> None:
    tool = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search",
            "taximeter.tool.arguments_hash": "h"}  # fmt: skip
    trace = Trace().span(1, attributes={"gen_ai.operation.name": "invoke_agent"})
    for at in range(3):
        trace.chat(10 + at, 1, start=2 * at)
        trace.span(20 + at, 1, start=2 * at + 1, attributes=tool)
    follow(store, trace)
    assert one(store, "select max(consecutive_repeat), count(*) filter (is_repeat) from tool_calls") == (3, 2)  # fmt: skip
    run = one(store, "select max_consecutive_repeat, thrash_cost_pico * 3, cost_pico * 2 from agent_runs")  # fmt: skip
    assert run[0] == 3
    assert run[1] == run[2]


def test_a_commit_that_cannot_be_derived_is_passed_by_and_said(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest = Ingest(store)
    for number in (1, 2, 3):
        ingest.submit("traces", Trace(number).chat(1).body()).result(10)
    ingest.close()
    real = derive._derive_touched

    def ill(cursor: duckdb.DuckDBPyConnection, prices: PriceBook, after: int, last: int) -> None:
        if after < 2 <= last:
            raise duckdb.InvalidInputException("poison")
        real(cursor, prices, after, last)

    monkeypatch.setattr(derive, "_derive_touched", ill)
    deriver = Deriver(store, settle_s=0.01)
    deadline = time.monotonic() + 20
    while deriver.data_version < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    deriver.close()
    assert deriver.last_error is not None and "poison" in deriver.last_error
    assert one(store, "select count(*) from requests") == (2,)
    assert one(store, "select count(*) from spans") == (3,)


def test_a_new_day_gets_a_file_of_its_own_and_old_days_stay_readable(tmp_path: Path) -> None:
    day = [datetime(2026, 11, 24, 23, 59, 59, tzinfo=UTC)]
    store = Store(tmp_path)
    ingest = Ingest(store, now=lambda: day[0])
    ingest.submit("traces", Trace(1).chat(1).body()).result(10)
    day[0] += timedelta(seconds=2)
    ingest.submit("traces", Trace(2).chat(1).body()).result(10)
    ingest.close()
    assert one(store, "select count(*) from spans") == (2,)
    store.close()
    names = {file.name for file in tmp_path.glob("spans-*.duckdb")}
    assert {"spans-2026-11-24.duckdb", "spans-2026-11-25.duckdb"} <= names
    store = Store(tmp_path)
    assert one(store, "select count(distinct trace_id) from spans") == (2,)
    store.close()
