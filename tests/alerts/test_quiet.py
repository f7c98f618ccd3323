"""An agent that went quiet: against the same hour of comparable days, and never against nights."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from tests.alerts.plain import PastWindow, reference_of

from taximeter_alerts.judge.detect import Reference, Sample
from taximeter_alerts.judge.explain import explain
from taximeter_alerts.judge.quiet import judge_quiet
from taximeter_alerts.rules.book import Condition, Rule

QUIET = Rule("quiet", "requests", Condition("silent", 0.0, "silent"), by=("agent_name",))
FRIDAY = datetime(2026, 11, 20, 14, 0, tzinfo=UTC)
SUNDAY = FRIDAY + timedelta(days=2)
NIGHT = FRIDAY.replace(hour=3)


def office_hours(days: int, at: datetime) -> Reference:
    """Return the past of an agent with 40 requests an hour from 8 to 18, Monday to Friday."""
    hours = [at.replace(minute=0) - timedelta(hours=h) for h in range(1, days * 24 + 1)]
    windows = [
        PastWindow(0, 0.0, 40.0, 40.0, start=start)
        for start in hours
        if start.weekday() < 5 and 8 <= start.hour < 18
    ]
    return reference_of({3_600: windows})


@pytest.mark.parametrize(
    ("at", "days", "count", "outcome"),
    [
        (FRIDAY, 14, 0, "breach"),
        (FRIDAY, 14, 9, "breach"),
        (FRIDAY, 14, 30, "clear"),
        (FRIDAY, 3, 0, "learning"),
        (NIGHT, 14, 0, "no_data"),
        (NIGHT, 14, 2, "clear"),
        (SUNDAY, 14, 0, "no_data"),
    ],
)
def test_quiet_is_measured_by_the_hour_and_the_kind_of_day(
    at: datetime, days: int, count: int, outcome: str
) -> None:
    samples = {3_600: Sample(count, count)} if count else {}
    assert judge_quiet(QUIET, samples, office_hours(days, at), at).outcome == outcome


def test_it_says_what_is_usual() -> None:
    verdict = judge_quiet(QUIET, {}, office_hours(14, FRIDAY), FRIDAY)
    assert explain(QUIET, {"agent_name": "desk"}, verdict) == (
        "desk: no request in the last 1 h; at this hour 8 of the last 9 such days had at least"
        " 40 an hour."
    )


def test_silent_for_so_long_needs_no_history() -> None:
    rule = Rule("batch", "requests", Condition("silent", 86_400.0, "silent 24h"))
    assert judge_quiet(rule, {}, Reference(), FRIDAY).outcome == "breach"
    assert judge_quiet(rule, {86_400: Sample(1, 1)}, Reference(), FRIDAY).outcome == "clear"
