"""A backtest's answer as rows and sentences. Pure; a field that is missing stays unknown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import tzinfo
from typing import Any, Final

from taximeter_dashboard import blocks, format
from taximeter_dashboard.alerting import moment_in
from taximeter_dashboard.blocks import Block

RULES_HEAD: Final = ("Rule", ">Fired", ">A week", ">Low", ">Normal", ">High")
GUARDS_HEAD: Final = ("Agent", "Limit", ">Stopped", ">Of runs", ">Wrongly", ">Saved")
_MOST_NOTICES: Final = 50
_MOST_GUARDS: Final = 20


def summary(job: Mapping[str, Any]) -> str:
    """Return what became of the backtest in one line."""
    days = format.exact(job.get("days"))
    of = "the edited text, " if job.get("digest") else ""
    result = job.get("result")
    match job.get("status"):
        case "running":
            return f"{of}{days} days are being judged, minute by minute"
        case "failed":
            return f"{of}failed: {job.get('error') or 'it gave no reason'}"
        case "done" if isinstance(result, Mapping):
            notices = result.get("notices") or ()
            return (
                f"{of}in {days} days and {format.exact(result.get('groups'))} groups:"
                f" {format.exact(result.get('incidents'))} incidents,"
                f" {format.exact(len(notices))} notices"
            )
    return "what the rules would have sent in the past"


def rule_rows(result: Mapping[str, Any]) -> list[list[str]]:
    """Return how often each rule would have fired, as written and by sensitivity."""
    rules = result.get("rules") or {}
    return [
        [
            format.words(name),
            format.exact(found.get("fired")),
            format.decimal(found.get("a_week"), 1),
            *(
                format.exact((found.get("by_sensitivity") or {}).get(sensitivity))
                for sensitivity in ("low", "normal", "high")
            ),
        ]
        for name, found in sorted(rules.items(), key=lambda r: (-(r[1].get("fired") or 0), r[0]))
    ]


def guard_rows(result: Mapping[str, Any]) -> list[list[str]]:
    """Return the limits that would have stopped something, the most saved first."""
    guards = [guard for guard in result.get("guards") or () if guard.get("stopped")]
    return [
        [
            str(guard.get("agent_name")),
            f"{guard.get('limit_name')}={guard.get('limit_value'):g}",
            format.exact(guard.get("stopped")),
            format.exact(guard.get("runs")),
            format.exact(guard.get("stopped_completed")),
            format.usd(guard.get("saved_usd")),
        ]
        for guard in guards[:_MOST_GUARDS]
    ]


def notice_items(result: Mapping[str, Any], zone: tzinfo) -> list[Block]:
    """Return the notices that would have told of something new, the newest first."""
    notices: Sequence[Mapping[str, Any]] = result.get("notices") or ()
    told = [notice for notice in notices if notice.get("kind") != "resolved"]
    return [_item(notice, zone) for notice in reversed(told[-_MOST_NOTICES:])]


def _item(notice: Mapping[str, Any], zone: tzinfo) -> Block:
    when = moment_in(notice, "at")
    meta = format.moment(when, zone, seconds=False) if when else ""
    kind = format.words(str(notice.get("kind")))
    return blocks.item(
        f"{kind}: {notice.get('title')}", str(notice.get("sentence") or ""), tone="warn", meta=meta
    )
