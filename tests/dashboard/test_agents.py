"""What the Agents pages ask and conclude: runs in scope, versions compared, and how sure it is."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest

from taximeter_dashboard import category_charts, queries
from taximeter_dashboard.scope import Scope, scope_of
from taximeter_dashboard.significance import Ratio, certainty, mean, rate
from taximeter_dashboard.version_rows import comparison_rows
from taximeter_dashboard.views.agents import loop_classes

from .test_queries import NOW, Database, add_request, database, scope

__all__ = ["database", "scope"]  # fixtures

USD = 10**12


def add(database: Database, table: str, age: timedelta, **values: Any) -> None:
    row = {"trace_id": "t", "span_id": "s", "start_time": NOW - age, **values}
    names, marks = ", ".join(row), ", ".join("?" * len(row))
    database.connection.execute(
        f"insert into rollup.{table} ({names}) values ({marks})", list(row.values())
    )


MINUTE = timedelta(minutes=1)


def test_runs_follow_the_user_of_their_request(database: Database) -> None:
    for user in ("ann", "bob"):
        add_request(database, user, 5 * MINUTE, user_id=user)
        add(database, "agent_run", 4 * MINUTE, trace_id=user, agent_name="a", loop_length=3,
            termination_reason="completed")  # fmt: skip
    add(database, "agent_run", 90 * MINUTE, trace_id="ann", agent_name="a", loop_length=9)
    everyone, ann = (scope_of(NOW, "1h", filters=f) for f in ({}, {"user": ["ann"]}))
    assert queries.loop_lengths(database, everyone) == {3: 2}
    assert queries.loop_lengths(database, ann) == {3: 1}
    assert queries.endings_by_agent(database, ann) == {"a": {"completed": 1}}
    assert queries.run_lengths(database, ann) == {"a": 3.0}


def test_thrash_is_of_the_runs_in_scope(database: Database, scope: Scope) -> None:
    for repeats, cost in ((0, 0), (4, 2 * USD), (1, None)):
        add(database, "agent_run", MINUTE, max_repeats=repeats, thrash_cost_pico=cost,
            max_consecutive_repeat=repeats + 1)  # fmt: skip
    row = queries.thrash(database, scope)
    assert (row["runs"], row["thrashing_runs"], row["unpriced_runs"]) == (3, 2, 1)
    assert (row["cost_usd"], row["longest"]) == (2.0, 5)


def test_a_limit_is_what_completed_runs_kept(database: Database, scope: Scope) -> None:
    for length, reason in ((3, "completed"), (5, "completed"), (40, "iteration_cap")):
        add(database, "agent_run", MINUTE, loop_length=length, termination_reason=reason)
    add(database, "agent_run", MINUTE, termination_reason="completed")
    assert queries.kept_iterations(database, scope) == {"completed": 2, "iterations": 5}
    assert queries.kept_iterations(database, scope.previous)["completed"] == 0


def test_a_tool_has_errors_repeats_and_time(database: Database, scope: Scope) -> None:
    for i in range(4):
        add(database, "tool_call", MINUTE, tool_name="search", agent_name="a", duration_ms=100 * i,
            consecutive_repeat=i, is_same_result=i > 2, is_same_error=i == 2)  # fmt: skip
    add(database, "tool_call", MINUTE, tool_name="search", duration_ms=9_000, is_delegation=True)
    database.connection.execute(
        "insert into rollup.usage_minute (minute, tool_name, tool_calls, failed_tool_calls,"
        " repeated_tool_calls) values (?, 'search', 4, 1, 2)", [NOW - MINUTE],
    )  # fmt: skip
    (tool,) = queries.tools(database, scope)
    assert (tool["tool_error_rate"], tool["tool_repeat_ratio"]) == (0.25, 0.5)
    assert (tool["tool_error_rate__den"], tool["total_ms"]) == (4, 600)
    assert (tool["p50_ms"], tool["p95_ms"]) == (100, 300)
    assert (tool["longest_repeat"], tool["idle_repeats"]) == (3, 2)


def test_versions_are_compared_over_requests_and_the_newest_is_first(database: Database) -> None:
    for version, age, cost in (("1", 50, 1), ("1", 40, 3), ("2", 10, 8)):
        trace = f"{version}-{age}"
        add_request(database, trace, age * MINUTE, agent_name="a", agent_version=version,
                    cost_pico=cost * USD, loop_length=cost, duration_ms=5.0)  # fmt: skip
        add(database, "agent_run", age * MINUTE, trace_id=trace, agent_name="a",
            agent_version=version)  # fmt: skip
        add(database, "call", age * MINUTE, trace_id=trace, agent_name="a", agent_version=version,
            is_billed=True, cache_reported=True, prompt_tokens=100, cache_read_tokens=age)  # fmt: skip
    add(database, "agent_run", timedelta(days=3), agent_name="a", agent_version="1")
    chosen = scope_of(NOW, "1h", filters={"agent": ["a"]})
    counts_requests, (new, old) = queries.versions(database, chosen)
    assert counts_requests
    assert (new.name, old.name, old.units) == ("2", "1", 2)
    assert old.first_seen == NOW - timedelta(days=3)
    assert (old.cost_usd.value, new.cost_usd.value) == (2.0, 8.0)
    assert (old.cache_hit_ratio.value, new.cache_hit_ratio.value) == (0.45, 0.1)
    rows = comparison_rows(old, new, "requests")
    assert rows[1][:4] == ["Cost per request", "$2.00", "$8.00", "+300%"]
    assert {row[4] for row in rows[1:]} == {"too few"}


def test_a_sub_agent_is_compared_over_runs(database: Database) -> None:
    add(database, "agent_run", MINUTE, agent_name="sub", agent_version="1", cost_pico=USD,
        termination_reason="iteration_cap")  # fmt: skip
    counts_requests, (version,) = queries.versions(
        database, scope_of(NOW, "1h", filters={"agent": ["sub"]})
    )
    assert not counts_requests
    assert (version.units, version.error_rate.value) == (1, 1.0)


def test_a_request_is_found_by_the_tool_it_used(database: Database, scope: Scope) -> None:
    for name, tool in (("a", "run_tests"), ("b", "search")):
        add_request(database, name, MINUTE)
        add(database, "tool_call", MINUTE, trace_id=name, tool_name=tool)
    _, rows = queries.request_page(database, scope, queries.RequestFilter(text="Run_T"), 1, 10)
    assert [row["request_id"] for row in rows] == ["a"]


def sample(chance: random.Random, n: int, centre: float) -> Ratio:
    values = [chance.expovariate(1 / centre) for _ in range(n)]
    return mean(n, sum(values), sum(v * v for v in values))


def test_chance_alone_is_seldom_likely_and_hardly_ever_sure() -> None:
    chance = random.Random(3)
    said = [certainty(sample(chance, 200, 2.0), sample(chance, 80, 2.0)) for _ in range(2_000)]
    assert said.count("sure") / 2_000 < 0.006
    assert said.count("likely") / 2_000 < 0.09


def test_a_real_difference_is_found() -> None:
    chance = random.Random(4)
    said = [certainty(sample(chance, 300, 1.0), sample(chance, 300, 2.0)) for _ in range(200)]
    assert said.count("sure") > 190


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [
        (rate(0, 9), rate(9, 9), "too few"),
        (rate(0, 0), rate(9, 90), ""),
        (rate(5, 100), rate(5, 100), "may be chance"),
        (rate(0, 50), rate(50, 50), "sure"),
    ],
)
def test_words_for_certainty(before: Ratio, after: Ratio, word: str) -> None:
    assert certainty(before, after) == word


def test_one_long_request_is_one_request() -> None:
    """Thousand tokens of one request are no thousand observations."""
    long = Ratio(20, 20_000, 40_000, 20_000**2, 20_000 * 40_000, 40_000**2)
    even = Ratio(20, 20_000, 40_000, 20 * 1_000**2, 20 * 1_000 * 2_000, 20 * 2_000**2)
    uneven = Ratio(20, 20_000, 40_000, 20_000**2, 20_000 * 2_000, 20 * 2_000**2)
    assert even.variance == pytest.approx(0) and long.variance == pytest.approx(0)
    assert (uneven.variance or 0) > 0.1


@pytest.mark.parametrize(("highest", "ends_at"), [(96.0, 100), (40.0, None)], ids=["near", "far"])
def test_an_axis_of_shares_ends_at_all_of_them(highest: float, ends_at: int | None) -> None:
    shares = {"now": [highest, 100 - highest]}
    spec = category_charts.histogram(
        ["1", "2"], shares, colors=["#000"], y_format="{value}%", tip="%.1f%%", y_max=100
    )
    assert spec["yAxis"].get("max") == ends_at


def test_the_longest_loops_keep_their_label_on_a_phone() -> None:
    """Twelve classes have some 23 pixels each there: room for three characters a line, and "65–" is the widest."""
    names, shares = loop_classes({"now": {1: 9, 90: 1}})
    spec = category_charts.histogram(
        names, shares, colors=["#000"], y_format="{value}%", tip="%.1f%%"
    )
    labels = spec["xAxis"]["data"]
    assert labels[-1] == "65–\n128"
    assert max(len(line) for label in labels for line in label.split("\n")) == 3
