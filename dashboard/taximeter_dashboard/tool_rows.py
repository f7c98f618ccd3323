"""Tools as the table component draws them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from taximeter_dashboard import format, queries, session

COLUMNS: Final = (
    {"label": "Tool", "type": "main", "prio": "p1"},
    {"label": "Executions", "align": "r", "width": "96px", "prio": "p2"},
    {"label": "Error rate", "type": "meter", "color": "error", "align": "r", "width": "92px"},
    {"label": "Failed", "type": "link", "align": "r", "width": "72px", "hide": "h1"},
    {"label": "Repeats", "type": "meter", "color": "loop", "align": "r", "width": "90px"},
    {"label": "Idle repeats", "align": "r", "width": "104px", "hide": "h1"},
    {"label": "Longest run", "align": "r", "width": "104px", "hide": "h1"},
    {"label": "p50", "align": "r", "width": "82px", "hide": "h1"},
    {"label": "p95", "align": "r", "width": "82px"},
    {"label": "Time in all", "align": "r", "cls": "mute", "width": "100px", "hide": "h1"},
)  # fmt: skip
MEANING: Final = (
    "repeats: the same arguments again · idle: and the same result or error ·"
    " longest run: of the same call in a row"
)


def tool_rows(rows: Sequence[queries.Row], **narrowed: object) -> list[dict[str, object]]:
    """Return the rows of `queries.tools`; `narrowed` is put into the addresses they lead to."""
    return [_row(row, narrowed) for row in rows]


def _row(row: queries.Row, narrowed: dict[str, object]) -> dict[str, object]:
    name, failed = row["tool_name"], row["tool_error_rate__num"]
    failures = session.url("requests", **narrowed, failed="tool", tool=name) if failed else ""
    return {
        "id": name,
        "sub": f"{format.percent(row['tool_error_rate'])} failed ·"
        f" {format.percent(row['tool_repeat_ratio'])} repeats · p95 {format.duration(row['p95_ms'])}",
        "c": [
            [name, session.url("requests", **narrowed, tool=name, sort="-cost"), None],
            format.exact(row["tool_error_rate__den"]),
            [format.percent(row["tool_error_rate"]), row["tool_error_rate"]],
            [format.exact(failed), failures],
            [format.percent(row["tool_repeat_ratio"]), row["tool_repeat_ratio"]],
            format.exact(row["idle_repeats"]),
            format.exact(row["longest_repeat"]),
            format.duration(row["p50_ms"]),
            format.duration(row["p95_ms"]),
            format.duration(row["total_ms"]),
        ],
    }
