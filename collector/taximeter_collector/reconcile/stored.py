"""Our side, asked of a collector: calls by cell, calls near an edge, the calls behind a part."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from taximeter_collector.client import ReadClient
from taximeter_collector.reconcile.boundary import EdgeCall
from taximeter_collector.reconcile.rows import CLASSES
from taximeter_collector.sql_files import read_sql

_SEEN: Final = ("input", "cache_read", "cache_write_short", "cache_write_long", "output",
                "web_search")  # fmt: skip
_MAX_SHOWN_SPANS: Final = 500


@dataclass(frozen=True, slots=True)
class StoredCalls:
    """The stored calls of one day, model and tier, as they spell them."""

    day: date
    provider: str
    kind: str
    model: str
    tier: str
    is_batch: bool
    calls: int
    doubtful: int
    """Without usage, or with one that contradicts itself."""
    unpriced: int
    cost_pico: int
    """Without searches."""
    search_pico: int
    prompt_tokens: int
    tokens: Mapping[str, int]
    unit_prices: Mapping[str, tuple[float, float]]
    """Lowest and highest pico-USD per unit that the stored costs show."""


class Stored:
    """The questions that reconciling asks. Raises QueryError."""

    def __init__(self, client: ReadClient) -> None:
        self._client = client

    def calls(self, provider: str, start: datetime, end: datetime) -> list[StoredCalls]:
        """Return the billed calls that started in [start, end)."""
        asked = {"provider": provider, "from": start, "to": end}
        table = self._client.query(read_sql("reconcile/calls_by_cell"), asked)
        return [_stored(row) for row in table.to_pylist()]

    def unplaced(self, start: datetime, end: datetime) -> int:
        """Return how many billed calls name no provider: they are in no bill that we know."""
        sql = read_sql("reconcile/unplaced")
        return int(self._client.query(sql, {"from": start, "to": end}).to_pylist()[0]["calls"])

    def edge_calls(
        self, provider: str, edge: datetime, latency: timedelta
    ) -> list[tuple[dict[str, Any], EdgeCall]]:
        """Return the calls that may count after ``edge``, the latest end first, with their names."""
        asked = {
            "provider": provider,
            "edge": edge,
            "oldest_start": edge - timedelta(days=1),
            "oldest_end": edge - latency,
        }
        rows = self._client.query(read_sql("reconcile/edge_calls"), asked).to_pylist()
        return [(row, _edge_call(row)) for row in rows]

    def first_spans(
        self, name: str, values: Mapping[str, Any], count: int = 5
    ) -> list[dict[str, str]]:
        """Return the first spans that a statement lists."""
        sql = f"{read_sql(f'reconcile/{name}').rstrip().rstrip(';')} limit {count}"
        rows = self._client.query(sql, values)
        return [
            {"trace_id": row["trace_id"], "span_id": row["span_id"]} for row in rows.to_pylist()
        ]


def statement(name: str, values: Mapping[str, Any]) -> str:
    """Return a statement with its values in it, on one line, for `taximeter query`.

    >>> values = {"from": datetime(2026, 11, 20, tzinfo=UTC), "spans": ["a'b"]}
    >>> statement("behind_edge", values)[-66:]
    "and list_contains(['a''b'], span_id) order by start_time, span_id;"
    """
    lines = [
        line for line in read_sql(f"reconcile/{name}").splitlines() if not line.startswith("--")
    ]
    text = " ".join(" ".join(lines).split())
    # In one pass: a value may itself look like a name.
    return re.sub(r"\$(\w+)", lambda found: _literal(values[found[1]]), text)


def _literal(value: Any) -> str:
    if isinstance(value, datetime):
        return f"timestamptz '{value.astimezone(UTC).isoformat()}'"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_literal(item) for item in value[:_MAX_SHOWN_SPANS])}]"
    return "'" + str(value).replace("'", "''") + "'"


def _stored(row: Mapping[str, Any]) -> StoredCalls:
    return StoredCalls(
        row["day"],
        row["provider"],
        row["kind"],
        row["model_name"],
        row["tier"],
        bool(row["is_batch"]),
        row["calls"],
        row["doubtful"],
        row["unpriced"],
        int(row["cost"]),
        int(row["search_cost"]),
        int(row["prompt"]),
        {name: int(row[name]) for name in CLASSES if int(row[name])},
        {
            name: (row[f"{name}_min"], row[f"{name}_max"])
            for name in _SEEN
            if row[f"{name}_min"] is not None
        },
    )


def _edge_call(row: Mapping[str, Any]) -> EdgeCall:
    tokens = {name: row[name] for name in CLASSES if name != "web_search" and row[name]}
    return EdgeCall(row["trace_id"], row["span_id"], tokens, int(row["cost"]), row["is_across"])
