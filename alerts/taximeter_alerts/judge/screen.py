"""Which groups of a rule may breach? Columns in, an outcome a group out. Pure.

Thousands of groups are as usual, and are looked at all at once: only those that may breach are judged
one by one (detect.py, quiet.py, burn_rate.py), which has the last word. For the others the
outcome here is the one that judging would give.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt

from taximeter_alerts.judge.burn_rate import BURNS
from taximeter_alerts.judge.detect import (
    DEAREST_DAYS,
    DEAREST_WINDOW_S,
    ENOUGH_IN_A_DAY,
    ENOUGH_REQUESTS,
    FAST_WINDOWS_S,
    GUARD_RATE,
    GUARD_REQUESTS,
    GUARD_WINDOWS_S,
    HISTORY_DAYS,
    RATE_FLOOR,
    RATE_OVERSHOOT,
    RATE_WINDOWS_S,
    SLOW_WINDOWS_S,
)
from taximeter_alerts.judge.groups import WINDOWS, SampleColumns
from taximeter_alerts.judge.past import HOUR_S, HOURS, Learned
from taximeter_alerts.judge.quiet import (
    ENOUGH_HOURS,
    LEAST_DAYS,
    LEAST_EXPECTED,
    QUIET_SHARE,
    comparable_hours,
)
from taximeter_alerts.judge.segments import Floats, Ints
from taximeter_alerts.rules.book import Rule

CLEAR, LEARNING, NO_DATA, MAYBE = range(4)
OUTCOMES: Final = ("clear", "learning", "no_data", "maybe")
Outcomes = npt.NDArray[np.int8]
_Mask = npt.NDArray[np.bool_]
_ROUNDING: Final = 1 - 1e-9
"""A bound is computed otherwise than where it is judged: what is as near as that may breach."""


def screen(
    rule: Rule, samples: SampleColumns, past: Learned, places: Ints, at: datetime
) -> Outcomes:
    """Return the outcome of each group; `places` are those of the groups in what was learned."""
    if rule.is_silent:
        return _quiet(rule, samples, past, places, at)
    if rule.condition.kind == "burning":
        found = _burning(rule, samples)
    elif rule.condition.kind not in ("spike", "drop"):
        found = _limit(rule, samples)
    elif rule.is_spike_of_one:
        found = _dearest(rule, samples, past, places)
    elif rule.is_rate:
        found = _rate(rule, samples, past, places)
    else:
        found = _value(rule, samples, past, places)
    found[(samples.count <= 0).all(axis=0)] = NO_DATA
    return found


def _value(rule: Rule, samples: SampleColumns, past: Learned, places: Ints) -> Outcomes:
    """A value is compared on the smallest window with enough requests, of the short and of the long ones."""
    found = np.where(past.days[places] > 0, NO_DATA, LEARNING).astype(np.int8)
    is_known, is_far = np.zeros_like(found, bool), np.zeros_like(found, bool)
    for sizes in (FAST_WINDOWS_S, SLOW_WINDOWS_S):
        is_left = np.ones_like(is_known)
        for window_s in sizes:
            value, here = _sufficient(rule, samples, window_s)
            here &= is_left
            is_left &= ~here
            usual = past.usual[window_s].value[places]
            found[here] = LEARNING
            is_known |= here & ~np.isnan(usual)
            is_far |= here & _is_far(rule, value, usual)
    found[is_known] = CLEAR
    found[is_far] = MAYBE
    return found


def _sufficient(rule: Rule, samples: SampleColumns, window_s: int) -> tuple[Floats, _Mask]:
    """Return a window's values, and where it holds enough of them."""
    row, enough = WINDOWS.index(window_s), rule.min_requests or ENOUGH_REQUESTS
    wanted = min(enough, ENOUGH_IN_A_DAY) if window_s == WINDOWS[-1] else enough
    value = samples.value[row]
    return value, ~np.isnan(value) & (samples.count[row] >= wanted)


def _is_far(rule: Rule, value: Floats, usual: Floats) -> _Mask:
    if rule.is_drop:
        return (value <= (1 - rule.condition.limit) * usual) & (value < usual)
    return (value >= rule.condition.limit * usual) & (value > usual)


def _rate(rule: Rule, samples: SampleColumns, past: Learned, places: Ints) -> Outcomes:
    usual = past.rate[places]
    is_known = ~np.isnan(usual)
    found = np.where(is_known, NO_DATA, LEARNING).astype(np.int8)
    ratio = max(rule.condition.limit, RATE_OVERSHOOT[rule.sensitivity])
    # A lower bound is no higher than the rate itself.
    least = ratio * np.maximum(usual, RATE_FLOOR) * _ROUNDING
    is_far = np.zeros_like(is_known)
    for window_s in RATE_WINDOWS_S:
        row = WINDOWS.index(window_s)
        value, count, failures = samples.value[row], samples.count[row], samples.failures[row]
        enough = is_known & ~np.isnan(value) & (count >= (rule.min_requests or 1))
        found[enough] = CLEAR
        is_far |= enough & (failures >= rule.min_errors) & (failures >= least * count)
    found[is_far] = MAYBE
    found[is_known & (samples.count[WINDOWS.index(HOUR_S)] <= 0)] = NO_DATA
    for window_s in GUARD_WINDOWS_S:
        row = WINDOWS.index(window_s)
        is_half = (samples.value[row] >= GUARD_RATE) & (samples.count[row] >= GUARD_REQUESTS)
        found[~is_known & is_half] = MAYBE
    return found


def _dearest(rule: Rule, samples: SampleColumns, past: Learned, places: Ints) -> Outcomes:
    value = samples.value[WINDOWS.index(DEAREST_WINDOW_S)]
    least = np.maximum(rule.condition.limit * past.dearest[places], rule.min_impact_usd or 0.0)
    found = np.where(value >= least, MAYBE, CLEAR).astype(np.int8)
    found[past.dearest_days[places] < DEAREST_DAYS] = LEARNING
    found[np.isnan(value)] = NO_DATA
    return found


def _limit(rule: Rule, samples: SampleColumns) -> Outcomes:
    row = WINDOWS.index(rule.over_s)
    value, limit = samples.value[row], rule.condition.limit
    is_out = value > limit if rule.condition.kind == "above" else value < limit
    found = np.where(is_out, MAYBE, CLEAR).astype(np.int8)
    found[np.isnan(value) | (samples.count[row] < (rule.min_requests or 1))] = NO_DATA
    return found


def _burning(rule: Rule, samples: SampleColumns) -> Outcomes:
    found = np.full(samples.value.shape[1], NO_DATA, dtype=np.int8)
    may_fail = round(1 - rule.condition.limit, 9)
    for long_s, _, limit in BURNS:
        row = WINDOWS.index(long_s)
        value = samples.value[row]
        enough = ~np.isnan(value) & (samples.count[row] >= (rule.min_requests or 1))
        found[enough & (found == NO_DATA)] = CLEAR
        found[enough & (value >= limit * may_fail)] = MAYBE
    return found


def _quiet(
    rule: Rule, samples: SampleColumns, past: Learned, places: Ints, at: datetime
) -> Outcomes:
    limit_s = int(rule.condition.limit)
    count = samples.count[WINDOWS.index(limit_s or HOUR_S)]
    if limit_s:
        return np.where(count == 0, MAYBE, CLEAR).astype(np.int8)
    found = np.full(len(count), CLEAR, dtype=np.int8)
    few = np.flatnonzero(count <= past.busiest_hour[places] * QUIET_SHARE)
    if len(few):
        found[few] = _few(count[few], levels_of_all(past, places[few], at))
    return found


def _few(count: Floats, levels: Floats) -> Outcomes:
    """Return the outcome of groups with little traffic; `levels` has a row a comparable day."""
    expected = np.sort(levels, axis=0)[1]  # NaN comes last
    found = np.where(count > 0, CLEAR, NO_DATA).astype(np.int8)
    found[(expected >= LEAST_EXPECTED) & (count <= expected * QUIET_SHARE)] = MAYBE
    found[(~np.isnan(levels)).sum(axis=0) < LEAST_DAYS] = LEARNING
    return found


def levels_of_all(past: Learned, places: Ints, at: datetime) -> Floats:
    """Return `levels_of` for some groups: a row a day of the past, NaN where it is not comparable."""
    assert past.hours is not None
    counts, first_hour = past.hours[places], past.end - timedelta(hours=HOURS)
    is_any = ~np.isnan(counts)
    first = np.where(is_any.any(axis=1), is_any.argmax(axis=1), HOURS)
    levels = np.full((HISTORY_DAYS, len(places)), np.nan)
    for row, (same, hours) in enumerate(comparable_hours(at)):
        near = [(hour - first_hour) // timedelta(hours=1) for hour in hours]
        found = counts[:, [hour for hour in near if 0 <= hour < HOURS]]
        enough = (~np.isnan(found)).sum(axis=1) >= ENOUGH_HOURS
        level = np.where(enough, _least(found), 0.0)
        age = (same - timedelta(hours=2) - first_hour) / timedelta(hours=1)
        levels[row] = np.where(age >= first, level, np.nan)
    return levels


def _least(counts: Floats) -> Floats:
    least: Floats = np.where(np.isnan(counts), np.inf, counts).min(axis=1, initial=np.inf)
    return least


def outcomes_of(found: Outcomes) -> Sequence[str]:
    """Return the names of outcomes."""
    return [OUTCOMES[code] for code in found.tolist()]
