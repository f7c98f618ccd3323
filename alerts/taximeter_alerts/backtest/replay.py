"""The past, minute by minute: reads the roll-up once, then any moment's windows out of memory.

Gives what windows.py asks the collector for, for thousands of moments. Percentiles don't add up
over minutes: those are asked for at each moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import numpy as np

from taximeter_alerts.backtest.minutes import Minutes, read_minutes
from taximeter_alerts.judge.budgets import (
    BudgetSpend,
    GroupSpend,
    Spend,
    Window,
    current_windows,
    past_days,
    spend_by_day,
)
from taximeter_alerts.judge.detect import HISTORY_DAYS
from taximeter_alerts.judge.groups import WINDOWS, Groups, History, known
from taximeter_alerts.judge.past import HOUR_S, has_usual_range, learn, usual_range
from taximeter_alerts.judge.windows import Reader, Shape, read_history, read_samples
from taximeter_alerts.rules.book import WINDOWS_S, Budget
from taximeter_collector.metrics import METRICS

_LONGEST_PERIOD: Final = timedelta(days=31)
"""Of a budget, which may have begun so long before the first moment."""
_Asked = tuple[Shape, tuple[str, ...]]


class Replay:
    """A `Source` of any moment in (start, end]."""

    def __init__(self, reader: Reader, start: datetime, end: datetime) -> None:
        self._reader = reader
        self._start, self._end = start - timedelta(days=HISTORY_DAYS), end
        self._minutes: dict[_Asked, Minutes] = {}
        self._spent: dict[Shape, Minutes] = {}
        self._samples: dict[_Asked, tuple[datetime, Groups]] = {}
        self._histories: dict[_Asked, tuple[datetime, History]] = {}

    def samples(self, shape: Shape, metrics: Sequence[str], at: datetime) -> Groups:
        """Return each group's trailing windows that end at `at`."""
        key = (shape, tuple(metrics))
        known = self._samples.get(key)
        if known is None or known[0] != at:
            known = self._samples[key] = at, self._read_samples(shape, metrics, at)
        return known[1]

    def _read_samples(self, shape: Shape, metrics: Sequence[str], at: datetime) -> Groups:
        added, others = _by_kind(metrics)
        minutes = self._loaded(shape, added)
        end = int(at.timestamp())
        rows = minutes.rows(end - np.array(WINDOWS)[:, None], end)
        has_any = np.flatnonzero(rows.low[-1] < rows.high[-1])
        rows = rows.of(has_any)
        groups = Groups(
            [minutes.labels[place] for place in has_any.tolist()],
            {metric: minutes.samples(metric, rows) for metric in added},
        )
        return groups.joined(read_samples(self._reader, shape, others, at)) if others else groups

    def history(self, shape: Shape, metrics: Sequence[str], at: datetime) -> History:
        """Return what was usual up to the hour of `at`."""
        end = at.replace(minute=0, second=0, microsecond=0)
        key = (shape, tuple(metrics))
        known = self._histories.get(key)
        if known is None or known[0] != end:
            known = self._histories[key] = end, self._read_history(shape, metrics, end)
        return known[1]

    def _read_history(self, shape: Shape, metrics: Sequence[str], end: datetime) -> History:
        added, others = _by_kind(metrics)
        minutes, start = self._loaded(shape, added), end - timedelta(days=HISTORY_DAYS)
        groups, learned = len(minutes.labels), {}
        for metric in added:
            usual = {
                window_s: usual_range(
                    minutes.past(metric, window_s, start, end), window_s, groups + 1, end
                )
                for window_s in WINDOWS_S
                if has_usual_range(metric)
            }
            hours = minutes.past(metric, HOUR_S, start, end)
            learned[metric] = learn(metric, hours, groups, end, usual)
        history = History(minutes.places, learned)
        if others:
            live = read_history(self._reader, shape, others, end)
            history = history.beside(live)
        return history

    def spend(self, shape: Shape, budget: Budget, at: datetime) -> BudgetSpend:
        """Return what the groups of a budget spent up to `at`."""
        if shape not in self._spent:
            start = self._start - _LONGEST_PERIOD
            self._spent[shape] = read_minutes(self._reader, shape, ["cost_usd"], start, self._end)
        minutes, days = self._spent[shape], past_days(budget, at)
        current = _spends(minutes, current_windows(budget, at))
        return BudgetSpend(current, spend_by_day(_spends(minutes, list(days.values())), days))

    def _loaded(self, shape: Shape, metrics: Sequence[str]) -> Minutes:
        key = (shape, tuple(metrics))
        if key not in self._minutes:
            self._minutes[key] = read_minutes(self._reader, shape, metrics, self._start, self._end)
        return self._minutes[key]


def _spends(minutes: Minutes, windows: Sequence[Window]) -> GroupSpend:
    """Return what each group spent in each window."""
    moments = np.array([[moment.timestamp() for moment in window] for window in windows])
    rows = minutes.rows(moments[:, :1], moments[:, 1:])
    found = minutes.samples("cost_usd", rows)
    usd, priced = np.nan_to_num(found.value).T.tolist(), found.priced_ratio.T.tolist()
    return {
        key: (minutes.labels[place], tuple(map(Spend, usd[place], map(known, priced[place]))))
        for key, place in minutes.places.items()
    }


def _by_kind(metrics: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the metrics that add up over minutes (or have a maximum), and the others."""
    added = [name for name in metrics if METRICS[name].numerator.startswith(("sum(", "max("))]
    return added, [name for name in metrics if name not in added]
