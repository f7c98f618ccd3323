"""Is this group's window out of its usual range? Samples in, a verdict out; no clock, no I/O.

Values are judged by the "usual range" (median and second-highest day of comparable windows),
failure rates by a Wilson bound on the counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from statistics import median
from typing import Any, Final, Literal

from taximeter_alerts.judge.bounds import quantile, wilson_low
from taximeter_alerts.rules.book import LOOPS, NEWEST_S, Rule

Outcome = Literal["breach", "clear", "learning", "no_data"]

HISTORY_DAYS: Final = 14
ENOUGH_REQUESTS: Final = 20
ENOUGH_IN_A_DAY: Final = 5
ENOUGH_IN_REFERENCE: Final = 10
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
_DAWN: Final = datetime(2000, 1, 1, tzinfo=UTC)


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


@dataclass(slots=True)  # not frozen: thousands are made for each group and hour
class PastWindow:
    """One tumbling window of the reference."""

    age_days: int
    """Whole rolling days before the reference's end: 0 is the last 24 hours."""
    hours_off: float
    """How far from this hour of day, around the clock."""
    value: float
    count: float
    failures: float = 0.0
    cost_per_request: float | None = None
    start: datetime = _DAWN


@dataclass(frozen=True, slots=True)
class Usual:
    """What is usual for a window of this size at this hour."""

    value: float
    high: float
    """The second-highest day: what all but one of the days stayed under."""
    days: int
    is_this_hour: bool
    cost_per_request: float | None = None
    low: float = 0.0
    """The second-lowest day: what all but one of the days stayed above."""


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


class Reference:
    """The past of one metric of one group; what is usual is worked out once and kept."""

    def __init__(self, windows: Mapping[int, Sequence[PastWindow]]) -> None:
        self._windows = windows
        self._usual: dict[int, Usual | None] = {}
        self._rate: tuple[float | None, int] | None = None

    @cached_property
    def days(self) -> int:
        """On how many of the last days there was anything to learn from."""
        size = 3_600 if 3_600 in self._windows else min(self._windows, default=0)
        return min(HISTORY_DAYS, len({w.age_days for w in self.windows(size) if w.count > 0}))

    @cached_property
    def busiest_hour(self) -> float:
        """Return the most requests of an hour, 0 without any."""
        return max((window.count for window in self.windows(3_600)), default=0.0)

    def windows(self, window_s: int) -> Sequence[PastWindow]:
        """Return the past windows of this size."""
        return self._windows.get(window_s, ())

    def usual(self, window_s: int) -> Usual | None:
        if window_s not in self._usual:
            self._usual[window_s] = usual_of(self._windows.get(window_s, ()), window_s)
        return self._usual[window_s]

    def usual_rate(self) -> tuple[float | None, int]:
        """Return the usual failure rate (None: not known yet), and of how many days."""
        if self._rate is None:
            self._rate = _usual_rate(self._windows.get(3_600, ()))
        return self._rate


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


def usual_of(windows: Sequence[PastWindow], window_s: int) -> Usual | None:
    """Return the usual range of one window size, None while too little is known."""
    enough = [w for w in windows if w.count >= ENOUGH_IN_REFERENCE]
    near = [w for w in enough if w.hours_off <= 1.5] if window_s <= 3_600 else []
    wanted = {300: 24, 900: 12, 3_600: 8, 21_600: 6, 86_400: 3}[window_s]
    is_near = len(near) >= wanted and len({w.age_days for w in near}) >= 3
    chosen = near if is_near else enough
    if len(chosen) < wanted:
        return None
    by_day: dict[int, list[float]] = {}
    for window in chosen:
        by_day.setdefault(window.age_days, []).append(window.value)
    highs = sorted((quantile(values, 0.95) for values in by_day.values()), reverse=True)
    lows = sorted(quantile(values, 0.05) for values in by_day.values())
    costs = [w.cost_per_request for w in chosen if w.cost_per_request is not None]
    return Usual(
        value=median(w.value for w in chosen),
        high=highs[1] if len(highs) > 1 else highs[0],
        days=len(by_day),
        is_this_hour=is_near,
        cost_per_request=median(costs) if costs else None,
        low=lows[1] if len(lows) > 1 else lows[0],
    )


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
    usual = reference.usual(window_s)
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
    by_day: dict[int, float] = {}
    for window in reference.windows(DEAREST_WINDOW_S):
        by_day[window.age_days] = max(by_day.get(window.age_days, 0.0), window.value)
    if len(by_day) < DEAREST_DAYS:
        return replace(seen, outcome="learning", days=len(by_day))
    usual = sorted(by_day.values(), reverse=True)[2]
    is_breach = sample.value >= max(rule.condition.limit * usual, rule.min_impact_usd or 0.0)
    return replace(
        seen,
        outcome="breach" if is_breach and sample.value > 0 else "clear",
        usual=usual,
        days=len(by_day),
        overshoot=sample.value / usual if usual else None,
    )


def _extra_usd(rule: Rule, sample: Sample, usual: Usual) -> float | None:
    if rule.watch == "cost_per_request_usd" and sample.value is not None:
        return (sample.value - usual.value) * sample.count
    if sample.cost_per_request is None or usual.cost_per_request is None:
        return None
    return (sample.cost_per_request - usual.cost_per_request) * sample.requests


def _judge_rate(rule: Rule, samples: Mapping[int, Sample], reference: Reference) -> Verdict:
    usual, days = reference.usual_rate()
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
            and _is_going_on(samples, max(2 * floor, sample.value / 2))
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


def _usual_rate(hours: Sequence[PastWindow]) -> tuple[float | None, int]:
    """Return the median of the daily rates: one bad day can't become usual."""
    by_day: dict[int, tuple[float, float]] = {}
    for window in hours:
        failures, count = by_day.get(window.age_days, (0.0, 0.0))
        by_day[window.age_days] = (failures + window.failures, count + window.count)
    rates = [f / n for f, n in by_day.values() if n >= ENOUGH_IN_REFERENCE]
    total = sum(n for _, n in by_day.values())
    if total < 5 * ENOUGH_REQUESTS or not rates:
        return None, len(by_day)
    return median(rates), len(rates)


def _guard_rate(samples: Mapping[int, Sample], days: int) -> Verdict:
    for window_s in (900, 3_600):
        sample = samples.get(window_s)
        if sample is not None and sample.value is not None and sample.count >= GUARD_REQUESTS:
            outcome: Outcome = "breach" if sample.value >= GUARD_RATE else "learning"
            seen = _seen(sample, window_s)
            return replace(seen, outcome=outcome, days=days, is_guard=outcome == "breach")
    return Verdict("learning", days=days)


def _is_going_on(samples: Mapping[int, Sample], rate: float) -> bool:
    """Return whether the newest requests still fail: a long window alone looks back too far."""
    for window_s in (300, 900, 3_600):
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
