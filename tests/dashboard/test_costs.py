"""What the Costs page asks and draws: shares, the table by two dimensions, the steps of a change."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from taximeter_alerts.rules.rules_file import parse_rules
from taximeter_collector.decompose import ModelUsage, PeriodUsage, decompose
from taximeter_dashboard import category_charts, queries
from taximeter_dashboard.category_charts import Stage
from taximeter_dashboard.cost_panels import A_BUDGET
from taximeter_dashboard.scope import Scope

from .test_queries import NOW, Database, database, scope

__all__ = ["database", "scope"]  # fixtures

USD = 10**12


def add_minute(database: Database, age: timedelta, **values: Any) -> None:
    row = {"minute": NOW - age, **values}
    names, marks = ", ".join(row), ", ".join("?" * len(row))
    database.connection.execute(
        f"insert into rollup.usage_minute ({names}) values ({marks})", list(row.values())
    )


def test_shares_are_of_spend_and_of_requests(database: Database, scope: Scope) -> None:
    for agent, usd, requests in (("dear", 3, 10), ("cheap", 1, 30), ("helper", 4, 0)):
        add_minute(database, timedelta(minutes=5), agent_name=agent, cost_pico=usd * USD, tokens=9,
                   priced_tokens=9, requests=requests)  # fmt: skip
    add_minute(database, timedelta(minutes=65), agent_name="dear", cost_pico=2 * USD)
    helper, dear, cheap = queries.spend_by(database, scope, "agent_name")
    assert (dear["spend_share"], dear["use_share"], dear["before_usd"]) == (3 / 8, 0.25, 2.0)
    assert (cheap["spend_share"], cheap["use_share"]) == (1 / 8, 0.75)
    assert helper["use_share"] is None, "a sub-agent starts no request"


def test_the_table_adds_up_what_it_has_no_room_for(database: Database, scope: Scope) -> None:
    for i in range(20):
        add_minute(database, timedelta(minutes=5), agent_name=f"a{i:02}", model=f"m{i % 9}",
                   cost_pico=(i + 1) * USD)  # fmt: skip
    matrix = queries.spend_matrix(database, scope, "agent_name", "model")
    assert (len(matrix.rows), len(matrix.columns)) == (13, 7)
    assert sum(matrix.cells.values()) == sum(range(1, 21))
    assert matrix.rows[0] == "a19" and matrix.rows[-1] == queries.OTHERS


def test_only_models_with_unpriced_tokens_are_listed(database: Database, scope: Scope) -> None:
    for model, priced in (("known", 10), ("part", 5), ("never", 0)):
        add_minute(database, timedelta(minutes=5), provider="p", model=model, tokens=10,
                   priced_tokens=priced)  # fmt: skip
    assert {row["model"] for row in queries.unpriced_in(database, scope)} == {"part", "never"}


def test_the_steps_lead_from_one_total_to_the_other() -> None:
    from taximeter_dashboard.views.costs import stages

    before = PeriodUsage(10, {"m": ModelUsage(calls=20, cost_pico=4 * USD)})
    after = PeriodUsage(10, {"m": ModelUsage(calls=40, cost_pico=9 * USD)})
    first, *steps, last = stages(decompose(before, after))
    assert (first.value, last.value) == (4.0, 9.0)
    assert sum(step.value for step in steps) == pytest.approx(5.0)


@pytest.mark.parametrize(
    "values", [[3, 2, -4], [1, -4, 6], [0, -2, 1]], ids=["down", "through zero", "below zero"]
)
def test_a_waterfall_is_drawn_where_the_amounts_lie(values: list[float]) -> None:
    total = sum(values)
    bars = [Stage("Before", values[0], "", is_total=True)]
    bars += [Stage(str(i), value, "") for i, value in enumerate(values[1:])]
    spec = category_charts.waterfall([*bars, Stage("Now", total, "", is_total=True)])
    json.dumps(spec, allow_nan=False)
    blank, above, below = spec["series"]
    level = 0.0
    for i, value in enumerate(values):
        start, level = level, level + value
        up, down, gap = above["data"][i]["value"], below["data"][i]["value"], blank["data"][i]
        low = (min(0, gap)) + down if down else max(gap, 0)
        high = (max(0, gap)) + up if up else min(gap, 0)
        assert (low, high) == (min(start, level), max(start, level))


def test_the_budget_that_the_page_proposes_is_one() -> None:
    """Who copies the line into alerts.yaml gets a budget."""
    text = f"version: 1\ndefaults: false\nrules:\n  {A_BUDGET}\n"
    (budget,) = {rule.budget for rule in parse_rules(text, "alerts.yaml", {}).rules if rule.budget}
    assert (budget.name, budget.amount_usd, budget.period) == ("all", 500.0, "week")
