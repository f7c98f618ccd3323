"""What the alerts service says of a text of alerts.yaml, as the page shows it. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from datetime import tzinfo
from typing import Any, Final

from taximeter_dashboard import blocks, format
from taximeter_dashboard.alerting import moment_in
from taximeter_dashboard.blocks import Block

_MOST_LINES: Final = 60
_LONGEST: Final = 120


def about(file: Mapping[str, Any], zone: tzinfo) -> str:
    """Return where the text stands and who saved it."""
    path = str(file.get("path") or "alerts.yaml")
    waits = "" if file.get("is_in_force") else " · not in force yet"
    if not file.get("is_file"):
        return f"{path} is not there yet: the default rules run, and saving makes it"
    when = moment_in(file, "saved_at")
    if when is None:
        return f"{path}{waits}"
    author = str(file.get("saved_by") or "somebody")
    return f"{path} · saved by {author}, {format.moment(when, zone, seconds=False)}{waits}"


def check_blocks(answer: Mapping[str, Any], text: str) -> list[Block]:
    """Return all faults of a text, each with its line, or what it holds if it has none."""
    faults: Sequence[Mapping[str, Any]] = answer.get("faults") or ()
    if not faults:
        return [blocks.note(str(answer.get("said") or ""), "good")]
    number = format.exact(len(faults))
    what = (
        "1 fault: nothing is saved until it is"
        if number == "1"
        else f"{number} faults: nothing is saved until they are"
    )
    lines = text.split("\n")
    return [
        blocks.note(f"{what} mended.", "bad"),
        blocks.listing([_fault(fault, lines) for fault in faults]),
    ]


def _fault(fault: Mapping[str, Any], lines: Sequence[str]) -> Block:
    line, column = int(fault.get("line") or 1), int(fault.get("column") or 1)
    there = lines[line - 1].strip() if 0 < line <= len(lines) else ""
    shown = there if len(there) <= _LONGEST else there[: _LONGEST - 1] + "…"
    return blocks.item(f"{line}:{column} {fault.get('message') or ''}", shown, tone="bad")


def difference(on_disk: str, edited: str) -> str:
    """Return what saving would change, as a diff.

    >>> print(difference("a\\nb\\n", "a\\nc\\n"))
    @@ -1,2 +1,2 @@
     a
    -b
    +c
    """
    made = difflib.unified_diff(on_disk.splitlines(), edited.splitlines(), n=2, lineterm="")
    lines = [line for line in made if not line.startswith(("--- ", "+++ "))]
    more = len(lines) - _MOST_LINES
    return "\n".join([*lines[:_MOST_LINES], *([f"… {more} more lines"] if more > 0 else [])])
