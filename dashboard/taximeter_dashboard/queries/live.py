"""The newest spans as they were received; a short look back, as these are the rows themselves."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from taximeter_dashboard.queries.core import Reads, Row

_SEARCHED: Final = ("name", "kind", "agent_name", "service_name", "error_type", "user_id", "session_id",
                    "trace_id")  # fmt: skip


def newest_spans(
    reader: Reads, since: datetime, text: str = "", *, only_errors: bool = False, limit: int = 100
) -> list[Row]:
    """Return the spans received since then, the newest first."""
    params: dict[str, Any] = {"since": since}
    condition = "received_at >= $since"
    if text:
        found = " or ".join(f"contains(lower({column}), $text)" for column in _SEARCHED)
        condition += f" and ({found})"
        params["text"] = text.lower()
    if only_errors:
        condition += " and status = 'error'"
    return reader.rows(
        "select trace_id, span_id, received_at, start_time, kind, name, agent_name, service_name,"
        f" duration_ms, status, error_type, error_class from spans where {condition}"
        f" order by received_at desc, start_time desc, span_id limit {int(limit)}",
        params,
    )
