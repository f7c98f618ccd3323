"""What the collector's status says of its files: is telemetry refused, was something lost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from taximeter_dashboard import blocks


def store_notes(status: Mapping[str, Any], *, in_full: bool) -> list[blocks.Block]:
    """Return the refusal and the alarms; not ``in_full``, the alarms are one note that says where to look."""
    store = status.get("store") or {}
    alarms = [str(alarm.get("message")) for alarm in store.get("alarms") or []]
    notes = [blocks.note(str(store["message"]), "bad")] if store.get("message") else []
    if alarms and not in_full:
        what = "alarm waits" if len(alarms) == 1 else "alarms wait"
        alarms = [f"{len(alarms)} {what} about the data files: see Set-up, or `taximeter status`."]
    return notes + [blocks.note(text, "warn") for text in alarms]
