"""Sessions and users: added up from the requests that their links show."""

from __future__ import annotations

from datetime import timedelta
from typing import cast

import pytest

from taximeter_dashboard import queries
from taximeter_dashboard.queries import Among, PeopleFilter, RequestFilter, Who
from taximeter_dashboard.scope import Scope, scope_of

from .test_queries import NOW, Database, add_request, database, scope

__all__ = ["database", "scope"]  # fixtures

USD = 10**12
MINUTE = timedelta(minutes=1)


@pytest.fixture
def busy(database: Database) -> Database:
    """Session s-1 of ann (one failed, one unpriced), s-10 of bob, and a request of nobody."""
    add_request(database, "1", 9 * MINUTE, session_id="s-1", user_id="ann", cost_pico=2 * USD,
                agent_name="a")  # fmt: skip
    add_request(database, "2", 5 * MINUTE, session_id="s-1", user_id="ann", cost_pico=None,
                is_error=True, agent_name="b")  # fmt: skip
    add_request(database, "3", 7 * MINUTE, session_id="s-10", user_id="bob", cost_pico=3 * USD)
    add_request(database, "4", 7 * MINUTE, cost_pico=7 * USD)
    add_request(database, "5", 90 * MINUTE, session_id="s-1", user_id="ann", cost_pico=9 * USD)
    return database


def test_a_session_is_the_sum_of_its_requests(busy: Database, scope: Scope) -> None:
    number, rows = queries.people_page(busy, scope, "session", PeopleFilter(), 1, 10)
    assert (number, [row["name"] for row in rows]) == (2, ["s-10", "s-1"])
    row = rows[1]
    assert (row["requests"], row["cost_usd"], row["unpriced_requests"]) == (2, 2.0, 1)
    assert (row["cost_per_request_usd"], row["error_rate"]) == (2.0, 0.5)
    assert (row["agents"], row["others"]) == (["a", "b"], ["ann"])
    assert row["last_seen"] == NOW - 5 * MINUTE


@pytest.mark.parametrize("who", ["session", "user"])
def test_a_row_leads_to_as_many_requests_as_it_counts(
    busy: Database, scope: Scope, who: str
) -> None:
    _, rows = queries.people_page(busy, scope, cast(Who, who), PeopleFilter(), 1, 10)
    for row in rows:
        narrowed = scope_of(NOW, "1h", filters={"user": [row["name"]]} if who == "user" else {})
        among = Among(session=row["name"] if who == "session" else "")
        number, _ = queries.request_page(busy, narrowed, RequestFilter(among=among), 1, 50)
        assert number == row["requests"]


def test_the_database_sorts_searches_and_cuts(busy: Database, scope: Scope) -> None:
    def names(wanted: PeopleFilter, page: int = 1, size: int = 10) -> list[str]:
        return [r["name"] for r in queries.people_page(busy, scope, "user", wanted, page, size)[1]]

    assert names(PeopleFilter(sort="errors")) == ["ann", "bob"]
    assert names(PeopleFilter(sort="seen", is_descending=False)) == ["bob", "ann"]
    assert names(PeopleFilter(sort="cost; drop table request")) == ["bob", "ann"]
    assert names(PeopleFilter(text="AN")) == ["ann"]
    assert names(PeopleFilter(text="%")) == []
    assert names(PeopleFilter(), page=2, size=1) == ["ann"]


def test_totals_leave_out_what_names_nobody(busy: Database, scope: Scope) -> None:
    row = queries.people_totals(busy, scope, "session")
    assert (row["people"], row["cost_each_usd"], row["requests_each"]) == (2, 2.5, 1.5)
    assert row["unnamed_ratio"] == 0.25
    series = queries.people_over_time(busy, scope, "session")
    assert [v for v in series.values["people"] if v is not None] == [1, 1, 1]


def test_an_empty_window_is_unknown(database: Database, scope: Scope) -> None:
    row = queries.people_totals(database, scope, "user")
    assert (row["people"], row["cost_each_usd"], row["unnamed_ratio"]) == (0, None, None)
