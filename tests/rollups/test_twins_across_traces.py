"""One call seen in two traces is billed in one of them, whatever comes when and is looked at again."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.telemetry import Span, Tables, chat, one, send, tables, wipe

from taximeter_collector.store.store import Store

SDK = "com.anthropic.sdk.python"
AGENT = Span(1, 1, 0, 0, 5000, (("gen_ai.operation.name", "invoke_agent"),))
TOOL = Span(
    0, 50, 0, 10, 20, (("gen_ai.operation.name", "execute_tool"), ("gen_ai.tool.name", "x"))
)
BILLED = "select count(*) filter (is_billed), sum(total_tokens) filter (is_billed) from calls"


def straight(store: Store, *spans: Span) -> Tables:
    """Return the tables of all spans in one commit, and leave the store empty."""
    send(store, [spans])
    found = tables(store)
    wipe(store)
    return found


@pytest.mark.parametrize("late", [1, 2])
def test_a_late_span_without_a_response_id_does_not_bill_the_twin_again(
    store: Store, late: int
) -> None:
    """The trace of a late tool span is derived again; its call still has its twin elsewhere."""
    twins = [chat(1, 11, response_id="msg_1"), chat(2, 21, response_id="msg_1", scope=SDK)]
    tool = replace(TOOL, trace=late, parent=0)
    expected = straight(store, *twins, tool)
    send(store, [[twins[0]], [twins[1]], [tool]])
    assert one(store, BILLED) == (1, 110)
    assert tables(store) == expected


def test_the_neighbours_of_a_neighbour_are_seen(store: Store) -> None:
    """1 and 2 share a call, 2 and 3 another: a span in 1 derives 2 again, whose second call is 3's."""
    spans = [chat(1, 11, response_id="a"), chat(2, 21, response_id="a", scope=SDK),
             chat(2, 22, response_id="b", scope=SDK, start=2000, end=3000),
             chat(3, 31, response_id="b", start=2000, end=3000)]  # fmt: skip
    late = replace(TOOL, trace=1, parent=11)
    expected = straight(store, *spans, late)
    send(store, [[span] for span in [*spans, late]])
    assert one(store, BILLED) == (2, 220)
    assert tables(store) == expected


def test_a_call_that_turns_out_to_be_a_sum_gives_its_twin_back(store: Store) -> None:
    """1's call is billed and 2's not, until a call below 1's shows that 1's was a sum."""
    twins = [chat(1, 11, response_id="a", scope=SDK), chat(2, 21, response_id="a")]
    below = chat(1, 12, 11, response_id="other", start=10, end=20)
    expected = straight(store, *twins, below)
    send(store, [twins[:1], twins[1:], [below]])
    assert one(store, "select is_billed from calls where span_id like '%15'") == (True,)
    assert tables(store) == expected


def test_a_span_that_comes_with_another_response_id_frees_its_old_twin(store: Store) -> None:
    first = chat(1, 11, response_id="a", scope=SDK)
    twin = chat(2, 21, response_id="a")
    again = replace(chat(1, 11, response_id="z", scope=SDK), end=1001)
    expected = straight(store, first, twin, again)
    send(store, [[first], [twin], [again]])
    assert one(store, BILLED) == (2, 220)
    assert tables(store) == expected


def test_root_calls_without_a_response_id_are_twins_by_time_and_tokens(store: Store) -> None:
    outer = chat(1, 11, scope="litellm", start=0, end=1000)
    inner = chat(2, 21, response_id="x", scope=SDK, start=100, end=900)
    other = chat(3, 31, response_id="y", scope=SDK, start=100, end=900, tokens=101)
    late = replace(TOOL, trace=2, parent=0)
    expected = straight(store, outer, inner, other, late)
    send(store, [[inner], [other], [outer], [late]])
    assert one(store, BILLED) == (2, 221)
    assert tables(store) == expected


def test_a_trace_that_is_nothing_but_a_cycle_is_a_request_and_stays_whole(store: Store) -> None:
    spans = [chat(1, 11, 12), chat(1, 12, 11), chat(1, 13, 13)]
    expected = straight(store, *spans)
    send(store, [[span] for span in spans])
    assert one(store, "select count(*), max(span_count) from requests") == (1, 3)
    assert tables(store) == expected


def test_a_span_in_two_traces_under_one_id_counts_once(store: Store) -> None:
    twins = [chat(1, 11, response_id="a"), chat(2, 11, response_id="a")]
    send(store, [twins])
    assert one(store, BILLED) == (1, 110)


def test_a_sum_below_a_call_is_part_of_that_call(store: Store) -> None:
    """A step inside a model call that repeats its usage is not billed beside it."""
    usage = chat(1, 12).attributes[1:]
    step = Span(1, 12, 11, 10, 900, (("openinference.span.kind", "CHAIN"), *usage))
    send(store, [[chat(1, 11), step]])
    assert one(store, BILLED) == (1, 110)


def test_a_retry_stays_a_retry_when_its_span_comes_twice(store: Store) -> None:
    asked = (*chat(1, 12).attributes[:3], ("gen_ai.input.messages", "[1]"))
    first = Span(1, 11, 10, 0, 100, (*asked, ("error.type", "overloaded_error")), failed=True)
    second = Span(
        1,
        12,
        10,
        200,
        300,
        (*asked, ("gen_ai.usage.input_tokens", 5), ("gen_ai.usage.output_tokens", 1)),
    )
    send(store, [[first, second], [second, Span(1, 10, 0, 0, 400)]])
    assert one(store, "select is_retry from calls where status <> 'error'") == (True,)
