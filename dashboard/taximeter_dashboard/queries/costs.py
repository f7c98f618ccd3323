"""Where spend goes, what changed it, and what the month will cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from taximeter_collector.decompose import (
    Decomposition,
    added_up,
    decompose,
    decompose_groups,
    periods,
    usage_query,
)
from taximeter_collector.forecast import Forecast, TooFewDays, forecast_month, history_start
from taximeter_collector.metrics import METRICS, metric_query
from taximeter_dashboard.queries.core import OTHERS, Reads, Row
from taximeter_dashboard.scope import Scope

SPEND_DIMENSIONS: Final = METRICS["cost_usd"].dimensions
_ROWS, _COLUMNS = 12, 6
_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class Matrix:
    """Spend by two dimensions, the dearest first; a cell without spend is missing."""

    rows: list[str | None]
    columns: list[str | None]
    cells: dict[tuple[str | None, str | None], float]


def spend_by(reader: Reads, scope: Scope, dimension: str) -> list[Row]:
    """Return one row a value of the dimension, the dearest first, with `before_usd` and shares.

    `spend_share` and `use_share` are of the rows' sums; use is requests, or tokens where the
    dimension has no requests (provider, model).
    """
    use = "requests" if dimension in METRICS["requests"].dimensions else "tokens"
    names = ["cost_usd", "requests", "cost_per_request_usd", "tokens"]
    query = metric_query(
        names, scope.start, scope.end, by=[dimension], where=scope.where, order_by="cost_usd"
    )
    rows = [row for row in reader.rows(query.sql, query.params) if row["cost_usd"] or row["tokens"]]
    earlier = metric_query(
        ["cost_usd"], scope.previous.start, scope.previous.end, by=[dimension], where=scope.where
    )
    before = {r[dimension]: r["cost_usd"] for r in reader.rows(earlier.sql, earlier.params)}
    spend, used = (sum(row[name] or 0 for row in rows) for name in ("cost_usd", use))
    return [
        {
            **row,
            "name": row[dimension],
            "before_usd": before.get(row[dimension]),
            "spend_share": (row["cost_usd"] or 0) / spend if spend else None,
            # Sub-agents start no request: that is no share of nothing, but no share.
            "use_share": row[use] / used if row[use] else None,
        }
        for row in rows
    ]


def spend_matrix(reader: Reads, scope: Scope, down: str, across: str) -> Matrix:
    """Return spend by two dimensions; what is beyond the dearest is added up as `other`."""
    query = metric_query(["cost_usd"], scope.start, scope.end, by=[down, across], where=scope.where)
    found = [
        (r[down], r[across], r["cost_usd"])
        for r in reader.rows(query.sql, query.params)
        if r["cost_usd"]
    ]
    rows = _dearest([(row, usd) for row, _, usd in found], _ROWS)
    columns = _dearest([(column, usd) for _, column, usd in found], _COLUMNS)
    cells: dict[tuple[str | None, str | None], float] = {}
    for row, column, usd in found:
        key = (row if row in rows else OTHERS, column if column in columns else OTHERS)
        cells[key] = cells.get(key, 0.0) + usd
    has_more = [any(key[i] == OTHERS for key in cells) for i in (0, 1)]
    return Matrix(
        rows + [OTHERS] * (has_more[0] and OTHERS not in rows),
        columns + [OTHERS] * (has_more[1] and OTHERS not in columns),
        cells,
    )


def _dearest(amounts: Sequence[tuple[str | None, float]], number: int) -> list[str | None]:
    sums: dict[str | None, float] = {}
    for name, usd in amounts:
        sums[name] = sums.get(name, 0.0) + usd
    return sorted(sums, key=lambda name: (-sums[name], name or ""))[:number]


def change_of_spend(
    reader: Reads, scope: Scope, dimension: str
) -> tuple[Decomposition, dict[str | None, Decomposition]]:
    """Return the change against the previous period, and that of each group, largest first."""
    query = usage_query(
        scope.previous.start, scope.start, scope.end, group_by=dimension, where=scope.where
    )
    before, after = periods(reader.rows(query.sql, query.params))
    total = decompose(added_up(before.values()), added_up(after.values()))
    return total, decompose_groups(before, after)


def month_end(reader: Reads, scope: Scope, now: datetime) -> Forecast | TooFewDays:
    """Return what this month (UTC) will have cost within the scope's filters."""
    query = metric_query(["cost_usd"], history_start(now), now, bucket_s=_DAY_S, where=scope.where)
    spend: dict[date, float] = {
        row["bucket"].date(): row["cost_usd"]
        for row in reader.rows(query.sql, query.params)
        if row["cost_usd"] is not None
    }
    return forecast_month(spend, now)


def unpriced_in(reader: Reads, scope: Scope) -> list[Row]:
    """Return the models of the window with calls that have no price, most tokens first."""
    query = metric_query(
        ["tokens"], scope.start, scope.end, by=["provider", "model"], where=scope.where,
        order_by="tokens",
    )  # fmt: skip
    rows = reader.rows(query.sql, query.params)
    return [row for row in rows if row["priced_ratio"] is not None and row["priced_ratio"] < 1]
