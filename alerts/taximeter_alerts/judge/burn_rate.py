"""How fast do failures use up what may fail? Samples of trailing windows in, a verdict out. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from taximeter_alerts.judge.detect import Sample, Verdict
from taximeter_alerts.rules.book import Rule

BURNS: Final = ((3_600, 300, 14.4), (21_600, 900, 6.0), (86_400, 3_600, 3.0))
"""A long window that counts, a short one that says that it goes on, and how many times what may
fail must fail in both (Google's SRE workbook, on the windows that are read anyway)."""


def judge_burning(rule: Rule, samples: Mapping[int, Sample]) -> Verdict:
    """Return a breach where a failure rate is many times the share that may fail."""
    may_fail = round(1 - rule.condition.limit, 9)
    first: Verdict | None = None
    for long_s, short_s, limit in BURNS:
        sample, newest = samples.get(long_s), samples.get(short_s)
        if sample is None or sample.value is None or sample.count < (rule.min_requests or 1):
            continue
        goes_on = newest is not None and (newest.value or 0.0) >= limit * may_fail
        seen = Verdict(
            "clear",
            sample.value,
            long_s,
            sample.count,
            sample.failures,
            usual=may_fail,
            overshoot=sample.value / may_fail,
            is_fresh=goes_on,
        )
        if goes_on and sample.value >= limit * may_fail and sample.failures >= rule.min_errors:
            return replace(seen, outcome="breach")
        first = first or seen
    return first or Verdict("no_data")
