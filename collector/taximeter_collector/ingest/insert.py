"""Rows of one group commit → the tables of its day, by signal; runs inside the writer's transaction."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

import duckdb

from taximeter_collector.dialects import metric_names
from taximeter_collector.ingest.content import with_content
from taximeter_collector.ingest.decode import Rows, Signal, as_stored, resources_as_stored
from taximeter_collector.ingest.metric_points import metric_points
from taximeter_collector.ingest.normalise import store_events, store_points, store_spans
from taximeter_collector.sql_files import read_sql


def insert_spans(
    cursor: duckdb.DuckDBPyConnection,
    rows: Rows,
    day: str,
    batch: int,
    received_at: datetime,
) -> dict[int, int]:
    """Store the spans; return the requests with spans rejected for their ids, and how many."""
    stored = store_spans(cursor, rows, day, batch, received_at)
    if stored == rows.items.num_rows:
        return {}
    return dict(cursor.execute(read_sql("ingest/rejected_spans")).fetchall())


def insert_metrics(
    cursor: duckdb.DuckDBPyConnection,
    rows: Rows,
    day: str,
    batch: int,
    received_at: datetime,
) -> dict[int, int]:
    """Store the metrics as sent, and the points that count tokens or cost as such."""
    _store_plain(cursor, rows, "ingest/store_metrics", day, batch, received_at)
    points = metric_points(rows, metric_names(cursor))
    if points.items.num_rows:
        points = rows.redactor.points(cursor, points) if rows.redactor else points
        store_points(cursor, points, day, batch, received_at)
    return {}


def insert_logs(
    cursor: duckdb.DuckDBPyConnection,
    rows: Rows,
    day: str,
    batch: int,
    received_at: datetime,
) -> dict[int, int]:
    """Store the records as sent, and those that tell of calls, tools and turns as such."""
    rows = with_content(cursor, rows)
    _store_plain(cursor, rows, "ingest/store_logs", day, batch, received_at)
    store_events(cursor, rows, day, batch, received_at)
    return {}


def _store_plain(
    cursor: duckdb.DuckDBPyConnection,
    rows: Rows,
    statement: str,
    day: str,
    batch: int,
    received_at: datetime,
) -> None:
    cursor.register("in_item", as_stored(rows))
    cursor.register("in_resource_attribute", resources_as_stored(rows))
    sql = read_sql(statement).replace("{day}", day)
    cursor.execute(sql, {"batch": batch, "received_at": received_at})


INSERTS: Final[
    dict[
        Signal,
        Callable[[duckdb.DuckDBPyConnection, Rows, str, int, datetime], dict[int, int]],
    ]
] = {
    "traces": insert_spans,
    "logs": insert_logs,
    "metrics": insert_metrics,
}
"""How rows of each signal are stored: cursor, rows, day, batch, time → rejected items by request."""
