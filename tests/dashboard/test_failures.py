"""What failed: counted by kind and name, over the requests that its links then show."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from taximeter_dashboard import queries
from taximeter_dashboard.narrowing import among_of, failure_parameters
from taximeter_dashboard.queries import Among, RequestFilter
from taximeter_dashboard.scope import Scope, scope_of

from .test_queries import NOW, Database, add_request, database, scope

__all__ = ["database", "scope"]  # fixtures

USD = 10**12
MINUTE = timedelta(minutes=1)


def add(database: Database, table: str, trace_id: str, age: timedelta, **values: Any) -> None:
    row = {"trace_id": trace_id, "span_id": "s", "start_time": NOW - age, **values}
    names, marks = ", ".join(row), ", ".join("?" * len(row))
    database.connection.execute(
        f"insert into rollup.{table} ({names}) values ({marks})", list(row.values())
    )


@pytest.fixture
def failing(database: Database) -> Database:
    """Two failed requests and one that recovered, with their failed calls and tools."""
    add_request(database, "lost", 5 * MINUTE, is_error=True, error_class="throttled",
                cost_pico=2 * USD, agent_name="a", session_id="s-1")  # fmt: skip
    add_request(database, "blind", 5 * MINUTE, is_error=True, cost_pico=None, agent_name="b")
    add_request(database, "saved", 5 * MINUTE, cost_pico=USD, agent_name="a", session_id="s-12")
    bad = {"status": "error", "is_billed": True, "error_class": "throttled", "model": "m"}
    add(database, "call", "lost", 4 * MINUTE, **bad, is_last_attempt=False)
    add(database, "call", "lost", 4 * MINUTE, **bad, is_last_attempt=True)
    add(database, "call", "saved", 4 * MINUTE, **bad, is_last_attempt=False)
    add(database, "call", "saved", 4 * MINUTE, **{**bad, "is_billed": False})
    add(database, "call", "saved", 4 * MINUTE, **{**bad, "status": "ok"})
    add(database, "tool_call", "saved", 4 * MINUTE, is_error=True, tool_name="search")
    add(
        database, "tool_call", "saved", 4 * MINUTE, is_error=True, tool_name="x", is_delegation=True
    )
    add(database, "tool_call", "lost", 4 * MINUTE, is_error=False, tool_name="search")
    return database


def test_failures_are_counted_once_with_what_became_of_them(
    failing: Database, scope: Scope
) -> None:
    rows = {(r["what"], r["name"]): r for r in queries.failures(failing, scope, "class")}
    call = rows["call", "throttled"]
    assert (call["failures"], call["retried"], call["requests"]) == (3, 2, 2)
    assert (call["recovered_requests"], call["failed_usd"], call["share"]) == (1, 2.0, 1.0)
    request = rows["request", "unknown"]
    assert (request["failures"], request["share"], request["retried"]) == (1, 0.5, None)
    assert (request["failed_usd"], request["unpriced_requests"]) == (None, 1)
    assert rows["tool", "unknown"]["recovered_requests"] == 1


@pytest.mark.parametrize("dimension", ["class", "type", "tool", "model", "agent"])
def test_each_row_leads_to_as_many_requests_as_it_counts(
    failing: Database, scope: Scope, dimension: str
) -> None:
    rows = queries.failures(failing, scope, dimension)
    assert rows
    for row in rows:
        among = among_of(failure_parameters(row["what"], dimension, row["name"]))
        number, _ = queries.request_page(failing, scope, RequestFilter(among=among), 1, 50)
        assert number == row["requests"], row


def test_failures_follow_the_filters_of_the_requests(failing: Database) -> None:
    other = scope_of(NOW, "1h", filters={"agent": ["b"]})
    assert {r["what"] for r in queries.failures(failing, other, "class")} == {"request"}
    spent = queries.spent_on_failed(failing, other)
    assert (spent["requests"], spent["cost_usd"], spent["unpriced_requests"]) == (1, None, 1)


@pytest.mark.parametrize(
    ("among", "found"),
    [
        (Among(session="s-1"), ["lost"]),
        (Among(tool="search"), ["lost", "saved"]),
        (Among(tool="search", failed="tool", names=(("tool", "search"),)), ["saved"]),
        (Among(failed="call"), ["lost", "saved"]),
        (Among(session="' or true --"), []),
        (Among(failed="request", names=(("tool", "is of no request"),)), ["blind", "lost"]),
    ],
    ids=["session", "tool", "failed tool", "failed call", "injection", "unknown dimension"],
)
def test_the_list_is_narrowed_by_exact_names(
    failing: Database, scope: Scope, among: Among, found: list[str]
) -> None:
    _, rows = queries.request_page(failing, scope, RequestFilter(among=among), 1, 50)
    assert sorted(row["request_id"] for row in rows) == found
