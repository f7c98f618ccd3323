"""Whatever the two sides say, the parts are the gap; and values never leave their place in SQL."""

from __future__ import annotations

from datetime import UTC, datetime

import duckdb
from hypothesis import given, settings
from hypothesis import strategies as st

from taximeter_collector.reconcile.boundary import EdgeCall, count_moved
from taximeter_collector.reconcile.gap import PARTS, Side, split_gap
from taximeter_collector.reconcile.rows import CLASSES
from taximeter_collector.reconcile.stored import statement

COUNTS = st.integers(0, 10**12)
TOKENS = st.dictionaries(st.sampled_from(CLASSES), COUNTS)
PRICES = st.dictionaries(st.sampled_from(CLASSES), st.integers(0, 10**8))
CONNECTION = duckdb.connect()
OURS = st.builds(Side, TOKENS, COUNTS, COUNTS)


@settings(deadline=None)
@given(
    theirs=st.builds(Side, st.none() | TOKENS, st.none() | COUNTS, COUNTS),
    ours=OURS,
    moved=st.builds(
        Side,
        st.dictionaries(st.sampled_from(CLASSES), st.integers(-(10**9), 10**9)),
        st.integers(-9, 9),
        st.integers(-(10**15), 10**15),
    ),
    prices=PRICES,
    doubtful=st.integers(0, 3),
)
def test_the_parts_are_the_gap(
    theirs: Side, ours: Side, moved: Side, prices: dict[str, int], doubtful: int
) -> None:
    gap = split_gap(theirs, ours, moved, prices, doubtful)
    assert gap.gap == (theirs.cost_pico or 0) - (ours.cost_pico or 0)
    assert sum(getattr(gap, part) or 0 for part in PARTS) == gap.gap


@settings(deadline=None)
@given(tokens=TOKENS, ours=OURS, prices=PRICES, doubtful=st.integers(0, 3))
def test_usage_alone_adds_up_at_our_prices(
    tokens: dict[str, int], ours: Side, prices: dict[str, int], doubtful: int
) -> None:
    gap = split_gap(Side(tokens), ours, Side({}, 0, 0), prices, doubtful)
    assert gap.price is None
    assert sum(getattr(gap, part) or 0 for part in PARTS) == gap.gap


@settings(deadline=None)
@given(tokens=TOKENS, cost=COUNTS, calls=st.integers(1, 99), prices=PRICES)
def test_equal_sides_have_no_gap(
    tokens: dict[str, int], cost: int, calls: int, prices: dict[str, int]
) -> None:
    side = Side(tokens, calls, cost)
    gap = split_gap(side, side, Side({}, 0, 0), prices)
    assert [getattr(gap, part) for part in ("gap", *PARTS)] == [0] * 6


def test_a_call_moves_only_where_both_days_agree_better() -> None:
    late = EdgeCall("t", "s", {"input": 70, "output": 9}, 0, True)
    ended = EdgeCall("t", "r", {"input": 5, "output": 1}, 0, False)
    lacks = {"input": -70, "output": -9}
    assert count_moved([late, ended], lacks, {"input": 70, "output": 9}) == 1
    assert count_moved([late, ended], {"input": -75, "output": -10}, None) == 2
    assert count_moved([late], {"input": 0, "output": 0}, {"input": 70, "output": 9}) == 0
    assert count_moved([ended], {"input": -8, "output": -2}, {"input": 8, "output": 2}) == 0


@settings(deadline=None)
@given(name=st.text(min_size=1))
def test_a_name_from_a_file_stays_a_value(name: str) -> None:
    """Also one that looks like another placeholder or like the end of the text."""
    values = {"from": datetime(2026, 11, 20, tzinfo=UTC), "spans": [name, "$from", "'; drop"]}
    sql = statement("behind_edge", values)
    literal = sql[sql.index("list_contains(") + len("list_contains(") : sql.rindex(", span_id)")]
    if "\x00" not in name:
        found = CONNECTION.execute(f"select {literal}").fetchall()
        assert found == [(values["spans"],)]
