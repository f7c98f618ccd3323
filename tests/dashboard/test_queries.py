"""Queries against a real DuckDB that holds the collector's tables and views."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Any

import duckdb
import pytest

from taximeter_dashboard import queries
from taximeter_dashboard.queries import RequestFilter
from taximeter_dashboard.scope import Scope, scope_of

NOW = datetime(2026, 11, 24, 11, 42, tzinfo=UTC)


class Database:
    """Answers from an in-memory DuckDB as the read API would."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection

    def rows(self, sql: str, params: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        relation = self.connection.cursor().sql(sql, params=dict(params or {}))
        rows: list[dict[str, Any]] = relation.to_arrow_table().to_pylist()
        return rows


def add_request(database: Database, request_id: str, age: timedelta, **values: Any) -> None:
    row = {"request_id": request_id, "start_time": NOW - age, "is_error": False, **values}
    names = ", ".join(row)
    marks = ", ".join("?" * len(row))
    database.connection.execute(
        f"insert into rollup.request ({names}) values ({marks})", list(row.values())
    )


@pytest.fixture
def database() -> Iterator[Database]:
    with duckdb.connect(":memory:") as connection:
        connection.execute("set timezone = 'UTC'")
        connection.execute("attach ':memory:' as rollup")
        folder = files("taximeter_collector") / "sql"
        connection.execute("use rollup")
        for table in ("request", "call", "tool_call", "agent_run", "usage_minute"):
            connection.execute((folder / "tables" / f"{table}.sql").read_text())
        connection.execute("use memory")
        for view in ("requests", "calls", "tool_calls", "agent_runs", "usage_minute"):
            connection.execute((folder / "views" / f"{view}.sql").read_text())
        yield Database(connection)


@pytest.fixture
def scope() -> Scope:
    return scope_of(NOW, "1h")


def test_an_empty_store_has_unknown_totals(database: Database, scope: Scope) -> None:
    row = queries.totals(database, scope, ["cost_per_request_usd", "error_rate"])
    assert row["cost_per_request_usd"] is None
    assert row["error_rate"] is None


def test_a_bucket_without_requests_is_unknown(database: Database, scope: Scope) -> None:
    add_request(database, "a", timedelta(minutes=10), loop_length=3)
    series = queries.over_time(database, scope, ["loop_length_p95"])
    values = series.values["loop_length_p95"]
    assert len(values) == len(series.times) == 60
    assert [v for v in values if v is not None] == [3]


def test_a_limit_says_more_than_the_error_it_raised(database: Database, scope: Scope) -> None:
    for i, (reason, error) in enumerate(
        [("iteration_cap", "internal"), ("error", "throttled"), ("error", None)]
    ):
        add_request(database, str(i), timedelta(minutes=i + 1), is_error=True,
                    termination_reason=reason, error_class=error)  # fmt: skip
    causes = queries.failures_by_cause(database, scope).values
    assert set(causes) == {"iteration_cap", "throttled", "unknown"}


def test_what_has_no_colour_is_added_up(database: Database, scope: Scope) -> None:
    for i in range(10):
        add_request(database, str(i), timedelta(minutes=5), is_error=True, error_class=f"e{i}",
                    termination_reason="error")  # fmt: skip
    causes = queries.failures_by_cause(database, scope).values
    assert len(causes) == 8
    assert sum(v or 0 for v in causes[queries.OTHERS]) == 3


def test_pages_and_sorting_are_the_databases(database: Database, scope: Scope) -> None:
    for i in range(7):
        add_request(database, str(i), timedelta(minutes=i + 1), cost_pico=i * 10**12)
    wanted = RequestFilter(sort="cost")
    number, first = queries.request_page(database, scope, wanted, 1, 3)
    _, last = queries.request_page(database, scope, wanted, 3, 3)
    assert number == 7
    assert [row["request_id"] for row in first] == ["6", "5", "4"]
    assert [row["request_id"] for row in last] == ["0"]


def test_a_request_without_a_price_sorts_last(database: Database, scope: Scope) -> None:
    add_request(database, "unknown", timedelta(minutes=1), cost_pico=None)
    add_request(database, "cheap", timedelta(minutes=2), cost_pico=1)
    for is_descending in (True, False):
        wanted = RequestFilter(sort="cost", is_descending=is_descending)
        _, rows = queries.request_page(database, scope, wanted, 1, 10)
        assert rows[-1]["request_id"] == "unknown"


@pytest.mark.parametrize("text", ["100%", "_", "' or 1=1 --", '"', "%"])
def test_a_search_means_what_was_typed(database: Database, scope: Scope, text: str) -> None:
    add_request(database, "plain", timedelta(minutes=1), name="hello world")
    add_request(database, "odd", timedelta(minutes=1), name=f"it says {text} here")
    number, rows = queries.request_page(database, scope, RequestFilter(text=text), 1, 10)
    assert [row["request_id"] for row in rows] == ["odd"] and number == 1


def test_a_search_looks_into_models(database: Database, scope: Scope) -> None:
    add_request(database, "a", timedelta(minutes=1), models=["gpt-5", "claude"])
    add_request(database, "b", timedelta(minutes=1), models=None)
    number, _ = queries.request_page(database, scope, RequestFilter(text="Claude"), 1, 10)
    assert number == 1


def test_the_scope_filters_the_list(database: Database) -> None:
    add_request(database, "a", timedelta(minutes=1), agent_name="x")
    add_request(database, "b", timedelta(minutes=1), agent_name="y")
    scope = scope_of(NOW, "1h", filters={"agent": ["x"]})
    _, rows = queries.request_page(database, scope, RequestFilter(), 1, 10)
    assert [row["request_id"] for row in rows] == ["a"]


def test_an_unknown_order_falls_back_to_time(database: Database, scope: Scope) -> None:
    wanted = RequestFilter(sort="cost_pico; drop table request")
    assert queries.request_page(database, scope, wanted, 1, 10) == (0, [])
