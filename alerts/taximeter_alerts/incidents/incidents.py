"""Opens, re-opens and closes alerts and the incidents they belong to. What is told: dispatcher."""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

from taximeter_alerts.judge.finding import Finding
from taximeter_alerts.judge.state import REOPEN_WITHIN, Step
from taximeter_alerts.notification_log import NotificationLog, time_text
from taximeter_alerts.rules.book import group_labels, labels_key

RANK: Final[dict[str, int]] = {"info": 0, "warning": 1, "critical": 2}


def importance(severity: str, extra_usd: float | None, opened_at: str) -> tuple[int, float, str]:
    """Return the order in which an incident's alerts are told: the worst, the dearest, the oldest.

    >>> alerts = [("warning", 0.5, "12:00"), ("warning", 41.2, "12:05"), ("critical", None, "12:09")]
    >>> [opened_at for *_, opened_at in sorted(alerts, key=lambda alert: importance(*alert))]
    ['12:09', '12:05', '12:00']
    """
    return -RANK[severity], -(extra_usd or 0.0), opened_at


class Incidents:
    """All methods run inside the evaluation's transaction."""

    def __init__(self, log: NotificationLog) -> None:
        self._log = log

    def apply(self, finding: Finding, taken: Step, at: datetime) -> None:
        """Write what a step means for the alert and its incident."""
        if taken.transition == "fired":
            self._fire(finding, taken, at)
        elif taken.transition == "resolved":
            self._resolve(finding, taken.reason, at)
        elif taken.state.is_firing and finding.verdict.outcome == "breach":
            self._worsen(finding)

    def unexplained(self) -> set[tuple[str, str]]:
        """Return rule and labels of the open alerts whose cause was not read yet."""
        rows = self._log.rows(
            "select rule, labels from alert"
            " where resolved_at is null and json_extract(peak, '$.cause') is null"
        )
        return {(row["rule"], row["labels"]) for row in rows}

    def close_orphans(self, known: Collection[tuple[str, str]], at: datetime) -> None:
        """Close the alerts of rules that are gone, without a notice."""
        for row in self._log.rows("select * from alert where resolved_at is null"):
            if (row["rule"], row["labels"]) not in known:
                self._close(row, at, "its rule is gone")
                self._log.execute(
                    "update thread set told = '[]' where incident = ? and not exists"
                    " (select 1 from alert where incident = ? and resolved_at is null)",
                    row["incident"],
                    row["incident"],
                )

    def rewind(self, at: datetime) -> None:
        """The clock was set back to `at`: nothing fired or was told later than now."""
        for table, column in (("incident", "fired_at"), ("thread", "notified_at")):
            self._log.execute(
                f"update {table} set {column} = ? where {column} > ?", time_text(at), time_text(at)
            )

    def _fire(self, finding: Finding, taken: Step, at: datetime) -> None:
        began = time_text(taken.began or at) or ""
        incident = self._incident(finding, began, at)
        self._log.execute(
            "insert into alert (incident, rule, labels, severity, opened_at, fired_at, sentence,"
            " peak) values (?, ?, ?, ?, ?, ?, ?, ?)"
            " on conflict do update set resolved_at = null, reason = null, times = times + 1,"
            " severity = excluded.severity, sentence = excluded.sentence, peak = excluded.peak,"
            " opened_at = excluded.opened_at, fired_at = excluded.fired_at",
            incident,
            finding.rule.name,
            finding.key,
            finding.severity,
            began,
            time_text(at),
            finding.sentence,
            _peak(finding),
        )
        self._raise_severity(incident, finding)

    def _incident(self, finding: Finding, began: str, at: datetime) -> str:
        """Return the open incident of the group, the last one opened again, or a new one."""
        labels = labels_key(group_labels(finding.rule, finding.labels))
        rows = self._log.rows(
            "select id, resolved_at from incident where group_key = ? and"
            " (resolved_at is null or resolved_at > ?)"
            " order by resolved_at is null desc, resolved_at desc limit 1",
            labels,
            time_text(at - REOPEN_WITHIN),
        )
        if rows and rows[0]["resolved_at"] is None:
            return str(rows[0]["id"])
        if rows:
            self._log.execute(
                "update incident set resolved_at = null, reason = null, times = times + 1,"
                " severity = ?, fired_at = ?, acked_at = null, acked_by = null,"
                " snoozed_until = null, snoozed_by = null where id = ?",
                finding.severity,
                time_text(at),
                rows[0]["id"],
            )
            return str(rows[0]["id"])
        id = secrets.token_hex(8)
        self._log.execute(
            "insert into incident (id, group_key, labels, severity, opened_at, fired_at)"
            " values (?, ?, ?, ?, ?, ?)",
            id,
            labels,
            labels,
            finding.severity,
            began,
            time_text(at),
        )
        return id

    def _worsen(self, finding: Finding) -> None:
        for row in self._open_alert(finding):
            before = json.loads(row["peak"])
            worst = before.get("value") or 0.0
            value = finding.verdict.value or 0.0
            is_down = finding.rule.condition.kind in ("drop", "below", "silent")
            is_worse = value < worst if is_down else value > worst
            self._log.execute(
                "update alert set sentence = ?, peak = ?"
                " where incident = ? and rule = ? and labels = ?",
                finding.sentence,
                _peak(finding, before) if is_worse else _explained(finding, before),
                row["incident"],
                row["rule"],
                row["labels"],
            )
            self._raise_severity(row["incident"], finding)

    def _raise_severity(self, incident: str, finding: Finding) -> None:
        """An alert that has become critical stays so until it is over."""
        if finding.severity != "critical":
            return
        self._log.execute(
            "update alert set severity = 'critical' where incident = ? and rule = ? and labels = ?",
            incident,
            finding.rule.name,
            finding.key,
        )
        self._log.execute("update incident set severity = 'critical' where id = ?", incident)

    def _resolve(self, finding: Finding, reason: str, at: datetime) -> None:
        for row in self._open_alert(finding):
            self._close(row, at, reason)

    def _close(self, alert: Mapping[str, Any], at: datetime, reason: str) -> None:
        """Close an alert, and its incident when it was the last."""
        self._log.execute(
            "update alert set resolved_at = ?, reason = ?"
            " where incident = ? and rule = ? and labels = ?",
            time_text(at),
            reason,
            alert["incident"],
            alert["rule"],
            alert["labels"],
        )
        self._log.execute(
            "update incident set resolved_at = ?, reason = ? where id = ? and not exists"
            " (select 1 from alert where incident = ? and resolved_at is null)",
            time_text(at),
            reason,
            alert["incident"],
            alert["incident"],
        )

    def _open_alert(self, finding: Finding) -> list[dict[str, Any]]:
        return self._log.rows(
            "select * from alert where rule = ? and labels = ? and resolved_at is null",
            finding.rule.name,
            finding.key,
        )


def _peak(finding: Finding, before: Mapping[str, Any] | None = None) -> str:
    """Return an alert's worst moment; past day and cause are those of when it fired."""
    worst = {**asdict(finding.verdict), "sentence": finding.sentence}
    return _explained(finding, {**(before or {}), **worst})


def _explained(finding: Finding, peak: Mapping[str, Any]) -> str:
    """Return a peak with past day and cause, the first that were read."""
    cause = asdict(finding.cause) if finding.cause else None
    day = peak.get("past_day") or list(finding.past_day)
    return json.dumps({**peak, "past_day": day, "cause": peak.get("cause") or cause})
