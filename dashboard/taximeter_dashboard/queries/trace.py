"""One request: its spans, and what is known of each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from taximeter_dashboard.queries.core import Reads, Row

Received = tuple[datetime, datetime]
_EVER: Final = (datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC))
_LATE: Final = timedelta(hours=1)
"""What comes later than this after the last span is derived before anybody looks, and moves the last."""


def request(reader: Reads, request_id: str) -> Row | None:
    """Return one request, None if it is not in the store."""
    rows = reader.rows("select * from requests where request_id = $id limit 1", {"id": request_id})
    return rows[0] if rows else None


def received(found: Row | None) -> Received:
    """Return when the spans of a request were received: other days' files are not looked through."""
    if found is None or found["first_received_at"] is None:
        return _EVER
    return found["first_received_at"], found["last_received_at"] + _LATE


_SPANS: Final = """select span_id, parent_span_id, kind, name, dialect, start_time, duration_ms, status,
    error_type, error_class
from spans where trace_id = $id and received_at between $since and $until order by start_time, span_id limit 20000"""
_CALL_COLUMNS: Final = ("model", "prompt_tokens", "output_tokens", "cache_read_tokens", "cost_pico",
    "cost_usd", "cost_lower_bound_pico", "cost_upper_bound_pico", "cost_quality", "is_billed")  # fmt: skip
_TOOL_COLUMNS: Final = ("consecutive_repeat", "is_repeat")
_OF_TRACE: Final = "where trace_id = $id and start_time between $first and $last"
_CALLS: Final = f"select span_id, {', '.join(_CALL_COLUMNS)} from calls {_OF_TRACE}"
_TOOLS: Final = f"select span_id, {', '.join(_TOOL_COLUMNS)} from tool_calls {_OF_TRACE}"
_NEITHER: Final = dict.fromkeys((*_CALL_COLUMNS, *_TOOL_COLUMNS))
_DAY: Final = timedelta(days=1)


def spans_of(reader: Reads, request_id: str, window: Received = _EVER) -> list[Row]:
    """Return the spans of a request, received in ``window``, in order of start, with what their calls cost."""
    seen: dict[str, Row] = {}
    since, until = window
    for row in reader.rows(_SPANS, {"id": request_id, "since": since, "until": until}):
        seen.setdefault(row["span_id"], _NEITHER | row)
    if seen:
        starts = [row["start_time"] for row in seen.values()]
        around = {"id": request_id, "first": min(starts) - _DAY, "last": max(starts) + _DAY}
        for row in (*reader.rows(_CALLS, around), *reader.rows(_TOOLS, around)):
            if row["span_id"] in seen:
                seen[row["span_id"]] |= row
    return list(seen.values())


def span_detail(
    reader: Reads, request_id: str, span_id: str, window: Received = _EVER
) -> Row | None:
    """Return one span as received in ``window``: attributes, resource and events."""
    rows = reader.rows(
        "select * from spans where trace_id = $id and span_id = $span"
        " and received_at between $since and $until limit 1",
        {"id": request_id, "span": span_id, "since": window[0], "until": window[1]},
    )
    return rows[0] if rows else None


def call_detail(reader: Reads, request_id: str, span_id: str, start: datetime) -> Row | None:
    """Return the model call of a span, which started at ``start``, with every part of its price.

    None if it is none.
    """
    rows = reader.rows(
        "select * from calls where trace_id = $id and span_id = $span"
        " and start_time between $first and $last limit 1",
        {"id": request_id, "span": span_id, "first": start - _DAY, "last": start + _DAY},
    )
    return rows[0] if rows else None
