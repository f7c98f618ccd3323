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
from tests.rollups.dialects import trees
from tests.telemetry import Span, send, tables, wipe

from taximeter_collector.store import Store

looking = settings(
    max_examples=int(os.environ.get("TAXIMETER_EXAMPLES", "4")),
    derandomize="TAXIMETER_EXAMPLES" not in os.environ,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    # An example takes seconds: say the first that fails, do not look for the smallest.
    phases=(Phase.explicit, Phase.generate),
)
NO_PARTS = ("prompt_tokens", "total_tokens", "reasoning_tokens")


def rows(store: Store, sql: str) -> list[dict[str, Any]]:
    with store.read() as cursor:
        answer = cursor.execute(sql)
        names = [column[0] for column in answer.description or ()]
        return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]


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
