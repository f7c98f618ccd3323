"""Requests as the table component draws them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from taximeter_dashboard import format, queries, session

COLUMNS: Final = (
    {"label": "", "type": "status", "width": "34px"},
    {"label": "Time", "cls": "mute", "sort": "time", "width": "128px"},
    {"label": "Agent", "cls": "strong", "sort": "agent", "width": "124px", "hide": "h1"},
    {"label": "Request", "type": "main", "prio": "p1"},
    {"label": "Model", "cls": "mute", "width": "164px", "hide": "h2"},
    {"label": "Loop length", "type": "meter", "color": "loop", "align": "r", "sort": "loops",
     "width": "98px"},
    {"label": "Duration", "align": "r", "sort": "duration", "width": "84px"},
    {"label": "Tokens", "align": "r", "cls": "mute", "sort": "tokens", "width": "122px",
     "hide": "h1"},
    {"label": "Cache", "type": "meter", "color": "cache", "align": "r", "sort": "cache",
     "width": "82px", "hide": "h1"},
    {"label": "Cost", "type": "meter", "color": "cost", "align": "r", "sort": "cost",
     "width": "92px", "prio": "p2"},
)  # fmt: skip


def request_rows(rows: Sequence[queries.Row]) -> list[dict[str, object]]:
    """Return the rows for `components.table`, their meters relative to each other."""
    costs = sorted(row["cost_usd"] or 0 for row in rows)
    dearest = (costs[int(len(costs) * 0.95)] if costs else 0) or 1
    longest = max([20, *(row["loop_length"] or 0 for row in rows)])
    return [_row(row, dearest, longest) for row in rows]


def _row(row: queries.Row, dearest: float, longest: int) -> dict[str, object]:
    """Return one request as the table component draws it."""
    zone = session.zone()
    cause = _cause(row)
    tokens_in = _sum(row, "uncached_input_tokens", "cache_read_tokens", "cache_write_tokens")
    name = row["name"] or row["request_id"]
    loops, cost = row["loop_length"], row["cost_usd"]
    when = format.moment(row["start_time"], zone)
    parts = [row["agent_name"] or row["service_name"], f"{format.exact(loops)} loops",
             format.duration(row["duration_ms"]), when, cause]  # fmt: skip
    return {
        "id": row["request_id"],
        "sub": " · ".join(part for part in parts if part),
        "c": [
            cause,
            [when, row["start_time"].isoformat() if row["start_time"] else ""],
            row["agent_name"] or row["service_name"] or format.UNKNOWN,
            [name, session.url("request", id=row["request_id"]), cause],
            [format.listing(row["models"] or [], 1), ", ".join(row["models"] or [])],
            [format.exact(loops), (loops or 0) / longest],
            format.duration(row["duration_ms"]),
            f"{format.count(tokens_in)} → {format.count(row['output_tokens'])}",
            [format.percent(row["cache_hit_ratio"], 0), row["cache_hit_ratio"]],
            [format.usd(cost), (cost or 0) / dearest],
        ],
    }


def _cause(row: queries.Row) -> str | None:
    if not row["is_error"]:
        return None
    reason = row["termination_reason"]
    if reason not in (None, "completed", "error", "unknown"):
        return format.words(reason)
    return row["error_type"] or format.words(row["error_class"] or "error")


def _sum(row: queries.Row, *names: str) -> int | None:
    known = [row[name] for name in names if row[name] is not None]
    return sum(known) if known else None
