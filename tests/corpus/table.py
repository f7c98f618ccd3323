"""The table of ``docs/dialects.md``: which client tells which fact, and why not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from .findings import Findings, Key

PAGE: Final = Path(__file__).parents[2] / "docs" / "dialects.md"
BEGIN: Final = "<!-- table of facts: begin -->\n"
END: Final = "<!-- table of facts: end -->\n"
_COLUMNS: Final = (
    {
        "calls": "calls",
        "failed_calls": "failed calls",
        "retries": "resent",
        "iterations": "loop length",
        "tool_calls": "tool calls",
        "failed_tool_calls": "failed tools",
        "repeated_tool_calls": "repeated tools",
        "end_reason": "end",
        "sessions": "session",
        "users": "user",
    },
    {
        "models": "model",
        "whole_input": "prompt",
        "uncached_input": "uncached",
        "cache_read": "cache read",
        "cache_write": "cache write",
        "cache_write_long": "of it 1 h",
        "output": "output",
        "reasoning": "reasoning",
        "cost_pico": "exact cost",
    },
)
_RAISED: Final = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def render(findings: Findings, untold: Mapping[Key, str], reasons: Mapping[str, str]) -> str:
    """Return the tables and their notes as Markdown; ``untold`` gives a reason's name a fact."""
    cells: dict[tuple[str, str], list[Key]] = defaultdict(list)
    for key in findings:
        cells[key.client, key.fact].append(key)
    notes: dict[str, int] = {}
    lines: list[str] = []
    for columns in _COLUMNS:
        lines += [_row(["client", *columns.values()]), _row(["---"] + [":-:"] * len(columns))]
        for client in sorted({key.client for key in findings}):
            marks = [
                _cell([(findings[k].verdict, untold.get(k)) for k in cells[client, fact]], notes)
                for fact in columns
            ]
            lines.append(_row([f"`{client}`", *marks]))
        lines.append("")
    lines += [f"{number}. {reasons[name]}" for name, number in notes.items()]
    return "\n".join(lines) + "\n"


def _cell(facts: list[tuple[str, str | None]], notes: dict[str, int]) -> str:
    """Return the mark of one fact of one client; new reasons are numbered in ``notes``."""
    verdicts = {verdict for verdict, _ in facts}
    if not verdicts:
        return ""
    if "wrong" in verdicts:
        return "✗"
    if "missing" not in verdicts:
        return "✓"
    names = sorted({reason for _, reason in facts if reason})
    numbers = sorted(notes.setdefault(name, len(notes) + 1) for name in names)
    mark = "–" if verdicts == {"missing"} else "◐"
    return f"{mark}{' '.join(map(str, numbers)).translate(_RAISED)}"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def table_in(page: str) -> str:
    """Return the part of the page that `write_table` writes."""
    return page.partition(BEGIN)[2].partition(END)[0]


def write_table(findings: Findings, untold: Mapping[Key, str], reasons: Mapping[str, str]) -> None:
    """Put the rendered tables into the page."""
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(
        f"{before}{BEGIN}{render(findings, untold, reasons)}{END}{after}", encoding="utf-8"
    )
