"""What the rules would have sent in the past: the live path with a clock that is set, and nobody to tell."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, get_args

from taximeter_alerts.backtest.guard_backtest import (
    GuardEffect,
    guards_json,
    guards_text,
    read_guards,
)
from taximeter_alerts.backtest.replay import Replay
from taximeter_alerts.incidents.board import Board
from taximeter_alerts.incidents.dispatcher import Dispatcher
from taximeter_alerts.judge.detect import HISTORY_DAYS
from taximeter_alerts.judge.judging import Findings, Key, find_all
from taximeter_alerts.judge.state import STILL
from taximeter_alerts.judge.states import States
from taximeter_alerts.judge.windows import Reader, shapes_of
from taximeter_alerts.notification_log import NotificationLog
from taximeter_alerts.outbox.delivery import Delivery
from taximeter_alerts.outbox.notice import HEADLINES, Notice
from taximeter_alerts.outbox.outbox import Outbox
from taximeter_alerts.rules.book import Receiver, Rule, RuleBook, Sensitivity

STEP: Final = timedelta(minutes=5)
SENSITIVITIES: Final[tuple[Sensitivity, ...]] = get_args(Sensitivity)


@dataclass
class Fired:
    """How often one rule fired: as it is written, and by sensitivity where it has one."""

    rule: Rule
    as_written: int = 0
    by_sensitivity: dict[Sensitivity, int] = field(default_factory=dict)


@dataclass
class Backtest:
    """What would have happened in [start, end)."""

    start: datetime
    end: datetime
    groups: int = 0
    """Groups of any rule that had traffic."""
    rules: dict[str, Fired] = field(default_factory=dict)
    notices: list[Notice] = field(default_factory=list)
    guards: list[GuardEffect] = field(default_factory=list)

    @property
    def weeks(self) -> float:
        return (self.end - self.start).total_seconds() / (7 * 86_400)

    @property
    def incidents(self) -> int:
        return len({notice.incident for notice in self.notices})


def run_backtest(
    book: RuleBook,
    reader: Reader,
    start: datetime,
    end: datetime,
    progress: Callable[[datetime], None] = lambda at: None,
) -> Backtest:
    """Return what the rules would have sent between `start` and `end`, judged every five minutes.

    Silences and receivers don't matter: one receiver is told of every rule. Raises QueryError.
    """
    result = Backtest(start, end)
    book = replace(
        book,
        rules=tuple(replace(rule, notify=None) for rule in book.rules),
        receivers=(Receiver("backtest", "email"),),
        silences=(),
    )
    source = Replay(reader, start, end)
    with tempfile.TemporaryDirectory(prefix="taximeter-backtest-") as folder:
        past = _Past(book, Path(folder), result)
        others = {
            sensitivity: _Counting(book, sensitivity, result) for sensitivity in SENSITIVITIES
        }
        shapes = shapes_of(book.rules)
        at = start
        while at < end:
            at += STEP
            past.take(find_all(shapes, source, past.seen(), at), at)
            for counting in others.values():
                counting.take(source, at)
            progress(at)
        result.groups = past.groups()
        result.guards = read_guards(reader, start, end)
        past.close()
    return result


class _Past:
    """An alerts process that is told what the time is, in a folder of its own."""

    def __init__(self, book: RuleBook, folder: Path, result: Backtest) -> None:
        self._result, self._now = result, result.start
        self._log = NotificationLog(folder)
        self._outbox = Outbox(self._log, {"backtest": self}, lambda: self._now)
        self._board = Board(book, self._log, Dispatcher(book, self._log, self._outbox, _no_page))
        self._labels: dict[Key, dict[str, str | None]] = {}
        result.rules = {rule.name: Fired(rule) for rule in book.rules}

    def send(self, notice: Notice, delivery: Delivery) -> None:
        """Keep a notice: this is the one receiver."""
        self._result.notices.append(notice)

    def seen(self) -> list[tuple[str, str, dict[str, str | None]]]:
        return [(name, key, labels) for (name, key), labels in self._labels.items()]

    def groups(self) -> int:
        return len({key for _, key in self._labels})

    def close(self) -> None:
        self._log.close()

    def _firing(self) -> set[Key]:
        return {key for key, now in self._board.current.items() if now.state.is_firing}

    def take(self, found: Findings, at: datetime) -> None:
        """Record what is news: what is well and was well changes nothing."""
        self._now = at
        self._labels |= found.labels()
        moving = {k for k, c in self._board.current.items() if c.state.status not in STILL}
        news = [
            finding
            for finding in found.news(lambda name, key, _: (name, key) not in moving)
            if finding.verdict.outcome == "breach" or (finding.rule.name, finding.key) in moving
        ]
        before = self._firing()
        if news:
            self._board.record(at, news, is_newest=True)
        for name, _ in self._firing() - before:
            self._result.rules[name].as_written += 1
        while news and self._outbox.send_next("backtest"):
            pass


class _Counting:
    """Counts how often the rules would fire with another sensitivity."""

    def __init__(self, book: RuleBook, sensitivity: Sensitivity, result: Backtest) -> None:
        self._sensitivity, self._result = sensitivity, result
        rules = [replace(r, sensitivity=sensitivity) for r in book.rules if r.has_sensitivity]
        self._shapes = shapes_of(rules)
        self._states = States()
        for rule in rules:
            result.rules[rule.name].by_sensitivity[sensitivity] = 0

    def take(self, source: Replay, at: datetime) -> None:
        for finding, taken in self._states.take(find_all(self._shapes, source, (), at), at):
            if taken.transition == "fired":
                self._result.rules[finding.rule.name].by_sensitivity[self._sensitivity] += 1


def backtest_text(found: Backtest) -> str:
    """Return the answer for people."""
    lines = []
    for notice in found.notices:
        if notice.kind != "resolved":
            moment = (notice.at or "")[:16].replace("T", " ")
            lines.append(f"{moment}  {HEADLINES[notice.kind]}: {notice.sentence}")
    resolved = sum(notice.kind == "resolved" for notice in found.notices)
    days = (found.end - found.start).days
    if lines:
        lines.append("")
    lines.append(
        f"In {days} days and {found.groups} groups: {found.incidents} incidents"
        f" ({found.incidents / found.weeks:.1f} a week),"
        f" {len(found.notices)} notices, {resolved} of them resolved."
    )
    width = max(len(name) for name in found.rules) if found.rules else 4
    lines += ["", f"{'alerts fired':{width}}   now  a week   low  normal  high"]
    for name, fired in found.rules.items():
        low, normal, high = (_number(fired.by_sensitivity.get(s)) for s in SENSITIVITIES)
        a_week = fired.as_written / found.weeks
        lines.append(
            f"{name:{width}}  {fired.as_written:4d}  {a_week:6.1f}  {low:>4}  {normal:>6}  {high:>4}"
        )
    guards = guards_text(found.guards)
    lines += ["", *guards] if guards else []
    lines += ["", f"What is usual at the start was learned from the {HISTORY_DAYS} days before it."]
    return "\n".join(lines)


def backtest_json(found: Backtest) -> dict[str, Any]:
    """Return the answer for programs."""
    return {
        "start": found.start.isoformat(),
        "end": found.end.isoformat(),
        "groups": found.groups,
        "incidents": found.incidents,
        "rules": {
            name: {
                "fired": fired.as_written,
                "a_week": fired.as_written / found.weeks,
                "by_sensitivity": fired.by_sensitivity,
            }
            for name, fired in found.rules.items()
        },
        "guards": guards_json(found.guards),
        "notices": [
            {
                "at": notice.at,
                "kind": notice.kind,
                "incident": notice.incident,
                "rule": notice.rule,
                "labels": dict(notice.labels),
                "title": notice.title,
                "sentence": notice.sentence,
            }
            for notice in found.notices
        ],
    }


def _number(count: int | None) -> str:
    return "–" if count is None else str(count)


def _no_page() -> None:
    return None
