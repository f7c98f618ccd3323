"""Evaluates closed minutes in order: read, judge, step, and write all of it in one transaction."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from taximeter_alerts.incidents.board import Board
from taximeter_alerts.judge.budgets import BudgetStatus
from taximeter_alerts.judge.cause import Cause, read_cause
from taximeter_alerts.judge.finding import Finding
from taximeter_alerts.judge.judging import find_all, metrics_of
from taximeter_alerts.judge.live_source import Collector, LiveSource
from taximeter_alerts.judge.past_day import read_past_day
from taximeter_alerts.judge.windows import Shape, shapes_of
from taximeter_alerts.rules.book import RuleBook
from taximeter_collector.client import QueryError

CATCH_UP: Final = timedelta(hours=6)
_FINE: Final = timedelta(minutes=10)
"""The newest part of a gap is evaluated minute by minute, the rest in steps of five."""
HURRY_S: Final = 20.0
"""A catch-up that takes longer goes on in ever larger steps: what is now matters more than what was."""
_LATE_GROWTH: Final = 1.1
_SMALL_STEP_BACK: Final = timedelta(minutes=5)
"""Waited for; a larger one is followed."""
_MOST_CHARTS: Final = 20
"""An evaluation's; what more breaches at once is read by the next one."""
_log = logging.getLogger("taximeter_alerts")


@dataclass(slots=True)
class Health:
    """How the evaluation itself is doing."""

    evaluations: int = 0
    failures: int = 0
    failures_in_a_row: int = 0
    last_error: str | None = None
    failing_since: datetime | None = None
    duration_s: float = 0.0


class Evaluator:
    """Keeps the watermark; `tick` may be called as often as one likes."""

    def __init__(
        self,
        book: RuleBook,
        reader: Collector,
        board: Board,
        clock: Callable[[], datetime],
    ) -> None:
        self._book, self._reader, self._board, self._clock = book, reader, board, clock
        self._shapes = shapes_of(book.rules)
        self._source = LiveSource(reader, clock, self._is_learning)
        self._sizes: dict[Shape, float] = {}
        self._lock, self._stop = threading.Lock(), threading.Event()
        self.health = Health()
        self.budgets: list[BudgetStatus] | None = None
        """Where every budget stood at the last evaluation, for each group; None before the first."""
        board.restore(clock())

    def take_over(self, before: Evaluator) -> None:
        """Go on where the evaluator of other rules has stopped."""
        self.health = before.health
        if before.budgets is not None:
            kept = {rule.budget for rule in self._book.rules}
            self.budgets = [status for status in before.budgets if status.budget in kept]

    def tick(self) -> int:
        """Evaluate every minute that has closed since; return how many evaluations that took."""
        if not self._lock.acquire(blocking=False):
            return 0
        try:
            return self._catch_up()
        finally:
            self._lock.release()

    def stop(self) -> None:
        """Let `tick` end after the evaluation that it is in; the next start goes on from there."""
        self._stop.set()

    def _catch_up(self) -> int:
        started = time.monotonic()
        end = _floor_minute(self._clock() - self._book.settle)
        done = 0
        try:
            self._source.look()
            self._follow_clock(end)
            self._take_in_late_data(end)
            is_slow = partial(_is_past, started + HURRY_S)
            for at in minutes_to_evaluate(self._board.watermark, end, is_slow):
                if self._stop.is_set():
                    break
                self._evaluate(at, is_newest=at == end)
                done += 1
        except QueryError as error:
            self.health.failures += 1
            self.health.failures_in_a_row += 1
            self.health.last_error = error.message
            self.health.failing_since = self.health.failing_since or self._clock()
            _log.warning("evaluation failed: %s", error.message)
        else:
            self.health.failures_in_a_row = 0
            self.health.last_error = self.health.failing_since = None
        self._board.check_itself(self.health.failing_since, self.health.last_error, self._clock())
        self.health.evaluations += done
        self.health.duration_s = time.monotonic() - started
        return done

    def _evaluate(self, at: datetime, *, is_newest: bool) -> None:
        seen = [(name, key, c.labels) for (name, key), c in self._board.current.items()]
        found = find_all(self._shapes, self._source, seen, at)
        news = found.news(self._board.is_known)
        if is_newest:
            news = self._with_evidence(news, at)
        self._board.record(at, news, is_newest=is_newest, latest=found)
        if is_newest:
            stands = {(f.budget.budget.name, f.key): f.budget for f in news if f.budget}
            self.budgets = list(stands.values())

    def _with_evidence(self, findings: list[Finding], at: datetime) -> list[Finding]:
        """Read last day and cause of what may be told next, critical ones first."""
        bare = self._board.unexplained()
        wanted = [finding for finding in findings if self._is_news(finding, bare)]
        read: dict[Hashable, tuple[tuple[float | None, ...], Cause]] = {}
        explained: dict[int, Finding] = {}
        for finding in sorted(wanted, key=lambda f: f.severity != "critical"):
            rule = finding.rule
            # The levels of a budget, for one, are about the same.
            about = (rule.watch, rule.where, rule.is_silent, finding.key, finding.verdict.window_s)
            if about not in read:
                if len(read) == _MOST_CHARTS:
                    continue
                day = read_past_day(self._reader, rule, finding.labels, at)
                read[about] = day, self._cause(finding, at)
            day, cause = read[about]
            explained[id(finding)] = replace(finding, past_day=day, cause=cause)
        return [explained.get(id(finding), finding) for finding in findings]

    def _is_news(self, finding: Finding, bare: set[tuple[str, str]]) -> bool:
        """Return whether a finding fires, or may soon, and its cause was not read yet."""
        key = (finding.rule.name, finding.key)
        current = self._board.current.get(key)
        is_known = current is not None and current.state.is_firing and key not in bare
        return finding.verdict.outcome == "breach" and not is_known

    def _cause(self, finding: Finding, at: datetime) -> Cause:
        """Return the cause; an alert without one is told all the same, and it is not asked for again."""
        try:
            return read_cause(self._reader, finding.rule, finding.labels, finding.verdict, at)
        except QueryError as error:
            _log.warning("the cause of %s is not known: %s", finding.rule.name, error.message)
            return Cause()

    def _is_learning(self, shape: Shape) -> bool:
        names = {rule.name for rule in self._shapes[shape]}
        return not self._board.current or any(
            current.state.status == "learning"
            for (name, _), current in self._board.current.items()
            if name in names
        )

    def _take_in_late_data(self, end: datetime) -> None:
        """Go back when much history came late (a back-fill, an agent that was offline)."""
        is_late = False
        for shape, rules in self._shapes.items():
            metrics = metrics_of(rules)
            if not metrics:
                continue
            size = self._source.history(shape, metrics, end).size
            before = self._sizes.get(shape)
            self._sizes[shape] = size
            # An hour passing adds its share; only more than that is late.
            is_late |= before is not None and size > max(before * _LATE_GROWTH, before + 100)
        if is_late and self._board.watermark is not None:
            self._board.forget_recent(max(end - CATCH_UP, _DAWN))

    def _follow_clock(self, end: datetime) -> None:
        """A clock that was far ahead and is right again would else leave us blind for as long."""
        watermark = self._board.watermark
        if watermark is not None and watermark - end > _SMALL_STEP_BACK:
            _log.warning("the clock was set back by %s; going on from there", watermark - end)
            self._board.rewind(end)


_DAWN: Final = datetime.fromisoformat("2000-01-01T00:00:00+00:00")


def minutes_to_evaluate(
    watermark: datetime | None, end: datetime, is_slow: Callable[[], bool] = lambda: False
) -> Iterator[datetime]:
    """Yield the ends of the minutes to evaluate, oldest first; none if time went backwards.

    While ``is_slow`` a step takes a third of what is left, so that some twelve reach the present.
    """
    at = max(watermark or end - CATCH_UP, end - CATCH_UP)
    while at < end:
        left = end - at
        step = timedelta(minutes=5 if left > _FINE + timedelta(minutes=5) else 1)
        if is_slow():
            step = max(step, timedelta(minutes=left // timedelta(minutes=3)))
        at += step
        yield at


def _is_past(moment: float) -> bool:
    return time.monotonic() > moment


def _floor_minute(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)
