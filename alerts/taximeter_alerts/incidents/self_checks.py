"""What goes wrong with alerting itself, as alerts of two rules of our own. Numbers in, findings out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from taximeter_alerts.judge.detect import Verdict
from taximeter_alerts.judge.finding import Finding
from taximeter_alerts.notification_log import read_time
from taximeter_alerts.rules.book import Rule
from taximeter_alerts.rules.defaults import BLIND, DEAF

BLIND_AFTER: Final = timedelta(minutes=5)
DEAF_AFTER: Final = timedelta(minutes=15)
DEAD_FOR: Final = timedelta(hours=1)


def own_findings(
    failing_since: datetime | None,
    error: str | None,
    undelivered: Iterable[Mapping[str, Any]],
    receivers: Iterable[str],
    now: datetime,
) -> list[Finding]:
    """Return what there is to say; `undelivered` are rows of the outbox."""
    is_blind = failing_since is not None and now - failing_since >= BLIND_AFTER
    text = f"No rule could be evaluated for {BLIND_AFTER.seconds // 60} minutes: {error}"
    findings = [_finding(BLIND, {}, text, is_breach=is_blind)]
    waiting = list(undelivered)
    for receiver in receivers:
        errors = [
            str(row["last_error"] or "no answer")
            for row in waiting
            if row["receiver"] == receiver and _is_stuck(row, now)
        ]
        text = f"{len(errors)} notices to {receiver} are not delivered: {(errors or [''])[0]}."
        findings.append(_finding(DEAF, {"receiver": receiver}, text, is_breach=bool(errors)))
    return findings


def _is_stuck(row: Mapping[str, Any], now: datetime) -> bool:
    age = now - (read_time(row["created_at"]) or now)
    if row["status"] == "dead":
        return now - (read_time(row["next_at"]) or now) < DEAD_FOR
    return bool(row["attempts"]) and age >= DEAF_AFTER


def _finding(
    rule: Rule, labels: dict[str, str | None], sentence: str, *, is_breach: bool
) -> Finding:
    verdict = Verdict("breach" if is_breach else "clear", count=1.0)
    return Finding(rule, labels, verdict, sentence, rule.severity)
