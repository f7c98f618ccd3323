"""The roll-ups follow whatever comes: late spans, repeats, cycles, and a commit that can't be derived."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.poison import follow_past_poison
from tests.telemetry import Span, Value, body, chat, commit, follow, one, receive, rows, send

from taximeter_collector.derive.derive import derive_step, derived_batch
from taximeter_collector.ingest.ingest import Ingest
from taximeter_collector.store.data_files import NEWEST_SPANS
from taximeter_collector.store.store import Store

CHAT: dict[str, Value] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "anthropic",
    "gen_ai.request.model": "claude-sonnet-4-5",
}
AGENT: dict[str, Value] = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "helper"}
SUM: dict[str, Value] = {"gen_ai.usage.input_tokens": 200, "gen_ai.usage.output_tokens": 20}


def later(id: int, parent: int) -> Span:
    """Return a call that begins two seconds after the others."""
    return chat(1, id, parent, start=2000, end=3000)


def span(id: int, said: dict[str, Value], parent: int = 0, start: int = 0, trace: int = 1) -> Span:
    """Return a span of a second."""
    return Span(trace, id, parent, start, start + 1000, tuple(said.items()))


def test_children_before_parents_become_one_request_when_the_root_comes(store: Store) -> None:
    send(store, [[chat(1, 2, 1)], [later(3, 1)]])
    assert one(store, "select is_complete, agent_name, model_calls from requests") == (
        False,
        None,
        2,
    )
    send(store, [[span(1, AGENT)]])
    assert one(store, "select is_complete, agent_name, loop_length from requests") == (
        True, "helper", 2,
    )  # fmt: skip
    assert one(store, "select sum(requests), sum(calls) from usage_minute") == (1, 2)


def test_a_request_that_still_runs_has_the_agent_that_called_first(store: Store) -> None:
    """A loop of an hour is its agent's all the time; the root decides when it comes."""
    helper = ("gen_ai.agent.name", "researcher")
    called = replace(
        chat(1, 3, 2, start=2000, end=3000), attributes=(*chat(1, 3, 2).attributes, helper)
    )
    by_agent = (
        "select agent_name, coalesce(sum(requests), 0), coalesce(sum(calls), 0) from usage_minute"
        " group by all order by all"
    )
    send(store, [[called]])
    assert rows(store, by_agent) == [("researcher", 1, 1)]
    first = replace(
        chat(1, 4, 1), attributes=(*chat(1, 4, 1).attributes, ("gen_ai.agent.name", "lead"))
    )
    send(store, [[first]])
    assert one(store, "select agent_name, is_complete from requests") == ("lead", False)
    send(store, [[span(1, AGENT)]])
    assert rows(store, by_agent) == [("helper", 1, 0), ("lead", 0, 1), ("researcher", 0, 1)]


def test_a_span_sent_again_in_another_batch_counts_once(store: Store) -> None:
    send(store, [[chat(1, 2, 1)], [chat(1, 2, 1), later(3, 1)]])
    assert one(store, "select count(*) from spans") == (3,)
    assert one(store, "select count(*), sum(prompt_tokens) from calls") == (2, 200)
    assert one(store, "select sum(calls), sum(tokens) from usage_minute") == (2, 220)


def test_a_parent_that_repeats_its_childrens_tokens_is_not_billed(store: Store) -> None:
    send(store, [[span(1, AGENT | SUM), chat(1, 2, 1), later(3, 1)]])
    assert one(store, "select sum(prompt_tokens) from calls where is_billed") == (200,)
    assert one(store, "select billed_reason from calls where not is_billed") == (
        "sum of the calls below it",
    )


def test_a_sum_without_calls_below_is_an_aggregate(store: Store) -> None:
    send(store, [[span(1, CHAT | AGENT | SUM)]])
    assert one(store, "select cost_quality, cost_pico > 0 from calls where is_billed") == (
        "aggregate", True,
    )  # fmt: skip


def test_an_unknown_model_has_no_cost_and_is_listed(store: Store) -> None:
    unknown = CHAT | {"gen_ai.request.model": "nobody-knows", "gen_ai.usage.input_tokens": 5,
                      "gen_ai.usage.output_tokens": 5}  # fmt: skip
    send(store, [[span(1, unknown)]])
    assert one(store, "select cost_pico, cost_usd, priced_ratio from requests") == (None, None, 0.0)
    assert one(store, "select model, tokens from unpriced_models") == ("nobody-knows", 10)


def test_a_call_refused_before_it_began_is_free_and_a_cut_stream_is_unknown(store: Store) -> None:
    refused = CHAT | {"error.type": "rate_limit_error"}
    cut = CHAT | {"error.type": "api_error", "gen_ai.response.time_to_first_chunk": "0.2"}
    send(store, [[span(1, refused, trace=1)], [span(1, cut, trace=2)]])
    assert rows(store, "select cost_pico from calls order by trace_id") == [(0,), (None,)]


def test_cycles_self_parents_and_impossible_times_do_no_harm(store: Store) -> None:
    message = ExportTraceServiceRequest.FromString(
        body([chat(1, 1, 2), chat(1, 2, 1), chat(1, 3, 3)])
    )
    spans = message.resource_spans[0].scope_spans[0].spans
    spans.add(trace_id=spans[0].trace_id, span_id=b"\7" * 8, name="far",
              start_time_unix_nano=2**64 - 1, end_time_unix_nano=0)  # fmt: skip
    receive(store, [("traces", message.SerializeToString())])
    follow(store)
    assert one(store, "select count(*) from spans") == (4,)
    assert one(store, "select count(*) from requests") == (1,)


def test_the_same_tool_call_in_a_row_is_a_repeat(store: Store) -> None:
    tool: dict[str, Value] = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search",
            "taximeter.tool.arguments_hash": "h"}  # fmt: skip
    spans = [span(1, {"gen_ai.operation.name": "invoke_agent"})]
    for at in range(3):
        spans.append(chat(1, 10 + at, 1, start=2000 * at, end=2000 * at + 1000))
        spans.append(span(20 + at, tool, 1, start=2000 * at + 1000))
    send(store, [spans])
    assert one(store, "select max(consecutive_repeat), count(*) filter (is_repeat) from tool_calls") == (3, 2)  # fmt: skip
    run = one(store, "select max_consecutive_repeat, thrash_cost_pico * 3, cost_pico * 2 from agent_runs")  # fmt: skip
    assert run[0] == 3
    assert run[1] == run[2]


def test_a_commit_that_cannot_be_derived_is_passed_by_and_said(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(store, [chat(1, 1)], [chat(2, 1)], [chat(3, 1)])
    deriver = follow_past_poison(store, monkeypatch, poisoned=2, commits=3)
    assert deriver.last_error is not None and "poison" in deriver.last_error
    assert one(store, "select count(*) from requests") == (2,)
    assert one(store, "select count(*) from spans") == (3,)


def test_a_new_day_gets_a_file_of_its_own_and_old_days_stay_readable(tmp_path: Path) -> None:
    day = [datetime(2026, 11, 24, 23, 59, 59, tzinfo=UTC)]
    store = Store(tmp_path)
    ingest = Ingest(store, now=lambda: day[0])
    ingest.submit("traces", body([chat(1, 1)])).result(60)
    day[0] += timedelta(seconds=2)
    ingest.submit("traces", body([chat(2, 1)])).result(60)
    ingest.close()
    assert one(store, "select count(*) from spans") == (2,)
    store.close()
    names = {file.name for file in tmp_path.glob("spans-*.duckdb")}
    assert {"spans-2026-11-24.duckdb", "spans-2026-11-25.duckdb"} <= names
    store = Store(tmp_path)
    assert one(store, "select count(distinct trace_id) from spans") == (2,)
    store.close()


def test_a_day_that_begins_during_a_step_hides_no_span_of_it(tmp_path: Path) -> None:
    """The newest two files are others from then on: a trace that began in the older one is read whole."""
    today = datetime.now(UTC)
    now = [today - timedelta(days=1)]
    with closing(Store(tmp_path)) as store, closing(Ingest(store, now=lambda: now[0])) as ingest:
        ingest.submit("traces", body([chat(1, 1)])).result(60)
        follow(store)
        now[0] = today
        ingest.submit("traces", body([chat(1, 2)])).result(60)

        def since(batch: int) -> str:
            found = store.files.spans_since(batch)
            if batch == 1:  # the trace is about to be read from its beginning on
                store.files.day_for(today + timedelta(days=1))
            return found

        with store.cursor() as cursor:
            derive_step(cursor, store.prices, derived_batch(cursor), spans_since=since)
        assert one(store, "select model_calls from requests") == (2,)


def test_spans_are_followed_whatever_day_their_file_is_of(tmp_path: Path) -> None:
    """A late span of an old trace, then a clock set back: old files are read, at other times only the newest two."""
    now = [datetime.now(UTC) - timedelta(days=3)]

    def sent(*spans: Span) -> None:
        ingest.submit("traces", body(spans)).result(60)
        follow(store)

    with closing(Store(tmp_path)) as store, closing(Ingest(store, now=lambda: now[0])) as ingest:
        sent(chat(1, 1))
        for trace in (2, 3, 4):
            now[0] += timedelta(days=1)
            sent(chat(trace, 1))
        assert store.files.spans_since(4) == store.files.spans_since(3) == NEWEST_SPANS
        assert store.files.spans_since(2) == "span"
        sent(chat(1, 2))
        assert one(store, "select model_calls from requests where request_id like '%1'") == (2,)
        now[0] -= timedelta(days=3)
        sent(chat(5, 1))
        assert store.files.spans_since(6) == "span"
        now[0] += timedelta(days=3)
        sent(chat(6, 1))
        assert one(store, "select count(*), sum(model_calls) from requests") == (6, 7)
