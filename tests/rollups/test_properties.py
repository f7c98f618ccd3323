"""What holds for any spans: the partition of tokens, who is billed, and that arrival changes nothing.

TAXIMETER_EXAMPLES=200 looks longer than the few examples of a usual run.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.rollups.dialects import KEYS, model_calls, trees
from tests.telemetry import Span, send, tables, wipe

from taximeter_collector.store.store import Store

looking = settings(
    max_examples=int(os.environ.get("TAXIMETER_EXAMPLES", "4")),
    derandomize="TAXIMETER_EXAMPLES" not in os.environ,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    # An example takes seconds: say the first that fails, do not look for the smallest.
    phases=(Phase.explicit, Phase.generate),
)
WITHOUT_TIMES = "select * exclude (start_time, end_time) from rollup.call"
NO_PARTS = ("prompt_tokens", "total_tokens", "reasoning_tokens")


def rows(store: Store, sql: str) -> list[dict[str, Any]]:
    with store.read() as cursor:
        answer = cursor.execute(sql)
        names = [column[0] for column in answer.description or ()]
        return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]


@looking
@given(data=st.data())
def test_the_partition_is_not_negative_and_sums_to_the_whole(
    store: Store, data: st.DataObject
) -> None:
    wipe(store)
    send(store, [[data.draw(model_calls(number)) for number in range(1, 41)]])
    calls = rows(store, WITHOUT_TIMES)
    assert len(calls) == 40
    for call in calls:
        tokens = {name: value for name, value in call.items() if name.endswith("_tokens")}
        assert all(value is None or value >= 0 for value in tokens.values()), tokens
        parts, prompt = input_parts(tokens), call["prompt_tokens"]
        if prompt is not None and None not in parts:
            assert sum(filter(None, parts)) == prompt, call
        elif prompt is not None:
            assert sum(filter(None, parts)) <= prompt, call
        if call["total_tokens"] is not None:
            out = [call[f"{kind}output_tokens"] or 0 for kind in ("", "audio_", "image_")]
            assert call["total_tokens"] == prompt + sum(out), call
        if call["cost_pico"] is not None:
            costs = ("input", "cache_read", "cache_write", "output", "other")
            assert call["cost_pico"] == sum(call[f"{kind}_cost_pico"] for kind in costs)


def input_parts(tokens: dict[str, int | None]) -> list[int | None]:
    """Return the disjoint counts that make up a prompt; writes are whole, or short and long."""
    lifetimes = ("cache_write_short_tokens", "cache_write_long_tokens")
    whole = tokens.get("cache_write_tokens")
    if whole is not None and None not in (both := [tokens[name] for name in lifetimes]):
        assert sum(filter(None, both)) == whole
    left_out = lifetimes if "cache_write_tokens" in tokens else ()
    return [
        count
        for name, count in tokens.items()
        if name not in (*NO_PARTS, *left_out) and "output" not in name
    ]


small = st.integers(0, 6)


@looking
@given(stated=st.lists(st.tuples(*[small] * 6), min_size=40, max_size=40))
def test_counts_that_contradict_each_other_are_flagged_and_none_is_cut(
    store: Store, stated: list[tuple[int, ...]]
) -> None:
    wipe(store)
    keys = ["gen_ai.usage.input_tokens", "gen_ai.usage.cache_read.input_tokens",
            "gen_ai.usage.cache_creation.input_tokens", KEYS["audio_input"][0],
            "gen_ai.usage.output_tokens", KEYS["audio_output"][0]]  # fmt: skip
    said = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "claude-sonnet-4-5"}
    send(store, [[
        Span(number, number, attributes=(*said.items(), *zip(keys, counts, strict=True)))
        for number, counts in enumerate(stated, 1)
    ]])  # fmt: skip
    calls = rows(store, f"{WITHOUT_TIMES} order by trace_id")
    for call, (whole, read, write, audio, output, spoken) in zip(calls, stated, strict=True):
        is_outside = read + write > whole
        inside = audio if is_outside else read + write + audio
        assert call["input_basis"] == ("exclusive" if is_outside else "inclusive"), call
        assert call["usage_conflict"] == (inside > whole or spoken > output), call
        outside = read + write if is_outside else 0
        assert call["prompt_tokens"] == max(whole, inside) + outside, call
        kept = (
            "cache_read_tokens",
            "cache_write_tokens",
            "audio_input_tokens",
            "audio_output_tokens",
        )
        assert [call[name] for name in kept] == [read, write, audio, spoken], call
        assert call["output_tokens"] + call["audio_output_tokens"] == max(output, spoken), call


@looking
@given(spans=trees())
def test_no_parent_adds_to_its_children(store: Store, spans: list[Span]) -> None:
    wipe(store)
    send(store, [spans])
    parent = {(span.trace, span.id): span.parent for span in spans}
    billed = {
        (int(row["trace_id"], 16), int(row["span_id"], 16))
        for row in rows(store, "select trace_id, span_id from calls where is_billed and total_tokens > 0")
    }  # fmt: skip
    for trace, number in billed:
        above = parent[trace, number]
        while above:
            assert (trace, above) not in billed
            above = parent[trace, above]


@looking
@given(spans=trees(), data=st.data())
def test_order_cut_and_repetition_change_nothing(
    store: Store, spans: list[Span], data: st.DataObject
) -> None:
    """Some spans also come in an earlier, shorter version: the one that ended last counts."""
    early = [
        replace(span, end=span.end - 1, failed=True) for span in spans if data.draw(st.booleans())
    ]
    wipe(store)
    send(store, [spans])
    expected = tables(store)
    again = data.draw(st.lists(st.sampled_from(spans), max_size=8))
    mixed = data.draw(st.permutations([*spans, *early, *again]))
    wipe(store)
    send(store, cut(mixed, data.draw(st.integers(2, 5))))
    assert tables(store) == expected


def cut(spans: Sequence[Span], count: int) -> list[list[Span]]:
    """Return the spans in ``count`` commits of about the same size."""
    return [list(spans[at::count]) for at in range(count) if spans[at::count]]
