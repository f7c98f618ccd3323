"""Has a group gone quiet? Its last hour against the same hour of comparable days. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final

from taximeter_alerts.judge.detect import (
    HISTORY_DAYS,
    Outcome,
    Reference,
    Sample,
    Verdict,
)
from taximeter_alerts.rules.book import Rule

HOUR_S: Final = 3_600
LEAST_EXPECTED: Final = 10
LEAST_DAYS: Final = 3
QUIET_SHARE: Final = 0.25
ENOUGH_HOURS: Final = 3
_AROUND: Final = timedelta(hours=1.5)


def judge_quiet(
    rule: Rule, samples: Mapping[int, Sample], reference: Reference, at: datetime
) -> Verdict:
    """Return whether there is too little; absence where absence is usual is no data, not news."""
    window_s = int(rule.condition.limit) or HOUR_S
    sample = samples.get(window_s)
    count = sample.count if sample is not None else 0.0
    if rule.condition.limit:
        return Verdict("breach" if count == 0 else "clear", count, window_s, count)
    if count > reference.busiest_hour * QUIET_SHARE:  # whatever is usual at this hour
        return Verdict("clear", count, HOUR_S, count, days=reference.days)
    levels = levels_of(reference.hours, at)
    if len(levels) < LEAST_DAYS:
        return Verdict("learning", days=len(levels))
    expected = sorted(levels)[1]
    outcome: Outcome = "clear" if count else "no_data"
    if expected >= LEAST_EXPECTED and count <= expected * QUIET_SHARE:
        outcome = "breach"
    return Verdict(outcome, count, HOUR_S, count, usual=expected, days=len(levels))


def levels_of(counts: Mapping[datetime, float], at: datetime) -> list[float]:
    """Return the least of an hour's requests around this hour, for each comparable day.

    An hour without a count had no request.
    """
    if not counts:
        return []
    first = min(counts)
    levels = []
    for same, hours in comparable_hours(at):
        if same - timedelta(hours=2) < first:
            break
        near = [counts[hour] for hour in hours if hour in counts]
        levels.append(min(near) if len(near) >= ENOUGH_HOURS else 0.0)
    return levels


def comparable_hours(at: datetime) -> Iterator[tuple[datetime, list[datetime]]]:
    """Yield the moments of past days that compare with `at`, and the hours around each.

    Comparable is a working day to a working day.
    """
    for age in range(1, HISTORY_DAYS + 1):
        same = at - timedelta(days=age)
        if (same.weekday() >= 5) == (at.weekday() >= 5):
            hour = same.replace(minute=0, second=0, microsecond=0)
            around = [hour + timedelta(hours=off) for off in (-1, 0, 1, 2)]
            yield same, [start for start in around if abs(start - same) <= _AROUND]
