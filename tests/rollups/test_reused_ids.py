"""An id that a provider gives anew names no call: local servers draw theirs from few numbers, mocks know only one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tests.telemetry import BEGINNING_NS, Span, chat, commit, one, send, tables, wipe

from taximeter_collector.derive.derive import (
    derive_step,
    derive_waiting,
    derived_batch,
    spans_at_hand,
)
from taximeter_collector.derive.verify import verify_window
from taximeter_collector.store.store import Store

BILLED = "select count(*) filter (is_billed), sum(total_tokens) filter (is_billed) from calls"
MINUTE = 60_000


def tool(trace: int, start: int, call_id: str) -> Span:
    said = (
        ("gen_ai.operation.name", "execute_tool"),
        ("gen_ai.tool.name", "search"),
        ("gen_ai.tool.call.id", call_id),
    )
    return Span(trace, trace * 100, 0, start, start + 500, said)


def mocked(traces: range, apart: int) -> list[Span]:
    """Return calls with one id and the same usage, each in a trace of its own, one after the other."""
    return [
        chat(n, n * 10, response_id="chatcmpl-123", start=n * apart, end=n * apart + 900)
        for n in traces
    ]


def test_different_usage_one_after_the_other_under_one_id_is_two_calls(store: Store) -> None:
    first = chat(1, 11, response_id="chatcmpl-42", tokens=100)
    later = chat(2, 21, response_id="chatcmpl-42", tokens=250, start=4000, end=5000)
    send(store, [[first], [later]])
    assert one(store, BILLED) == (2, 370)


def test_the_same_answer_given_again_and_a_gateway_are_one_call(store: Store) -> None:
    first = chat(1, 11, response_id="a", tokens=100)
    again = chat(2, 21, response_id="a", tokens=100, start=4000, end=4010)
    gateway = chat(3, 31, response_id="a", tokens=130, scope="litellm", service="gateway")
    send(store, [[first], [again], [gateway]])
    assert one(store, BILLED)[0] == 1


@pytest.mark.parametrize("kind", ["call", "tool"])
def test_an_id_that_more_than_32_share_names_none_in_whatever_order_they_come(
    store: Store, kind: str
) -> None:
    apart = 10_000 if kind == "call" else 10 * MINUTE
    spans = mocked(range(1, 41), apart)
    if kind == "tool":
        spans = [tool(n, n * apart, "call_0123456789abcdef") for n in range(1, 41)]
    send(store, [spans])
    at_once = tables(store)
    wipe(store)
    send(store, [[span] for span in spans[1::2] + spans[0::2]])
    assert tables(store) == at_once
    assert len(at_once["reused_key"]) == 1
    if kind == "call":
        assert one(store, BILLED) == (40, 40 * 110)
    else:
        assert one(store, "select count(*) from tool_calls") == (40,)


def test_32_within_ten_minutes_are_still_views_of_one(store: Store) -> None:
    send(store, [mocked(range(1, 33), 10_000)])
    assert one(store, BILLED)[0] == 1
    assert tables(store)["reused_key"] == []


def test_asking_often_for_an_answer_that_is_not_there_yet_is_one_call(store: Store) -> None:
    asks = [chat(n, n * 10, response_id="resp_1", start=n * 2000, end=n * 2000 + 50) for n in range(1, 61)]  # fmt: skip
    without_usage = [
        replace(ask, attributes=tuple(a for a in ask.attributes if ".usage." not in a[0]))
        for ask in asks[:-1]
    ]
    send(store, [without_usage, asks[-1:]])
    assert one(store, BILLED) == (1, 110)
    assert tables(store)["reused_key"] == []


def test_what_was_merged_before_the_id_was_found_out_is_derived_again(store: Store) -> None:
    early = mocked(range(1, 4), 10_000)
    crowd = [chat(n, n * 10, response_id="chatcmpl-123", start=60 * MINUTE + n * 1000, end=60 * MINUTE + n * 1000 + 900)
             for n in range(100, 140)]  # fmt: skip
    send(store, [early])
    assert one(store, BILLED)[0] == 1
    send(store, [crowd])
    assert one(store, "select count(*) from rollup.to_derive") == (3,)
    with store.cursor() as cursor:
        assert derive_waiting(cursor, store.prices, derived_batch(cursor))
        begin = datetime.fromtimestamp(BEGINNING_NS / 1e9, UTC)
        report = verify_window(
            store, cursor, begin - timedelta(hours=1), begin + timedelta(hours=3)
        )
    assert one(store, BILLED) == (43, 43 * 110)
    assert report.is_right and report.traces == 43


def test_a_step_reads_only_its_own_traces_once_an_id_names_none(store: Store) -> None:
    send(store, [mocked(range(1, 41), 1000)])
    commit(store, mocked(range(41, 43), 1000))
    with store.cursor() as cursor:
        derive_step(cursor, store.prices, derived_batch(cursor))
        assert spans_at_hand(cursor) == 2
