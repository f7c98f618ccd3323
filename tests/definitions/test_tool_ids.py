"""One tool call told by several spans is one; two tool calls with the same short id are two."""

from __future__ import annotations

from tests.definitions.spans import agent, call, tool
from tests.telemetry import Span, one, send

from taximeter_collector.store.store import Store

LONG = "toolu_01A09q90qw90lq917835lq9"
DAY_MS = 86_400_000


def tool_calls(store: Store, *traces: list[Span]) -> object:
    send(store, list(traces))
    return one(store, "select list(tool_calls order by start_time, request_id) from requests")[0]


def test_a_long_id_names_one_tool_call_in_any_trace(store: Store) -> None:
    assert tool_calls(
        store,
        [agent(1), call(2, at=0), tool(3, at=200, gen_ai__tool__call__id=LONG)],
        [agent(1, trace=2), call(2, at=90_000, trace=2),
         tool(3, at=91_000, trace=2, gen_ai__tool__call__id=LONG)],
    ) == [1, 0]  # fmt: skip


def test_a_long_id_a_day_later_is_another_tool_call(store: Store) -> None:
    assert tool_calls(
        store,
        [agent(1), call(2, at=0), tool(3, at=200, gen_ai__tool__call__id=LONG)],
        [agent(1, trace=2), call(2, at=90_000, trace=2),
         tool(3, at=DAY_MS + 91_000, trace=2, gen_ai__tool__call__id=LONG)],
    ) == [1, 1]  # fmt: skip


def test_a_short_id_is_given_anew_in_every_turn_and_trace(store: Store) -> None:
    assert tool_calls(
        store,
        [agent(1), call(2, at=0), tool(3, at=200, gen_ai__tool__call__id="call_0"),
         call(4, at=400), tool(5, at=600, q="y", gen_ai__tool__call__id="call_0")],
        [agent(1, trace=2), call(2, at=0, trace=2),
         tool(3, at=200, trace=2, gen_ai__tool__call__id="call_0")],
    ) == [2, 1]  # fmt: skip


def test_spans_of_one_short_id_inside_each_other_are_one_tool_call(store: Store) -> None:
    inner = tool(4, 3, at=210, took=20, gen_ai__tool__call__id="call_0")
    assert tool_calls(
        store,
        [agent(1), call(2, at=0), tool(3, at=200, gen_ai__tool__call__id="call_0"), inner],
    ) == [1]  # fmt: skip
