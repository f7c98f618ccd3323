"""Evaluates closed minutes in order: read, judge, step, and write all of it in one transaction."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from taximeter_alerts.detect import Verdict, judge
from taximeter_alerts.explain import explain
from taximeter_alerts.incidents import Incidents
from taximeter_alerts.notification_log import (
    NotificationLog,
    read_state,
    read_time,
    state_text,
    time_text,
)
from taximeter_alerts.rules import Rule, RuleBook
from taximeter_alerts.state import AlertState, step
from taximeter_alerts.windows import (
    Group,
    History,
    Reader,
    Shape,
    read_history,
    read_samples,
    shapes_of,
)
from taximeter_collector.client import QueryError

CATCH_UP: Final = timedelta(hours=6)
_FINE: Final = timedelta(minutes=10)
"""The newest part of a gap is evaluated minute by minute, the rest in steps of five."""
_LEARNING_REFRESH: Final = timedelta(seconds=10)
_REFRESH: Final = timedelta(minutes=10)
_LATE_GROWTH: Final = 1.1
_log = logging.getLogger("taximeter_alerts")

Key = tuple[str, str]
"""A rule's name and a group."""


@dataclass(frozen=True, slots=True)
class Current:
    """What is known of one rule and group after the last evaluation."""

    labels: dict[str, str | None]
    state: AlertState
    verdict: Verdict
    sentence: str


@dataclass(slots=True)
class Health:
    """How the evaluation itself is doing."""

    evaluations: int = 0
    failures: int = 0
    failures_in_a_row: int = 0
    last_error: str | None = None
    finished_at: datetime | None = None
    duration_s: float = 0.0


@dataclass(frozen=True, slots=True)
class _Known:
    end: datetime
    read_at: datetime
    history: History


class Evaluator:
    """Keeps the watermark; `tick` may be called as often as one likes."""

    def __init__(
        self,
        book: RuleBook,
        reader: Reader,
        log: NotificationLog,
        incidents: Incidents,
        clock: Callable[[], datetime],
    ) -> None:
        self._book, self._reader, self._log, self._clock = book, reader, log, clock
        self._incidents = incidents
        self._shapes = shapes_of(book.rules)
        self._history: dict[Shape, _Known] = {}
        self._sizes: dict[Shape, float] = {}
        self._lock = threading.Lock()
        self.health = Health()
        self.current: dict[Key, Current] = {}
        self._restore()

    @property
    def watermark(self) -> datetime | None:
        """The end of the last evaluated minute."""
        return read_time(self._log.get("watermark"))

    def tick(self) -> int:
        """Evaluate every minute that has closed since; return how many evaluations that took."""
        if not self._lock.acquire(blocking=False):
            return 0
        try:
            return self._catch_up()
        finally:
            self._lock.release()

    def _catch_up(self) -> int:
        started = time.monotonic()
        end = _floor_minute(self._clock() - self._book.settle)
        done = 0
        try:
            self._take_in_late_data(end)
            for at in minutes_to_evaluate(self.watermark, end):
                self._evaluate(at, is_newest=at == end)
                done += 1
        except QueryError as error:
            self.health.failures += 1
            self.health.failures_in_a_row += 1
            self.health.last_error = error.message
            _log.warning("evaluation failed: %s", error.message)
        else:
            self.health.failures_in_a_row = 0
            self.health.last_error = None
            self.health.finished_at = self._clock()
        self.health.evaluations += done
        self.health.duration_s = time.monotonic() - started
        return done

    def _evaluate(self, at: datetime, *, is_newest: bool) -> None:
        found: dict[Key, Current] = {}
        changes = []
        for shape, rules in self._shapes.items():
            metrics = list(dict.fromkeys(rule.watch for rule in rules))
            groups = read_samples(self._reader, shape, metrics, at)
            history = self._history_at(shape, at)
            for rule in rules:
                for key, group in self._groups_of(rule, groups).items():
                    samples = group.samples.get(rule.watch, {})
                    verdict = judge(rule, samples, history.of(key, rule.watch))
                    before = self.current.get((rule.name, key))
                    if before is None and verdict.outcome == "no_data":
                        continue
                    taken = step(before.state if before else AlertState(), rule, verdict, at)
                    sentence = explain(rule, group.labels, verdict)
                    now = Current(group.labels, taken.state, verdict, sentence)
                    found[rule.name, key] = now
                    changes.append((rule, key, now, taken))
        with self._log.transaction():
            for rule, key, now, taken in changes:
                self._incidents.apply(rule, key, now.labels, now.verdict, now.sentence, taken, at)
                self._store(rule.name, key, now)
            if is_newest:
                self._incidents.notify(at)
            self._log.set("watermark", time_text(at) or "")
        self.current.update(found)

    def _groups_of(self, rule: Rule, groups: dict[str, Group]) -> dict[str, Group]:
        """Return the groups with traffic, and those once seen: silence is a verdict too."""
        known = {
            key: Group(current.labels)
            for (name, key), current in self.current.items()
            if name == rule.name and key not in groups
        }
        return {**groups, **known}

    def _store(self, rule: str, key: str, now: Current) -> None:
        self._log.execute(
            "insert or replace into state (rule, labels, state, verdict, sentence)"
            " values (?, ?, ?, ?, ?)",
            rule,
            key,
            state_text(now.state),
            json.dumps(asdict(now.verdict)),
            now.sentence,
        )

    def _restore(self) -> None:
        rules = {rule.name: rule for rule in self._book.rules}
        for row in self._log.rows("select * from state"):
            rule, labels = rules.get(row["rule"]), json.loads(row["labels"])
            if rule is None or set(labels) != set(rule.by):
                self._log.execute(
                    "delete from state where rule = ? and labels = ?", row["rule"], row["labels"]
                )
                continue
            self.current[row["rule"], row["labels"]] = Current(
                labels, read_state(row["state"]), Verdict(**json.loads(row["verdict"])),
                row["sentence"],
            )  # fmt: skip
        with self._log.transaction():
            self._incidents.close_orphans(set(self.current), self._clock())

    def _history_at(self, shape: Shape, at: datetime) -> History:
        end = at.replace(minute=0, second=0, microsecond=0)
        known = self._history.get(shape)
        if known is not None and known.end == end and not self._is_stale(shape, known):
            return known.history
        metrics = list(dict.fromkeys(rule.watch for rule in self._shapes[shape]))
        history = read_history(self._reader, shape, metrics, end)
        self._history[shape] = _Known(end, self._clock(), history)
        return history

    def _is_stale(self, shape: Shape, known: _Known) -> bool:
        names = {rule.name for rule in self._shapes[shape]}
        is_learning = not self.current or any(
            current.state.status == "learning"
            for (name, _), current in self.current.items()
            if name in names
        )
        return self._clock() - known.read_at >= (_LEARNING_REFRESH if is_learning else _REFRESH)

    def _take_in_late_data(self, end: datetime) -> None:
        """Go back when much history came late (a back-fill, an agent that was offline)."""
        is_late = False
        for shape in self._shapes:
            size = self._history_at(shape, end).size
            before = self._sizes.get(shape)
            self._sizes[shape] = size
            # An hour passing adds its share; only more than that is late.
            is_late |= before is not None and size > max(before * _LATE_GROWTH, before + 100)
        if is_late and self.watermark is not None:
            self._log.set("watermark", time_text(max(end - CATCH_UP, _DAWN)) or "")
            for key, current in self.current.items():
                if not current.state.is_firing and current.state.resolved_at is None:
                    state = replace(current.state, evaluated_at=None, status="inactive", streak=0)
                    self.current[key] = replace(current, state=state)


_DAWN: Final = datetime.fromisoformat("2000-01-01T00:00:00+00:00")


def minutes_to_evaluate(watermark: datetime | None, end: datetime) -> Iterator[datetime]:
    """Yield the ends of the minutes to evaluate, oldest first; none if time went backwards."""
    at = max(watermark or end - CATCH_UP, end - CATCH_UP)
    while at < end:
        left = end - at
        at += timedelta(minutes=5) if left > _FINE + timedelta(minutes=5) else timedelta(minutes=1)
        yield at


def _floor_minute(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)
