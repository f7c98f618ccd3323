"""Judging as plainly as it can be said, a group and a window at a time: what the columns must agree with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

from taximeter_alerts.judge.burn_rate import judge_burning
from taximeter_alerts.judge.detect import Reference, Sample, Usual, Verdict, judge
from taximeter_alerts.judge.groups import WINDOWS, Labels
from taximeter_alerts.judge.quiet import judge_quiet
from taximeter_alerts.judge.windows import Reader, asked_metrics, counted_by
from taximeter_alerts.rules.book import RATES, WINDOWS_S, Rule, labels_key
from taximeter_collector.metrics import metric_query


@dataclass(frozen=True, slots=True)
class PastWindow:
    """One tumbling window of the past."""

    age_days: int
    """Whole rolling days before the end: 0 is the last 24 hours."""
    hours_off: float
    """How far from this hour of day, around the clock."""
    value: float
    count: float
    failures: float = 0.0
    cost_per_request: float | None = None
    start: datetime = field(default=datetime(2000, 1, 1, tzinfo=UTC))


def reference_of(windows: Mapping[int, Sequence[PastWindow]]) -> Reference:
    """Return all that there is to learn of one metric of one group, from its windows by size."""
    hours = windows.get(3_600, ())
    rate, rate_days = usual_rate(hours)
    by_day: dict[int, float] = {}
    for window in hours:
        by_day[window.age_days] = max(by_day.get(window.age_days, 0.0), window.value)
    dearest = sorted(by_day.values(), reverse=True)[:3]
    return Reference(
        days=len({window.age_days for window in hours}),
        busiest_hour=max((window.count for window in hours), default=0.0),
        usuals={size: usual_of(found, size) for size, found in windows.items()},
        rate=rate,
        rate_days=rate_days,
        dearest=dearest[-1] if dearest else 0.0,
        dearest_days=len(by_day),
        hours={window.start: window.count for window in hours},
    )


def usual_of(windows: Sequence[PastWindow], window_s: int) -> Usual | None:
    """Return the usual range of one window size, None while too little is known."""
    enough = [w for w in windows if w.count >= 10]
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
    outside = 2 if len(by_day) >= 10 else 1
    costs = [w.cost_per_request for w in chosen if w.cost_per_request is not None]
    return Usual(
        value=median(w.value for w in chosen),
        high=highs[min(len(highs) - 1, outside)],
        days=len(by_day),
        is_this_hour=is_near,
        cost_per_request=median(costs) if costs else None,
        low=lows[min(len(lows) - 1, outside)],
    )


def usual_rate(hours: Sequence[PastWindow]) -> tuple[float | None, int]:
    """Return the median of the daily rates, None while too little is known, and of how many days."""
    by_day: dict[int, tuple[float, float]] = {}
    for window in hours:
        failures, count = by_day.get(window.age_days, (0.0, 0.0))
        by_day[window.age_days] = (failures + window.failures, count + window.count)
    rates = [f / n for f, n in by_day.values() if n >= 10]
    if sum(n for _, n in by_day.values()) < 100 or not rates:
        return None, len(by_day)
    return median(rates), len(rates)


def quantile(values: Sequence[float], q: float) -> float:
    """Return the quantile ``q`` (0 to 1) of one value or more, linear between two."""
    ordered = sorted(values)
    position = q * (len(ordered) - 1)
    low = math.floor(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)


def verdict_of(
    rule: Rule, samples: Mapping[int, Sample], reference: Reference, at: datetime
) -> Verdict:
    """Return what one rule says of one group."""
    if rule.is_silent:
        return judge_quiet(rule, samples, reference, at)
    if rule.condition.kind == "burning":
        return judge_burning(rule, samples)
    return judge(rule, samples, reference)


def verdicts_of(
    rule: Rule, reader: Reader, known: Sequence[Labels], at: datetime
) -> dict[tuple[str, str], Verdict]:
    """Return the verdict of a rule on every group, with traffic or known."""
    now: dict[str, dict[int, Sample]] = {labels_key(labels): {} for labels in known}
    for size in WINDOWS:
        for row in _rows(reader, rule, at - timedelta(seconds=size), at):
            now.setdefault(_key(rule, row), {})[size] = _sample(rule.watch, row)
    past: dict[str, dict[int, list[PastWindow]]] = {}
    end = at.replace(minute=0)
    for size in WINDOWS_S:
        for row in _rows(reader, rule, end - timedelta(days=14), end, size):
            window = _past_window(row["bucket"], _sample(rule.watch, row), size, end)
            if window is not None:
                past.setdefault(_key(rule, row), {}).setdefault(size, []).append(window)
    return {
        (rule.name, key): verdict_of(rule, samples, reference_of(past.get(key, {})), at)
        for key, samples in now.items()
    }


def _rows(
    reader: Reader, rule: Rule, start: datetime, end: datetime, bucket_s: int | None = None
) -> list[dict[str, Any]]:
    where = {name: list(values) for name, values in rule.where}
    names = asked_metrics([rule.watch])
    query = metric_query(names, start, end, bucket_s=bucket_s, by=rule.by, where=where, parts=True)
    rows: list[dict[str, Any]] = reader.query(query.sql, query.params).to_pylist()
    return rows


def _key(rule: Rule, row: Mapping[str, Any]) -> str:
    return labels_key({name: row[name] for name in rule.by})


def _sample(metric: str, row: Mapping[str, Any]) -> Sample:
    return Sample(
        value=row[metric],
        count=row[counted_by(metric)] or 0.0,
        failures=(row[f"{metric}__num"] or 0.0) if metric in RATES else 0.0,
        cost_per_request=row["cost_per_request_usd"],
        requests=row["sample_requests"] or 0.0,
        priced_ratio=row["priced_ratio"],
    )


def _past_window(
    start: datetime, sample: Sample, window_s: int, end: datetime
) -> PastWindow | None:
    """Return a window as the end sees it; None if it is no whole one, or holds nothing."""
    is_whole = start >= end - timedelta(days=14) and start + timedelta(seconds=window_s) <= end
    if not is_whole or sample.value is None or sample.count <= 0:
        return None
    age_s = (end - start).total_seconds()
    # From the window's middle to the middle of the hour that is judged.
    hours = (age_s - window_s / 2 + 1_800) / 3_600 % 24
    return PastWindow(
        int(age_s - 1) // 86_400, min(hours, 24 - hours), sample.value, sample.count,
        sample.failures, sample.cost_per_request, start,
    )  # fmt: skip
