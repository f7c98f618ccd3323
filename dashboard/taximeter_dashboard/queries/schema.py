"""What a person can ask for: the published views with their columns, and the metrics with their SQL."""

from __future__ import annotations

from typing import Final

from taximeter_dashboard.queries.core import Reads, Row

VIEWS: Final = (
    "requests", "calls", "tool_calls", "agent_runs", "usage_minute", "spans", "prices",
    "unpriced_models", "price_drift", "repricings", "repriced_calls", "metric_definitions",
    "dialect_rules", "ingest_status",
)  # fmt: skip


def view_columns(reader: Reads) -> dict[str, list[tuple[str, str]]]:
    """Return view → (column, type), in the views' own order."""
    described = " union all ".join(
        f"select '{view}' as view, column_name, column_type from (describe {view})"
        for view in VIEWS
    )
    columns: dict[str, list[tuple[str, str]]] = {view: [] for view in VIEWS}
    for row in reader.rows(described):
        columns[row["view"]].append((row["column_name"], row["column_type"]))
    return columns


def metric_definitions(reader: Reads) -> list[Row]:
    """Return each metric: `name`, `unit`, `description`, `sql`."""
    return reader.rows("select name, unit, description, sql from metric_definitions order by name")
