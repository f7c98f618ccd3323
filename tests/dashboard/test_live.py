"""The live tail's spans: newest first, narrowed by plain text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Any

import pytest

from taximeter_dashboard import queries

from .test_queries import Database, database

__all__ = ["database"]  # fixture

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def add(database: Database, span_id: str, received_at: datetime, **values: Any) -> None:
    row = {"batch": 1, "trace_id": "t", "span_id": span_id, "received_at": received_at, **values}
    names, marks = ", ".join(row), ", ".join("?" * len(row))
    database.connection.execute(
        f"insert into span ({names}) values ({marks})", list(row.values())
    )  # fmt: skip


@pytest.fixture
def spans(database: Database) -> Database:
    """Three spans of the last minutes and one of an hour ago, in a table of the view's columns."""
    table = (files("taximeter_collector") / "sql" / "tables" / "span.sql").read_text()
    database.connection.execute(table)
    for span_id, minutes, values in (
        ("a", 3, {"name": "chat 100%", "status": "ok"}),
        ("b", 2, {"name": "search", "status": "error", "agent_name": "Scout"}),
        ("c", 1, {"name": "chat", "status": "ok"}),
        ("d", 60, {"name": "old", "status": "ok"}),
    ):
        add(database, span_id, NOW - timedelta(minutes=minutes), **values)
    database.connection.execute("create view shown_span as from span")
    database.connection.execute(
        (files("taximeter_collector") / "sql" / "views" / "spans.sql").read_text()
    )
    return database


SINCE = NOW - timedelta(minutes=10)


@pytest.mark.parametrize(
    ("text", "only_errors", "found"),
    [
        ("", False, ["c", "b", "a"]),
        ("", True, ["b"]),
        ("CHAT", False, ["c", "a"]),
        ("%", False, ["a"]),
        ("scout", False, ["b"]),
        ("scout", True, ["b"]),
        ("' or true --", False, []),
    ],
)
def test_the_tail_shows_what_matches_newest_first(
    spans: Database, text: str, only_errors: bool, found: list[str]
) -> None:
    rows = queries.newest_spans(spans, SINCE, text, only_errors=only_errors)
    assert [row["span_id"] for row in rows] == found


def test_the_tail_has_an_end(spans: Database) -> None:
    assert [row["span_id"] for row in queries.newest_spans(spans, SINCE, limit=1)] == ["c"]
