"""What the collector is told of budgets, so that agents can be stopped by them."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taximeter.budgets.stops import MOST_STOPS, stops_of
from taximeter_alerts.fleet import Publisher, published, staleness
from taximeter_alerts.judge.budgets import BudgetSpend, BudgetStatus, Spend, status_of
from taximeter_alerts.rules.book import RuleBook
from taximeter_alerts.rules.rules_file import parse_rules
from taximeter_collector.client import QueryError
from taximeter_collector.metrics import METRICS

RULES = (
    "version: 1\ndefaults: false\nrules:\n"
    "  - {name: tenants, watch: cost_usd, by: tenant, where: {agent_name: [web, deep]},"
    ' when: "budget $10 per day", on_exhausted: %s}\n'
)
AT = datetime(2026, 11, 20, 14, 0, tzinfo=UTC)


def book_of(on_exhausted: str = "stop") -> RuleBook:
    return parse_rules(RULES % on_exhausted, "alerts.yaml", {})


def status(book: RuleBook, usd: float, tenant: str | None = "acme") -> BudgetStatus:
    budget = book.rules[0].budget
    assert budget is not None
    labels = {"tenant": tenant}
    spend = BudgetSpend({"g": (labels, (Spend(usd),) * 3)}, {})
    return status_of(budget, labels, "g", spend, AT)


def told(book: RuleBook, *statuses: BudgetStatus, seconds: float = 70.0) -> dict[str, Any]:
    known = staleness(book, statuses, AT, AT + timedelta(seconds=seconds))
    return published(statuses, known)


def test_a_budget_that_is_used_up_is_told_with_the_traffic_that_it_is_of() -> None:
    book = book_of()
    assert told(book, status(book, 10.0), status(book, 9.99, "other")) == {
        "as_of": "2026-11-20T14:00:00.000000Z",
        "age_s": 70.0,
        "stale_after_s": 435.0,
        "stops": [
            {
                "budget": "tenants",
                "where": {"agent_name": ["web", "deep"]},
                "labels": {"tenant": "acme"},
                "amount_usd": 10.0,
                "used_usd": 10.0,
                "period": "day",
                "period_end": "2026-11-21T00:00Z",
                "ends_after_s": 36_000.0,
            }
        ],
    }


def test_a_budget_that_only_notifies_stops_nobody() -> None:
    book = book_of("notify")
    assert told(book, status(book, 99.0))["stops"] == []


def test_calls_without_a_tenant_have_a_budget_too() -> None:
    book = book_of()
    (stop,) = told(book, status(book, 99.0, None))["stops"]
    assert stop["labels"] == {"tenant": None}


def test_agents_are_told_of_those_that_are_passed_the_furthest(
    caplog: pytest.LogCaptureFixture,
) -> None:
    book = book_of()
    statuses = [status(book, 10.0 + n, f"t{n}") for n in range(MOST_STOPS + 1)]
    said = told(book, *statuses)
    assert {*(row["labels"]["tenant"] for row in said["stops"])} == {
        f"t{n}" for n in range(1, MOST_STOPS + 1)
    }
    assert "agents are told of 10000" in caplog.text
    stops_of(said)


def test_every_dimension_of_a_budget_is_known_to_agents() -> None:
    from taximeter.budgets.stops import DIMENSIONS

    assert {*METRICS["cost_usd"].dimensions} == {*DIMENSIONS}


class Collector:
    def __init__(self) -> None:
        self.said: list[dict[str, Any]] = []
        self.error: QueryError | None = None

    def publish_budgets(self, budgets: dict[str, Any]) -> None:
        if self.error is not None:
            raise self.error
        self.said.append(budgets)


def test_nothing_is_told_before_the_first_evaluation_and_then_at_each_tick() -> None:
    """A collector that was started again knows them a tick later."""
    book, collector = book_of(), Collector()
    budgets: list[list[BudgetStatus] | None] = [None]
    publisher = Publisher(book, collector, lambda: budgets[0], lambda: AT, lambda: AT)
    publisher.tick()
    assert collector.said == []
    budgets[0] = []
    publisher.tick()
    budgets[0] = [status(book, 99.0)]
    publisher.tick()
    publisher.tick()
    assert [len(said["stops"]) for said in collector.said] == [0, 1, 1]
    assert collector.said[0]["as_of"].startswith("2026-11-20T14:00")


def test_a_collector_that_cannot_be_told_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    book, collector = book_of(), Collector()
    publisher = Publisher(book, collector, list, lambda: AT, lambda: AT)
    collector.error = QueryError("unreachable", "No collector answers.")
    with caplog.at_level(logging.WARNING):
        publisher.tick()
        publisher.tick()
        assert caplog.text.count("agents can't be told of budgets: No collector answers.") == 1
        collector.error = None
        publisher.tick()
        collector.error = QueryError("unreachable", "No collector answers.")
        publisher.tick()
    assert caplog.text.count("agents can't be told of budgets") == 2
