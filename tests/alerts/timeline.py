"""Scripted timelines as Alertmanager's tests have them: what is seen in, notices by minute out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from taximeter_alerts.incidents.board import Board
from taximeter_alerts.incidents.dispatcher import Dispatcher
from taximeter_alerts.incidents.silences import keep_file_silences
from taximeter_alerts.judge.detect import Outcome, Verdict
from taximeter_alerts.judge.finding import Finding
from taximeter_alerts.notification_log import NotificationLog
from taximeter_alerts.outbox.delivery import Delivery, NotificationError
from taximeter_alerts.outbox.notice import Notice
from taximeter_alerts.outbox.outbox import Outbox
from taximeter_alerts.rules.book import Severity
from taximeter_alerts.rules.rules_file import parse_rules

RULES = """\
version: 1
defaults: false
notify: {ops: {email: ops@example.org}}
rules:
  - {name: cost, watch: cost_per_request_usd, by: agent_name, when: above $1}
  - {name: errors, watch: error_rate, by: agent_name, when: above 20%, severity: critical}
"""
START = datetime(2026, 11, 20, 14, 0, tzinfo=UTC)


class Inbox:
    """A receiver; while it is down, nothing arrives."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self.is_down = False
        self.notices: list[Notice] = []
        self.minutes: list[int] = []

    def send(self, notice: Notice, delivery: Delivery) -> None:
        if self.is_down:
            raise NotificationError("the receiver is down", is_permanent=False)
        self.notices.append(notice)
        self.minutes.append(int((self._timeline.now - START).total_seconds() // 60))


class Timeline:
    """An alerts process without threads, whose evaluations are told what they find."""

    def __init__(self, data_dir: Path, rules: str = RULES) -> None:
        self.data_dir, self.now = data_dir, START
        self._seen: dict[tuple[str, str], dict[str, str | None]] = {}
        self._inboxes: dict[str, Inbox] = {}
        self._start(rules)

    def _start(self, rules: str) -> None:
        self.rules = rules
        self.book = parse_rules(rules, "alerts.yaml", {"KEY": "k"})
        self.log = NotificationLog(self.data_dir)
        for receiver in self.book.receivers:
            self._inboxes.setdefault(receiver.name, Inbox(self))
        inboxes = {r.name: self._inboxes[r.name] for r in self.book.receivers}
        self.outbox = Outbox(self.log, inboxes, lambda: self.now, jitter=lambda: 0.5)
        keep_file_silences(self.log, self.book, self.now)
        dispatcher = Dispatcher(self.book, self.log, self.outbox, lambda: None)
        self.board = Board(self.book, self.log, dispatcher)
        self.board.restore(self.now)

    def restart(self, rules: str | None = None) -> None:
        """Begin a new process on the same files; nothing in memory is left."""
        self.log.close()
        self._start(rules or self.rules)

    def close(self) -> None:
        self.log.close()

    def inbox(self, name: str = "ops") -> Inbox:
        return self._inboxes[name]

    @property
    def told(self) -> list[tuple[int, str]]:
        """What the first receiver got: minute and kind."""
        inbox = next(iter(self._inboxes.values()))
        return [(m, n.kind) for m, n in zip(inbox.minutes, inbox.notices, strict=True)]

    def run(
        self,
        minutes: int = 1,
        firing: tuple[tuple[str, str], ...] = (),
        *,
        absent: tuple[str, ...] = (),
        critical: bool = False,
        step: int = 1,
        is_told: bool = True,
        agents: tuple[str, ...] = (),
    ) -> None:
        """Let minutes pass in which these rules breach for these groups, and all others are fine.

        `absent` are groups without data. Not `is_told`: minutes that are caught up.
        """
        for _ in range(0, minutes, step):
            self.now += timedelta(minutes=step)
            findings = [self._finding(f, "breach", critical, agents) for f in firing]
            for (rule, group), _labels in list(self._seen.items()):
                if (rule, group) not in firing:
                    outcome: Outcome = "no_data" if group in absent else "clear"
                    findings.append(self._finding((rule, group), outcome, False, ()))
            self.board.record(self.now, findings, is_newest=is_told)
            if is_told:
                self.deliver()

    def deliver(self) -> None:
        for receiver in self.outbox.receivers:
            while self.outbox.send_next(receiver):
                pass

    def status(self, rule: str = "cost", group: str = "a") -> str:
        labels = self._seen[rule, group]
        return next(
            now.state.status
            for (name, _), now in self.board.current.items()
            if name == rule and now.labels == labels
        )

    def rows(self, table: str) -> list[dict[str, Any]]:
        return self.log.rows(f"select * from {table} order by opened_at")

    def _finding(
        self, what: tuple[str, str], outcome: Outcome, critical: bool, agents: tuple[str, ...]
    ) -> Finding:
        """`what` is a rule and a group as `value` or `value/value`, in the order of `by`."""
        name, group = what
        rule = next(rule for rule in self.book.rules if rule.name == name)
        values = group.split("/") if group else []
        labels: dict[str, str | None] = dict(zip(rule.by, values, strict=True))
        self._seen[what] = labels
        count = 0.0 if outcome == "no_data" else 30.0
        verdict = Verdict(outcome, 2.0, 900, count, is_fresh=count > 0, agents=agents)
        severity: Severity = "critical" if critical else rule.severity
        return Finding(rule, labels, verdict, f"{group}: {name} {outcome}.", severity)
