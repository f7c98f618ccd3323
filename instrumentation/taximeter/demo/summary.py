"""The demo's last words: what was made, and what is hidden in it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from taximeter.demo.deployment import Report
from taximeter.demo.incidents import Incident


def describe_incidents(incidents: Sequence[Incident], beginning: datetime) -> list[str]:
    """Return one line for each incident that a history from `beginning` contains, oldest first."""
    return [
        f"{incident.start:%a %d %b %H:%M} UTC  {incident.title}"
        for incident in sorted(incidents, key=_start_of)
        if incident.end > beginning
    ]


def describe_report(report: Report) -> str:
    """Return what was made, in one line.

    >>> describe_report(Report(requests=3, spans=21, cost_usd=0.125))
    'demo: made 3 requests, 21 spans, $0.12; 0 requests failed'
    """
    lost = f", {report.lost_spans:,} spans lost" if report.lost_spans else ""
    return (
        f"demo: made {report.requests:,} requests, {report.spans:,} spans, "
        f"${report.cost_usd:,.2f}; {report.errors:,} requests failed{lost}"
    )


def _start_of(incident: Incident) -> datetime:
    return incident.start
