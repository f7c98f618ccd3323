"""The change of spend cut into factors: exact, fair to each factor, and robust where something is missing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taximeter_collector.decompose import (
    FACTORS,
    NOTHING,
    ModelUsage,
    PeriodUsage,
    added_up,
    decompose,
    decompose_groups,
    periods,
    usage_query,
)


def usage(calls: int, uncached: int = 0, read: int = 0, write: int = 0, output: int = 0,
          prices: tuple[int, int, int, int] = (10, 1, 12, 50), other: int = 0) -> ModelUsage:  # fmt: skip
    """Return the usage of one model whose prices are in pico-USD a token."""
    costs = [n * p for n, p in zip((uncached, read, write, output), prices, strict=True)]
    return ModelUsage(calls, uncached, read, write, output, sum(costs) + other, *costs)


BASE = PeriodUsage(100, {"m": usage(400, 40_000, 80_000, 8_000, 10_000)})


@pytest.mark.parametrize(
    ("after", "factor"),
    [
        pytest.param(PeriodUsage(150, {"m": usage(600, 60_000, 120_000, 12_000, 15_000)}),
                     "requests", id="more requests of the same kind"),
        pytest.param(PeriodUsage(100, {"m": usage(600, 60_000, 120_000, 12_000, 15_000)}),
                     "calls_per_request", id="longer loops"),
        pytest.param(PeriodUsage(100, {"m": usage(400, 80_000, 160_000, 16_000, 10_000)}),
                     "prompt_tokens_per_call", id="longer prompts with the same cache"),
        pytest.param(PeriodUsage(100, {"m": usage(400, 40_000, 80_000, 8_000, 30_000)}),
                     "output_tokens_per_call", id="longer answers"),
        pytest.param(PeriodUsage(100, {"m": usage(400, 128_000, 0, 0, 10_000)}),
                     "cache_mix", id="a broken cache"),
        pytest.param(PeriodUsage(100, {"m": usage(400, 40_000, 80_000, 8_000, 10_000,
                                                  (20, 2, 24, 100))}), "price", id="a new price"),
        pytest.param(PeriodUsage(100, {"m": usage(400, 40_000, 80_000, 8_000, 10_000, other=777)}),
                     "other_charges", id="searches"),
    ],
)  # fmt: skip
def test_one_cause_is_one_factor(after: PeriodUsage, factor: str) -> None:
    found = decompose(BASE, after)
    assert found.change_pico != 0
    assert found.main_factor == factor
    assert {name: part for name, part in found.parts.items() if part} == {factor: found.change_pico}


def test_a_change_of_model_is_no_change_of_price() -> None:
    after = PeriodUsage(100, {"n": usage(400, 40_000, 80_000, 8_000, 10_000, (20, 2, 24, 100))})
    found = decompose(BASE, after)
    assert found.parts["model_mix"] == found.change_pico == BASE.cost_pico
    assert (found.models_added, found.models_gone) == (["n"], ["m"])


counts = st.integers(0, 10**7)
usages = st.builds(
    usage, st.integers(1, 10**5), counts, counts, counts, counts,
    st.tuples(*[st.integers(0, 10**8)] * 4), st.integers(0, 10**12),
)  # fmt: skip
period_usages = st.builds(
    PeriodUsage, st.integers(0, 10**5), st.dictionaries(st.sampled_from("abc"), usages)
)


@given(period_usages, period_usages)
def test_the_parts_are_the_change_and_turn_around_with_time(
    before: PeriodUsage, after: PeriodUsage
) -> None:
    there, back = decompose(before, after), decompose(after, before)
    assert sum(there.parts.values()) == after.cost_pico - before.cost_pico
    size = max(before.cost_pico, after.cost_pico)
    rounded = len(FACTORS)  # half a pico-USD of each, both ways, may be put on one
    for factor in FACTORS:
        assert there.parts[factor] == pytest.approx(-back.parts[factor], abs=rounded + size * 1e-9)


@given(period_usages, period_usages)
def test_what_rounding_leaves_over_is_next_to_nothing(
    before: PeriodUsage, after: PeriodUsage
) -> None:
    """The correction to whole pico-USD may hide no mistake: without it the parts add up already."""
    from taximeter_collector import decompose as module

    found = module._shapley(
        *module._states(before, after, not (before.requests and after.requests))
    )
    change = after.cost_pico - before.cost_pico
    assert sum(found.values()) == pytest.approx(
        change, abs=1 + 1e-9 * max(before.cost_pico, after.cost_pico)
    )


def test_without_requests_calls_are_the_volume() -> None:
    before = replace(BASE, requests=0)
    after = PeriodUsage(0, {"m": usage(800, 80_000, 160_000, 16_000, 20_000)})
    found = decompose(before, after)
    assert found.counts_calls
    assert found.parts["requests"] == found.change_pico == before.cost_pico


def test_spend_out_of_nothing_is_volume() -> None:
    found = decompose(NOTHING, BASE)
    assert found.parts["requests"] == found.change_pico == BASE.cost_pico
    assert decompose(NOTHING, NOTHING).main_factor is None


def test_changes_of_groups_add_up_and_the_largest_comes_first() -> None:
    before: dict[str | None, PeriodUsage] = {"a": BASE, None: BASE}
    after: dict[str | None, PeriodUsage] = {"a": replace(BASE, requests=50), "new": BASE}
    found = decompose_groups(before, after)
    total = decompose(added_up(before.values()), added_up(after.values()))
    assert sum(group.change_pico for group in found.values()) == total.change_pico == 0
    assert next(iter(found)) == "new" and found[None].after == NOTHING


NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as connection:
        folder = files("taximeter_collector") / "sql"
        connection.execute("set timezone = 'UTC'; attach ':memory:' as rollup; use rollup")
        for table in ("call", "usage_minute"):
            connection.execute((folder / "tables" / f"{table}.sql").read_text())
        connection.execute("use memory")
        for view in ("calls", "usage_minute"):
            connection.execute((folder / "views" / f"{view}.sql").read_text())
        yield connection


def insert(database: duckdb.DuckDBPyConnection, table: str, **values: Any) -> None:
    marks = ", ".join("?" * len(values))
    database.execute(
        f"insert into rollup.{table} ({', '.join(values)}) values ({marks})", list(values.values())
    )


def add_call(database: duckdb.DuckDBPyConnection, hours_ago: float, **values: Any) -> None:
    insert(database, "call", **{
        "trace_id": "t", "span_id": "s", "is_billed": True, "provider": "p", "model": "m",
        "agent_name": "a", "start_time": NOW - hours_ago * HOUR, **values,
    })  # fmt: skip


def asked(
    database: duckdb.DuckDBPyConnection, **kept: Any
) -> tuple[dict[str | None, PeriodUsage], dict[str | None, PeriodUsage]]:
    query = usage_query(NOW - 2 * HOUR, NOW - HOUR, NOW, **kept)
    rows = database.sql(query.sql, params=query.params).to_arrow_table().to_pylist()
    return periods(rows)


def test_what_has_no_price_is_counted_apart(database: duckdb.DuckDBPyConnection) -> None:
    add_call(database, 0.5, total_tokens=70)
    add_call(database, 0.5, cost_pico=100, input_cost_pico=60, output_cost_pico=40,
             uncached_input_tokens=6, output_tokens=2, total_tokens=8)  # fmt: skip
    add_call(database, 0.5, cost_pico=5, output_tokens=9)  # stated, without parts
    add_call(database, 0.5, cost_pico=1, is_billed=False)
    insert(database, "usage_minute", minute=NOW - HOUR, agent_name="a", requests=3)
    before, after = asked(database, group_by="agent_name")
    assert before == {}
    (period,) = after.values()
    assert (period.requests, period.calls, period.cost_pico) == (3, 2, 105)
    assert (period.unpriced_calls, period.unpriced_tokens) == (1, 70)
    assert period.models["p/m"].output_tokens == 2
    assert decompose(NOTHING, period).change_pico == 105


def test_periods_meet_and_filters_hold(database: duckdb.DuckDBPyConnection) -> None:
    for hours_ago in (2.0, 1.5, 1.0, 0.5, 0.0):
        add_call(database, hours_ago, cost_pico=1)
    add_call(database, 0.5, cost_pico=1, agent_name="b")
    add_call(database, 0.5, cost_pico=1, agent_name=None)
    before, after = asked(database, where={"agent_name": ["a", "b"]}, group_by="agent_name")
    assert {name: period.calls for name, period in before.items()} == {"a": 2}
    assert {name: period.calls for name, period in after.items()} == {"a": 2, "b": 1}
    before, after = asked(database)
    assert after[None].calls == 4


def test_what_lies_between_two_periods_is_in_neither(database: duckdb.DuckDBPyConnection) -> None:
    for hours_ago in (2.0, 1.6, 1.5, 1.2, 1.0, 0.5):
        add_call(database, hours_ago, cost_pico=1)
        insert(database, "usage_minute", minute=NOW - hours_ago * HOUR, agent_name="a", requests=1)
    before, after = asked(database, before_end=NOW - 1.5 * HOUR)
    found = [(found[None].calls, found[None].requests) for found in (before, after)]
    assert found == [(2, 2), (2, 2)]


@pytest.mark.parametrize("wrong", [{"group_by": "tool_name"}, {"where": {"model": ["m"]}}])
def test_a_dimension_that_does_not_fit_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="one of"):
        usage_query(NOW, NOW, NOW, **wrong)
