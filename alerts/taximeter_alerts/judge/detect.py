"""Is this group's window out of its usual range? Samples in, a verdict out; no clock, no I/O.

Values are judged by the "usual range" (median and third-highest day of comparable windows),
failure rates by a Wilson bound on the counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Literal

from taximeter_alerts.judge.bounds import wilson_low
from taximeter_alerts.rules.book import LOOPS, NEWEST_S, Rule

Outcome = Literal["breach", "clear", "learning", "no_data"]

HISTORY_DAYS: Final = 14
MANY_DAYS: Final = 10
ENOUGH_REQUESTS: Final = 20
ENOUGH_IN_A_DAY: Final = 5
ENOUGH_NEWEST: Final = 50
FAST_WINDOWS_S: Final = (300, 900)
SLOW_WINDOWS_S: Final = (3_600, 21_600, 86_400)
RATE_WINDOWS_S: Final = (300, 900, 3_600, 21_600)
FAST_FACTOR: Final = 1.6
OVERSHOOT: Final = {"low": 8.0, "normal": 5.0, "high": 3.0}
DROP_OVERSHOOT: Final = {"low": 3.0, "normal": 2.0, "high": 1.5}
"""Nothing falls below zero: five widths of a fifth of usual are all there is."""
LOOP_OVERSHOOT: Final = {"low": 5.0, "normal": 3.0, "high": 2.0}
RATE_OVERSHOOT: Final = {"low": 5.0, "normal": 3.5, "high": 2.7}
RATE_FLOOR: Final = 0.01
DEAREST_WINDOW_S: Final = 3_600
"""A request counts at its start and is known at its end: long ones must still be seen."""
DEAREST_DAYS: Final = 5
GUARD_RATE: Final = 0.5
"""While usual is unknown: at least half of at least ten requests failed."""
GUARD_REQUESTS: Final = 10
GUARD_WINDOWS_S: Final = (900, 3_600)


@dataclass(frozen=True, slots=True)
class Sample:
    """One metric of one group over one trailing window."""

    value: float | None
    count: float = 0.0
    """Requests (for a call or tool metric: calls) that the value is made of."""
    failures: float = 0.0
    """Of a rate: its numerator."""
    cost_per_request: float | None = None
    requests: float = 0.0
    priced_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class Usual:
    """What is usual for a window of this size at this hour."""

    value: float
    high: float
    """What all but `days_outside` of the days stayed under."""
    days: int
    is_this_hour: bool
    cost_per_request: float | None = None
    low: float = 0.0
    """What all but `days_outside` of the days stayed above."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an evaluation found out about one group, with what explains it."""

    outcome: Outcome
    value: float | None = None
    window_s: int | None = None
    count: float = 0.0
    failures: float = 0.0
    usual: float | None = None
    high: float | None = None
    """The range's end: its top for a spike, its bottom for a drop."""
    days: int = 0
    is_this_hour: bool = True
    overshoot: float | None = None
    extra_usd: float | None = None
    priced_ratio: float | None = None
    is_guard: bool = False
    """Judged by a fixed guard, because usual is not known yet."""
    is_fresh: bool = False
    """There was traffic in the newest minute: this breach is new evidence."""
    agents: tuple[str, ...] = ()
    """Of a rule that wants several agents: those that fail."""


@dataclass(frozen=True, slots=True)
class Reference:
    """What was learned of the past of one metric of one group."""

    days: int = 0
    """On how many of the last days there was anything to learn from."""
    busiest_hour: float = 0.0
    """The most requests of an hour."""
    usuals: Mapping[int, Usual | None] = field(default_factory=dict)
    """By window size; None while too little is known."""
    rate: float | None = None
    """The usual failure rate; None: not known yet."""
    rate_days: int = 0
    dearest: float = 0.0
    """The third-highest of the days' dearest requests."""
    dearest_days: int = 0
    hours: Mapping[datetime, float] = field(default_factory=dict)
    """Requests of each hour that had any."""


def days_outside(days: Any) -> Any:
    """Return how many of some days (a number or an array) may leave the usual range.

    >>> int(days_outside(14)), int(days_outside(5))
    (2, 1)
    """
    return 1 + (days >= MANY_DAYS)


def judge(rule: Rule, samples: Mapping[int, Sample], reference: Reference) -> Verdict:
    """Return the verdict of one rule on one group."""
    newest = samples.get(NEWEST_S)
    is_fresh = newest is not None and newest.count > 0
    return replace(_judge(rule, samples, reference), is_fresh=is_fresh)


def _judge(rule: Rule, samples: Mapping[int, Sample], reference: Reference) -> Verdict:
    if all(sample.count <= 0 for sample in samples.values()):
        return Verdict("no_data", days=reference.days)
    if rule.condition.kind not in ("spike", "drop"):
        return _judge_limit(rule, samples)
    if rule.is_spike_of_one:
        return _judge_dearest(rule, samples.get(DEAREST_WINDOW_S), reference)
    if rule.is_rate:
        return _judge_rate(rule, samples, reference)
    return _judge_value(rule, samples, reference)


def _judge_limit(rule: Rule, samples: Mapping[int, Sample]) -> Verdict:
    sample = samples.get(rule.over_s)
    if sample is None or sample.value is None or sample.count < (rule.min_requests or 1):
        return Verdict("no_data")
    limit = rule.condition.limit
    is_out = sample.value > limit if rule.condition.kind == "above" else sample.value < limit
    if rule.is_rate and is_out and rule.condition.kind == "above":
        is_out = sample.failures >= rule.min_errors
    return _seen(sample, rule.over_s, "breach" if is_out else "clear")


def _judge_value(rule: Rule, samples: Mapping[int, Sample], reference: Reference) -> Verdict:
    limits = LOOP_OVERSHOOT if rule.watch in LOOPS else OVERSHOOT
    limit = (DROP_OVERSHOOT if rule.is_drop else limits)[rule.sensitivity]
    fast = _judge_path(rule, samples, reference, FAST_WINDOWS_S, limit * FAST_FACTOR)
    slow = _judge_path(rule, samples, reference, SLOW_WINDOWS_S, limit)
    if slow is not None and slow.outcome == "breach" and _is_over(fast):
        slow = replace(slow, outcome="clear")
    found = [verdict for verdict in (fast, slow) if verdict is not None]
    days = reference.days
    if not found:
        return Verdict("no_data" if days else "learning", days=days)
    order: tuple[Outcome, ...] = ("breach", "clear", "learning")
    best = min(found, key=lambda verdict: order.index(verdict.outcome))
    return best if best.days else replace(best, days=days)


def _judge_path(
    rule: Rule,
    samples: Mapping[int, Sample],
    reference: Reference,
    windows: Sequence[int],
    limit: float,
) -> Verdict | None:
    window_s = _smallest_sufficient(samples, windows, rule.min_requests or ENOUGH_REQUESTS)
    if window_s is None:
        return None
    usual = reference.usuals.get(window_s)
    if usual is None:
        return _seen(samples[window_s], window_s, "learning")
    return _compare(rule, samples[window_s], window_s, usual, limit)


def _is_over(fast: Verdict | None) -> bool:
    """Return whether enough newest requests are back in the usual range: the rest is the past."""
    return fast is not None and fast.overshoot is not None and fast.overshoot <= 1.0


def _compare(rule: Rule, sample: Sample, window_s: int, usual: Usual, limit: float) -> Verdict:
    assert sample.value is not None
    sign, end = (-1, usual.low) if rule.is_drop else (1, usual.high)
    over = sign * (sample.value - usual.value)
    width = max(sign * (end - usual.value), 0.2 * abs(usual.value), 1e-12)
    extra_usd = _extra_usd(rule, sample, usual)
    is_impact = rule.min_impact_usd is None or (
        extra_usd is not None and extra_usd >= rule.min_impact_usd
    )
    is_breach = (
        over / width >= limit
        and _is_far(rule, sample.value, usual.value)
        and over * sample.count >= 10 * usual.value
        and over > 0
        and is_impact
    )
    return _seen(
        sample,
        window_s,
        "breach" if is_breach else "clear",
        usual=usual.value,
        high=end,
        days=usual.days,
        is_this_hour=usual.is_this_hour,
        overshoot=over / width,
        extra_usd=extra_usd,
    )


def _is_far(rule: Rule, value: float, usual: float) -> bool:
    if rule.is_drop:
        return value <= (1 - rule.condition.limit) * usual
    return value >= rule.condition.limit * usual


def _judge_dearest(rule: Rule, sample: Sample | None, reference: Reference) -> Verdict:
    """Judge a single request by the third-highest of the days' dearest ones."""
    if sample is None or sample.value is None:
        return Verdict("no_data", days=reference.days)
    seen = _seen(sample, DEAREST_WINDOW_S)
    usual, days = reference.dearest, reference.dearest_days
    if days < DEAREST_DAYS:
        return replace(seen, outcome="learning", days=days)
    is_breach = sample.value >= max(rule.condition.limit * usual, rule.min_impact_usd or 0.0)
    return replace(
        seen,
        outcome="breach" if is_breach and sample.value > 0 else "clear",
        usual=usual,
        days=days,
        overshoot=sample.value / usual if usual else None,
    )


def _extra_usd(rule: Rule, sample: Sample, usual: Usual) -> float | None:
    if rule.watch == "cost_per_request_usd" and sample.value is not None:
        return (sample.value - usual.value) * sample.count
    if sample.cost_per_request is None or usual.cost_per_request is None:
        return None
    return (sample.cost_per_request - usual.cost_per_request) * sample.requests


def _judge_rate(rule: Rule, samples: Mapping[int, Sample], reference: Reference) -> Verdict:
    usual, days = reference.rate, reference.rate_days
    if usual is None:
        return _guard_rate(samples, days)
    hour = samples.get(3_600)
    if hour is None or hour.count <= 0:  # what failed hours ago says nothing of now
        return Verdict("no_data", days=days)
    floor = max(usual, RATE_FLOOR)
    ratio = max(rule.condition.limit, RATE_OVERSHOOT[rule.sensitivity])
    best: Verdict | None = None
    for window_s in RATE_WINDOWS_S:
        sample = samples.get(window_s)
        if sample is None or sample.count < (rule.min_requests or 1) or sample.value is None:
            continue
        overshoot = wilson_low(sample.failures, sample.count) / floor
        is_breach = (
            sample.failures >= rule.min_errors
            and overshoot >= ratio
            and _is_going_on(samples, window_s, max(2 * floor, sample.value / 2))
        )
        if best is None or (is_breach and best.outcome == "clear"):
            best = _seen(
                sample,
                window_s,
                "breach" if is_breach else "clear",
                usual=usual,
                days=days,
                is_this_hour=False,
                overshoot=overshoot,
            )
    return best or Verdict("no_data", days=days)


def _guard_rate(samples: Mapping[int, Sample], days: int) -> Verdict:
    for window_s in GUARD_WINDOWS_S:
        sample = samples.get(window_s)
        if sample is not None and sample.value is not None and sample.count >= GUARD_REQUESTS:
            outcome: Outcome = "breach" if sample.value >= GUARD_RATE else "learning"
            seen = _seen(sample, window_s)
            return replace(seen, outcome=outcome, days=days, is_guard=outcome == "breach")
    return Verdict("learning", days=days)


def _is_going_on(samples: Mapping[int, Sample], judged_s: int, rate: float) -> bool:
    """Return whether the newest requests still fail: a long window alone looks back too far.

    What is shorter than the judged window can tell, what is longer can't.
    """
    for window_s in (300, 900, 3_600):
        if window_s >= judged_s:
            break
        sample = samples.get(window_s)
        enough = ENOUGH_NEWEST if window_s < 3_600 else 1
        if sample is not None and sample.value is not None and sample.count >= enough:
            wanted = 2 if sample.count >= 3 else 1
            return sample.failures >= wanted and sample.value >= rate
    return True


def _smallest_sufficient(
    samples: Mapping[int, Sample], windows: Sequence[int], enough: int
) -> int | None:
    for window_s in windows:
        sample = samples.get(window_s)
        wanted = min(enough, ENOUGH_IN_A_DAY) if window_s == 86_400 else enough
        if sample is not None and sample.value is not None and sample.count >= wanted:
            return window_s
    return None


def _seen(sample: Sample, window_s: int, outcome: Outcome = "clear", **more: Any) -> Verdict:
    return Verdict(
        outcome,
        value=sample.value,
        window_s=window_s,
        count=sample.count,
        failures=sample.failures,
        priced_ratio=sample.priced_ratio,
        **more,
    )
