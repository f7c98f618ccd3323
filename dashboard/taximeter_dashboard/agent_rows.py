"""Agents as the table component draws them, on the Overview and on their own page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from taximeter_dashboard import charts, format, queries, session

COLUMNS: Final = (
    {"label": "Agent", "type": "main", "prio": "p1"},
    {"label": "Spend", "align": "r", "width": "92px", "prio": "p2"},
    {"label": "Spend over time", "type": "trend", "width": "18%", "hide": "h1"},
    {"label": "Requests", "type": "link", "align": "r", "width": "88px"},
    {"label": "$ / request", "align": "r", "width": "96px"},
    {"label": "Loop length", "type": "meter", "color": "loop", "align": "r", "width": "100px"},
    {"label": "Error rate", "type": "meter", "color": "error", "align": "r", "width": "92px"},
    {"label": "Cache hit", "type": "meter", "color": "cache", "align": "r", "width": "92px",
     "hide": "h1"},
)  # fmt: skip
ENDED: Final = {"label": "How runs ended", "type": "parts", "width": "15%", "hide": "h1"}


def agent_rows(
    ranked: Sequence[queries.Row],
    run_lengths: Mapping[str, float],
    endings: Mapping[str, Mapping[str, int]] | None = None,
) -> list[dict[str, object]]:
    """Return the rows of `queries.by_agent`; with `endings` there is a cell for `ENDED`, too."""
    loops = {
        # A sub-agent starts no request: its loop is that of its runs.
        r["agent_name"]: r["loop_length_mean"]
        if r["requests"]
        else run_lengths.get(r["agent_name"])
        for r in ranked
    }
    longest = max((loop or 0 for loop in loops.values()), default=0) or 1
    return [_row(r, loops[r["agent_name"]], longest, endings) for r in ranked]


def found_in(agent: str) -> str:
    """Return the requests in which a sub-agent worked; it started none of them."""
    return session.url("requests", agent=None, q=agent)


def _row(
    r: queries.Row,
    loop: float | None,
    longest: float,
    endings: Mapping[str, Mapping[str, int]] | None,
) -> dict[str, object]:
    name = r["agent_name"]
    is_starter = bool(r["requests"])
    started = format.count(r["requests"]) if is_starter else "sub-agent"
    cells: list[Any] = [
        [name, session.url("agents", agent=[name]), None, format.coverage(r["priced_ratio"])],
        format.usd(r["cost_usd"]),
        r["trend"],
        [started, session.requests_with("agent_name", name) if is_starter else found_in(name)],
        format.usd(r["cost_per_request_usd"]),
        [format.decimal(loop), None if loop is None else loop / longest],
        [format.percent(r["error_rate"]), r["error_rate"]],
        [format.percent(r["cache_hit_ratio"]), r["cache_hit_ratio"]],
    ]
    if endings is not None:
        cells.append(_parts(endings.get(name, {})))
    return {"id": name, "sub": _summary(r, loop), "c": cells}


def _summary(r: queries.Row, loop: float | None) -> str:
    if not r["requests"]:
        return f"sub-agent · loop {format.decimal(loop)} · {format.percent(r['cache_hit_ratio'])} cached"
    return (
        f"{format.count(r['requests'])} requests · {format.usd(r['cost_per_request_usd'])} each ·"
        f" {format.percent(r['error_rate'])} failed"
    )


def _parts(ended: Mapping[str, int]) -> list[list[object]]:
    runs = sum(ended.values())
    return [
        [format.words(reason), n / runs, charts.OUTCOME_INK.get(reason, charts.OTHER_INK),
         format.percent(n / runs)]
        for reason, n in ended.items()
    ]  # fmt: skip
