"""What became of cached prefixes, over a real store; and which lifetime would have been cheaper."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Any

import duckdb
import pytest

from taximeter_collector.cache_reuse import (
    LifetimePrices,
    lifetime_advice,
    prices_of,
    reuse_query,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
P_IN, P_READ, P_WRITE, P_LONG = 100, 10, 125, 200


@pytest.fixture
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as connection:
        folder = files("taximeter_collector") / "sql"
        connection.execute("set timezone = 'UTC'; attach ':memory:' as rollup; use rollup")
        connection.execute((folder / "tables" / "call.sql").read_text())
        connection.execute("use memory")
        connection.execute((folder / "views" / "calls.sql").read_text())
        yield connection


def add(
    database: duckdb.DuckDBPyConnection, minutes: float, read: int, write: int, uncached: int = 0,
    *, run: str = "run", long: bool = False, **values: Any,
) -> None:  # fmt: skip
    """Store one call `minutes` after a time of day, with costs at the prices above."""
    start = NOW - timedelta(hours=6) + timedelta(minutes=minutes)
    p_write = P_LONG if long else P_WRITE
    row = {
        "trace_id": run, "span_id": f"{run}{minutes}", "agent_span_id": run, "is_billed": True,
        "kind": "llm", "provider": "anthropic", "model": "m", "agent_name": "a",
        "start_time": start, "end_time": start + timedelta(seconds=2), "cache_reported": True,
        "uncached_input_tokens": uncached, "cache_read_tokens": read, "cache_write_tokens": write,
        "cache_write_long_tokens": write if long else 0, "prompt_tokens": read + write + uncached,
        "input_cost_pico": uncached * P_IN, "cache_read_cost_pico": read * P_READ,
        "cache_write_cost_pico": write * p_write,
        "cache_saved_pico": read * (P_IN - P_READ) - write * (p_write - P_IN), **values,
    }  # fmt: skip
    names, marks = ", ".join(row), ", ".join("?" * len(row))
    database.execute(f"insert into rollup.call ({names}) values ({marks})", list(row.values()))


def asked(database: duckdb.DuckDBPyConnection, **where: list[str]) -> list[dict[str, Any]]:
    query = reuse_query(NOW - timedelta(hours=6), NOW, NOW, where)
    rows: list[dict[str, Any]] = (
        database.sql(query.sql, params=query.params).to_arrow_table().to_pylist()
    )
    return rows


def causes(database: duckdb.DuckDBPyConnection) -> dict[str, int]:
    counted: dict[str, int] = {}
    for row in asked(database):
        counted[row["cause"]] = counted.get(row["cause"], 0) + row["calls"]
    return counted


@pytest.mark.parametrize(
    ("later", "cause"),
    [
        pytest.param({"minutes": 1, "read": 5_000, "write": 400}, "hit", id="read again"),
        pytest.param({"minutes": 1, "read": 0, "write": 5_400}, "prefix_changed", id="changed"),
        pytest.param({"minutes": 9, "read": 0, "write": 5_400}, "expired", id="too late"),
        pytest.param({"minutes": 0.01, "read": 0, "write": 5_400}, "concurrent", id="too early"),
        pytest.param({"minutes": 1, "read": 0, "write": 0, "uncached": 500}, "below_minimum",
                     id="too short"),
        pytest.param({"minutes": 9, "read": 0, "write": 5_400, "run": "other"}, "new_text",
                     id="nothing known to be shared"),
    ],
)  # fmt: skip
def test_the_second_call_tells_why_it_read_nothing(
    database: duckdb.DuckDBPyConnection, later: dict[str, Any], cause: str
) -> None:
    add(database, 0, 0, 5_000)
    add(database, **later)
    assert causes(database) == {"first_call": 1, cause: 1}


def test_an_hour_is_not_over_after_nine_minutes(database: duckdb.DuckDBPyConnection) -> None:
    add(database, 0, 0, 5_000, long=True)
    add(database, 9, 0, 5_400, long=True)
    assert causes(database) == {"first_call": 1, "prefix_changed": 1}


def test_a_model_that_never_cached_is_said_to_have_none(
    database: duckdb.DuckDBPyConnection,
) -> None:
    for minutes in (0, 1, 2):
        add(database, minutes, 0, 0, 3_000)
    assert causes(database) == {"never_written": 3}


def test_runs_at_the_same_time_do_not_break_each_others_prefix(
    database: duckdb.DuckDBPyConnection,
) -> None:
    for run in ("one", "two"):
        offset = 0.2 if run == "two" else 0.0
        add(database, offset, 4_000, 3_000, run=run)
        add(database, 1 + offset, 7_000, 2_000, run=run)
    assert "prefix_changed" not in causes(database)


def test_a_session_goes_on_in_its_next_trace(database: duckdb.DuckDBPyConnection) -> None:
    add(database, 0, 0, 5_000, session_id="s", run="one")
    add(database, 1, 5_000, 1_000, session_id="s", run="two")
    add(database, 2, 0, 6_500, session_id="s", run="three")
    assert causes(database) == {"first_call": 1, "hit": 1, "prefix_changed": 1}


def test_a_miss_costs_what_was_paid_above_a_read(database: duckdb.DuckDBPyConnection) -> None:
    add(database, 0, 0, 5_000)
    add(database, 1, 5_000, 0)
    add(database, 2, 0, 5_000)
    (missed,) = (row for row in asked(database) if row["cause"] == "prefix_changed")
    assert missed["missed_tokens"] == 5_000
    assert missed["missed_usd"] == pytest.approx(5_000 * (P_WRITE - P_READ) / 1e12)


def test_what_is_read_later_is_not_wasted(database: duckdb.DuckDBPyConnection) -> None:
    add(database, 0, 0, 5_000)
    add(database, 1, 4_000, 1_500)  # of the 5,000 only 4,000 were read; the 1,500 never
    rows = asked(database)
    assert sum(row["unread_tokens"] for row in rows) == 1_000 + 1_500
    wasted = sum(row["unread_usd"] for row in rows)
    assert wasted == pytest.approx(2_500 * (P_WRITE - P_IN) / 1e12)


def test_what_may_still_be_read_is_not_judged(database: duckdb.DuckDBPyConnection) -> None:
    add(database, 6 * 60 - 2, 0, 5_000)
    (row,) = asked(database)
    assert row["unread_tokens"] is None and row["written_tokens"] == 5_000


def test_a_filter_holds(database: duckdb.DuckDBPyConnection) -> None:
    add(database, 0, 0, 5_000)
    add(database, 0, 0, 5_000, run="b", agent_name="b")
    assert {row["agent_name"] for row in asked(database, agent_name=["b"])} == {"b"}
    with pytest.raises(ValueError, match="one of"):
        reuse_query(NOW, NOW, NOW, {"model": ["m"]})


PRICES = {("anthropic", "m"): LifetimePrices(0.1, 1.25, 2.0)}


@pytest.mark.parametrize(("gap", "is_longer_better"), [(2, False), (20, True), (90, False)])
def test_the_lifetime_that_real_gaps_ask_for(
    database: duckdb.DuckDBPyConnection, gap: int, is_longer_better: bool
) -> None:
    for i in range(4):
        is_read = i > 0 and gap <= 5
        add(database, i * gap, 5_000 if is_read else 0, 0 if is_read else 5_000)
    (advice,) = lifetime_advice(asked(database), PRICES)
    assert advice.is_longer_better == is_longer_better
    assert (advice.saving_usd > 0) == is_longer_better, "it lives 5 minutes now"
    written = {2: (1, 1), 20: (4, 1), 90: (4, 4)}[gap]  # with 5 minutes, with an hour
    short, long = (0.005 * ((4 - n) * 0.1 + n * p) for n, p in zip(written, (1.25, 2), strict=True))
    assert advice.short_usd == pytest.approx(short)
    assert advice.long_usd == pytest.approx(long)


def test_the_break_even_is_where_both_cost_the_same() -> None:
    at = 0.75 / 1.9
    row = {"agent_name": "a", "provider": "anthropic", "model": "m", "cached_tokens": 10**9,
           "back_in_5m_tokens": 0, "back_in_1h_tokens": round(at * 10**9), "written_tokens": 1,
           "written_long_tokens": 0, "read_tokens": 0}  # fmt: skip
    (advice,) = lifetime_advice([row], PRICES)
    assert advice.break_even_share == pytest.approx(at) == pytest.approx(advice.late_share)
    assert advice.saving_usd == pytest.approx(0, abs=1e-5)


def test_two_lifetimes_at_once_cost_what_was_counted() -> None:
    row = {"agent_name": "a", "provider": "anthropic", "model": "m", "cached_tokens": 10**6,
           "back_in_5m_tokens": 0, "back_in_1h_tokens": 900_000, "written_tokens": 400_000,
           "written_long_tokens": 100_000, "read_tokens": 600_000}  # fmt: skip
    (advice,) = lifetime_advice([row], PRICES)
    assert advice.now_usd == pytest.approx(0.6 * 0.1 + 0.3 * 1.25 + 0.1 * 2.0)
    assert advice.saving_usd == pytest.approx(advice.now_usd - (0.9 * 0.1 + 0.1 * 2.0))


def test_a_dated_model_has_the_price_of_its_name() -> None:
    listed = {"provider": "p", "above_prompt_tokens": None, "cache_read_usd": 1.0,
              "cache_write_short_usd": 2.0, "cache_write_long_usd": 3.0}  # fmt: skip
    rows = [{**listed, "model": "x"}, {**listed, "model": "x-large", "cache_read_usd": 9.0},
            {**listed, "model": "y", "cache_write_long_usd": None}]  # fmt: skip
    found = prices_of(rows, [("p", "x-large-2026"), ("p", "x-1"), ("p", "y"), ("q", "x")])
    assert {key: price.read for key, price in found.items()} == {
        ("p", "x-large-2026"): 9.0, ("p", "x-1"): 1.0,
    }  # fmt: skip
