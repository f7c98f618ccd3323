"""Opens, re-opens and closes incidents, and puts their notices in the outbox."""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from taximeter_alerts.detect import Verdict
from taximeter_alerts.notice import (
    Kind,
    Notice,
    dashboard_link,
    matches,
    resolved_sentence,
    should_notify,
    title_of,
)
from taximeter_alerts.notification_log import NotificationLog, read_time, time_text
from taximeter_alerts.outbox import Outbox
from taximeter_alerts.rules import Rule, RuleBook
from taximeter_alerts.state import Step


class Incidents:
    """All methods run inside the evaluation's transaction."""

    def __init__(
        self, book: RuleBook, log: NotificationLog, outbox: Outbox, dashboard_url: str | None
    ) -> None:
        self._rules = {rule.name: rule for rule in book.rules}
        self._book, self._log, self._outbox = book, log, outbox
        self._dashboard_url = dashboard_url

    def apply(
        self,
        rule: Rule,
        key: str,
        labels: Mapping[str, str | None],
        verdict: Verdict,
        sentence: str,
        taken: Step,
        at: datetime,
    ) -> None:
        """Write what a step means for the group's incident."""
        if taken.transition == "fired":
            self._open(rule, key, verdict, sentence, taken, at)
        elif taken.transition == "resolved":
            self._resolve(rule, key, labels, taken, at)
        elif taken.state.is_firing and verdict.outcome == "breach":
            self._worsen(rule, key, verdict, sentence)

    def notify(self, at: datetime) -> None:
        """Tell what is firing and not told yet, unless it is silenced."""
        silences = self.silences(at)
        for row in self._log.rows("select * from incident where resolved_at is null"):
            rule = self._rules.get(row["rule"])
            if rule is None:
                continue
            labels = json.loads(row["labels"])
            kind = should_notify(
                is_silenced=any(matches(s["matchers"], rule.name, labels) for s in silences),
                is_acked=row["acked_at"] is not None,
                severity=row["severity"],
                times=row["times"],
                times_notified=row["notified"],
                notified_at=read_time(row["notified_at"]),
                at=at,
            )
            if kind is not None and self._put(rule, row, kind, row["sentence"], labels, at):
                self._log.execute(
                    "update incident set notified = times, notified_at = ? where id = ?",
                    time_text(at),
                    row["id"],
                )

    def silences(self, at: datetime) -> list[dict[str, Any]]:
        """Return the silences in force."""
        rows = self._log.rows(
            "select * from silence where ends_at > ? and ended_at is null order by created_at",
            time_text(at),
        )
        return [{**row, "matchers": json.loads(row["matchers"])} for row in rows]

    def close_orphans(self, known: Collection[tuple[str, str]], at: datetime) -> None:
        """Close the incidents of rules that are gone, without a notice."""
        for row in self._log.rows("select * from incident where resolved_at is null"):
            if (row["rule"], row["labels"]) not in known:
                self._close(row["id"], at, "its rule is gone")

    def _open(
        self, rule: Rule, key: str, verdict: Verdict, sentence: str, taken: Step, at: datetime
    ) -> None:
        peak = json.dumps({"value": verdict.value, "sentence": sentence, **asdict(verdict)})
        began = time_text(taken.state.since or at)
        if taken.reason == "again":
            changed = self._log.execute(
                "update incident set resolved_at = null, reason = null, times = times + 1,"
                " sentence = ?, acked_at = null, acked_by = null where id = (select id from"
                " incident where rule = ? and labels = ? order by opened_at desc limit 1)",
                sentence,
                rule.name,
                key,
            )
            if changed:
                return
        self._log.execute(
            "insert into incident (id, rule, labels, severity, opened_at, sentence, peak)"
            " values (?, ?, ?, ?, ?, ?, ?)",
            secrets.token_hex(8),
            rule.name,
            key,
            rule.severity,
            began,
            sentence,
            peak,
        )

    def _worsen(self, rule: Rule, key: str, verdict: Verdict, sentence: str) -> None:
        for row in self._open_row(rule, key):
            peak = json.loads(row["peak"])
            is_below = rule.condition.kind == "below"
            value, worst = verdict.value or 0.0, peak.get("value") or 0.0
            if (value < worst) if is_below else (value > worst):
                peak = {**asdict(verdict), "sentence": sentence}
            self._log.execute(
                "update incident set sentence = ?, peak = ? where id = ?",
                sentence,
                json.dumps(peak),
                row["id"],
            )

    def _resolve(
        self,
        rule: Rule,
        key: str,
        labels: Mapping[str, str | None],
        taken: Step,
        at: datetime,
    ) -> None:
        for row in self._open_row(rule, key):
            self._close(row["id"], at, taken.reason)
            if row["notified"]:
                opened = read_time(row["opened_at"]) or at
                worst = str(json.loads(row["peak"]).get("sentence") or row["sentence"])
                title = title_of(rule, labels)
                sentence = resolved_sentence(title, opened, at, taken.reason, worst)
                self._put(rule, row, "resolved", sentence, labels, at)

    def _put(
        self,
        rule: Rule,
        row: Mapping[str, Any],
        kind: Kind,
        sentence: str,
        labels: Mapping[str, str | None],
        at: datetime,
    ) -> bool:
        """Queue a notice for each of the rule's receivers; return whether there are any."""
        opened = read_time(row["opened_at"]) or at
        notice = Notice(
            kind=kind,
            incident=row["id"],
            rule=rule.name,
            severity=row["severity"],
            title=title_of(rule, labels),
            sentence=sentence,
            link=dashboard_link(self._dashboard_url, labels, opened, at),
            started=opened.strftime("%Y-%m-%d %H:%M UTC"),
        )
        sequence = row["times"]
        if kind == "still_firing":
            sequence = int(at.timestamp())
        receivers = self._book.receivers_of(rule)
        for receiver in receivers:
            self._outbox.add(notice, receiver.name, sequence)
        return bool(receivers)

    def _open_row(self, rule: Rule, key: str) -> list[dict[str, Any]]:
        return self._log.rows(
            "select * from incident where rule = ? and labels = ? and resolved_at is null",
            rule.name,
            key,
        )

    def _close(self, id: str, at: datetime, reason: str) -> None:
        self._log.execute(
            "update incident set resolved_at = ?, reason = ? where id = ?",
            time_text(at),
            reason,
            id,
        )
