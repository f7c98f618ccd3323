"""Which of the demo's incidents the default rules tell, when, how often and when they are over.

`taximeter demo --days 14` fills a collector; `python bench/demo_alerts.py COLLECTOR_URL [--now ISO]` then
judges its history (all but the first days, which are learned from) as `taximeter rules backtest` does, and lays the
notices beside the incidents that the demo hid there; a notice is the newest one's that may have made it.
`--uneventful`: a history without any; it exits with 1 unless the last seven days are silent.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from taximeter.demo.fleet import open_history
from taximeter.demo.incidents import Incident, Kind
from taximeter_alerts.backtest.backtest import run_backtest
from taximeter_alerts.outbox.notice import Notice
from taximeter_alerts.rules.rules_file import parse_rules
from taximeter_collector.client import ReadClient

DAYS: Final = 14.0
LEARNED: Final = timedelta(days=2.5)
LATE: Final = timedelta(hours=2)
"""An alert so long after an incident's end is not its own."""
OVER: Final = timedelta(days=1)
"""So long after an incident's end its alerts may be resolved."""

WHOSE: Final[Mapping[Kind, str]] = {
    "cache_broken": "support-desk",
    "runaway_loop": "code-assistant",
    "price_switch": "code-assistant",
    "runaway_research": "research-lead",
}
"""The agent whose alert it is; what is not here hits several."""


def at_of(notice: Notice) -> datetime:
    return datetime.fromisoformat(notice.at or "")


def may_be_of(notice: Notice, incident: Incident) -> bool:
    """Return whether the incident may have made this notice: it was on, and of this agent."""
    agent = WHOSE.get(incident.kind)
    is_its_agents = agent is None or notice.labels.get("agent_name") == agent
    return is_its_agents and incident.start <= at_of(notice) <= incident.end + LATE


def said_of(incident: Incident, hidden: Sequence[Incident], notices: Sequence[Notice]) -> str:
    """Return a row of the table: what people heard of an incident."""
    newer = [other for other in hidden if other.start > incident.start]
    firing = [
        n for n in notices
        if n.kind in ("firing", "firing_again") and may_be_of(n, incident)
        and not any(may_be_of(n, other) for other in newer)
    ]  # fmt: skip
    title = f"{incident.start:%d %b %H:%M} {incident.title}"
    if not firing:
        return f"| {title} | not told | | |"
    own = {n.incident for n in firing}
    ends = [n for n in notices if n.kind == "resolved" and n.incident in own
            and at_of(firing[0]) < at_of(n) <= incident.end + OVER]  # fmt: skip
    first = f"{minutes(at_of(firing[0]) - incident.start)}: {firing[0].title}"
    over = "still fires"
    if ends:
        late = at_of(ends[-1]) - incident.end
        over = f"{minutes(abs(late))} {'after' if late >= timedelta(0) else 'before'} its end"
    return f"| {title} | {first} | {len(firing)} in {len(own)} | {over} |"


def minutes(time: timedelta) -> str:
    return f"{time // timedelta(minutes=1)} min"


def main() -> int:
    """Judge and print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("collector")
    parser.add_argument("--now", type=datetime.fromisoformat, help="when the history ends")
    parser.add_argument("--uneventful", action="store_true")
    given = parser.parse_args()
    now = given.now or datetime.now(UTC).replace(second=0, microsecond=0)
    start = now - (timedelta(days=7) if given.uneventful else timedelta(days=DAYS) - LEARNED)
    book = parse_rules("version: 1\n", "alerts.yaml", {})
    found = run_backtest(book, ReadClient(given.collector), start, now)
    print(f"{len(found.notices)} notices of {found.incidents} incidents in {found.weeks:.1f} weeks")
    if given.uneventful:
        return 1 if found.notices or not found.groups else 0
    hidden = open_history(now, DAYS, 7).incidents
    print("| Incident | First told after | Firing notices | Resolved |\n|---|---|---|---|")
    for incident in hidden:
        print(said_of(incident, hidden, found.notices))
    during = [(i.start, i.end + LATE) for i in hidden]
    others = [n for n in found.notices if n.kind == "firing"
              and not any(a <= at_of(n) <= b for a, b in during)]  # fmt: skip
    print(f"Outside of them: {len(others)}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
