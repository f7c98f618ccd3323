"""Where every rule stands for every group: findings in; states, incidents and notices out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from taximeter_alerts.incidents.dispatcher import Dispatcher
from taximeter_alerts.incidents.incidents import Incidents
from taximeter_alerts.incidents.muting import Cause, is_cause
from taximeter_alerts.judge.detect import Verdict
from taximeter_alerts.judge.finding import Finding
from taximeter_alerts.judge.judging import Findings, Key
from taximeter_alerts.judge.state import STILL, AlertState, Step, is_at_rest, rewind, step
from taximeter_alerts.notification_log import (
    NotificationLog,
    read_state,
    read_time,
    state_text,
    time_text,
    values_of,
)
from taximeter_alerts.rules.book import RuleBook
from taximeter_alerts.rules.defaults import DEAF, OWN_RULES


@dataclass(frozen=True, slots=True)
class Current:
    """What is known of one rule and group since it last changed."""

    labels: dict[str, str | None]
    state: AlertState
    verdict: Verdict
    """Of what is at rest: that of when it came to rest (`Board.verdict` is the latest)."""
    sentence: str
    """Why it breaches; empty where it does not."""


class Board:
    """Everything that one evaluation changes is one transaction of the notification log."""

    def __init__(self, book: RuleBook, log: NotificationLog, dispatcher: Dispatcher) -> None:
        self._rules = {rule.name: rule for rule in (*book.rules, *OWN_RULES)}
        self._log, self._dispatcher = log, dispatcher
        self._incidents = Incidents(log)
        self.current: dict[Key, Current] = {}
        self._rest: dict[Key, str] = {}
        """The outcomes that would change nothing."""
        self._latest: Findings | None = None

    @property
    def watermark(self) -> datetime | None:
        """The end of the last evaluated minute."""
        return read_time(self._log.get("watermark"))

    def set_watermark(self, at: datetime) -> None:
        self._log.set("watermark", time_text(at) or "")

    def is_known(self, rule: str, key: str, outcome: str) -> bool:
        """Return whether a group is at rest and this outcome leaves it there."""
        return self._rest.get((rule, key)) == outcome

    def record(
        self,
        at: datetime,
        findings: Iterable[Finding],
        *,
        is_newest: bool,
        latest: Findings | None = None,
    ) -> None:
        """Take in what the evaluation of the minute that ends at `at` found, but for what is known.

        Only the newest minute tells people: what began and ended in a gap is history.
        """
        self._take(at, findings, is_told=is_newest, is_minute=True)
        self._latest = latest

    def verdict(self, key: Key) -> Verdict:
        """Return what the last evaluation found; of what is at rest it is worked out now."""
        latest = self._latest.of(*key) if self._latest and key in self._rest else None
        return latest.verdict if latest else self.current[key].verdict

    def check_itself(self, failing_since: datetime | None, error: str | None, at: datetime) -> None:
        """Take in how alerting itself is doing; what is well and was well is no news."""
        firing = self._firing()
        # One may be in alerts.yaml no more: its alert ends all the same.
        deaf = [str(self.current[key].labels["receiver"]) for key in firing if key[0] == DEAF.name]
        findings = [
            finding
            for finding in self._dispatcher.own_findings(failing_since, error, deaf, at)
            if finding.verdict.outcome == "breach" or (finding.rule.name, finding.key) in firing
        ]
        if findings:
            self._take(at, findings, is_told=True, is_minute=False)

    def _firing(self) -> set[Key]:
        return {key for key, now in self.current.items() if now.state.is_firing}

    def _take(
        self, at: datetime, findings: Iterable[Finding], *, is_told: bool, is_minute: bool
    ) -> None:
        taken = []
        for finding in findings:
            before = self.current.get((finding.rule.name, finding.key))
            if before is None and finding.verdict.outcome == "no_data":
                self._rest[finding.rule.name, finding.key] = "no_data"
                continue
            state = before.state if before else AlertState()
            taken.append((finding, step(state, finding.rule, finding.verdict, at)))
        found = {
            (finding.rule.name, finding.key): Current(
                finding.labels, now.state, self._verdict(finding, now.state), finding.sentence
            )
            for finding, now in taken
        }
        with self._log.transaction():
            for finding, now in taken:
                self._incidents.apply(finding, now, at)
                if self._is_news(finding, now.state):
                    self._store((finding.rule.name, finding.key), found)
            if is_told:
                self._dispatcher.notify(at, self.causes(found))
            if is_minute:
                self.set_watermark(at)
        # A new mapping: other threads go through the old one.
        self.current = {**self.current, **found}
        for finding, now in taken:
            self._note_rest(finding, now)

    def _note_rest(self, finding: Finding, now: Step) -> None:
        key = (finding.rule.name, finding.key)
        if is_at_rest(now.state):
            self._rest[key] = finding.verdict.outcome
        else:
            self._rest.pop(key, None)

    def unexplained(self) -> set[Key]:
        """Return the open alerts without a cause: they fired in a minute that was caught up."""
        return self._incidents.unexplained()

    def causes(self, newer: dict[Key, Current] | None = None) -> list[Cause]:
        """Return the firing alerts that explain others."""
        current = {**self.current, **(newer or {})}
        return [
            Cause(self._rules[name], now.labels, now.verdict.agents)
            for (name, _), now in current.items()
            if now.state.is_firing and is_cause(self._rules[name])
        ]

    def restore(self, at: datetime) -> None:
        """Take up the stored states; what no rule stands for any more is closed."""
        for row in self._log.rows("select * from state"):
            rule, labels = self._rules.get(row["rule"]), json.loads(row["labels"])
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
            self._incidents.close_orphans(set(self.current), at)

    def rewind(self, at: datetime) -> None:
        """The clock was set back to `at`: go on from there, as if nothing later had been seen."""
        self._replace(lambda state: rewind(state, at))
        with self._log.transaction():
            for key in self.current:
                self._store(key, self.current)
            self._incidents.rewind(at)
            self.set_watermark(at)

    def forget_recent(self, at: datetime) -> None:
        """Late data came: evaluate again from `at`; alerts that fire or fired keep their state."""
        self.set_watermark(at)

        def fresh(state: AlertState) -> AlertState:
            if state.is_firing or state.resolved_at is not None:
                return state
            return replace(state, evaluated_at=None, status="inactive", streak=0)

        self._replace(fresh)

    def _is_news(self, finding: Finding, state: AlertState) -> bool:
        """Return whether a new process must know of it: thousands of groups are as they were."""
        before = self.current.get((finding.rule.name, finding.key))
        return before is None or before.state.status != state.status or state.status not in STILL

    def _verdict(self, finding: Finding, state: AlertState) -> Verdict:
        """Return the verdict; agents that an outage has hit stay in it until it is over."""
        before = self.current.get((finding.rule.name, finding.key))
        if before is None or not (state.is_firing and before.state.is_firing):
            return finding.verdict
        agents = tuple(sorted({*before.verdict.agents, *finding.verdict.agents}))
        return replace(finding.verdict, agents=agents)

    def _replace(self, change: Callable[[AlertState], AlertState]) -> None:
        self._rest = {}
        for key, now in self.current.items():
            self.current[key] = replace(now, state=change(now.state))

    def _store(self, key: Key, found: dict[Key, Current]) -> None:
        now = found[key]
        self._log.execute(
            "insert or replace into state (rule, labels, state, verdict, sentence)"
            " values (?, ?, ?, ?, ?)",
            *key,
            state_text(now.state),
            json.dumps(values_of(now.verdict)),
            now.sentence,
        )
