"""Decides what each receiver is told of each incident, and puts it in the outbox."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from taximeter_alerts.incidents.incidents import RANK, importance
from taximeter_alerts.incidents.muting import Cause, explained_by, silenced_by
from taximeter_alerts.incidents.self_checks import own_findings
from taximeter_alerts.incidents.silences import silences_in_force
from taximeter_alerts.judge.finding import Finding
from taximeter_alerts.notification_log import NotificationLog, read_time, time_text
from taximeter_alerts.outbox.notice import (
    GROUP_INTERVAL,
    Chart,
    Example,
    Kind,
    Notice,
    Told,
    dashboard_link,
    request_link,
    resolved_sentence,
    should_notify,
    title_of_incident,
)
from taximeter_alerts.outbox.outbox import Outbox
from taximeter_alerts.rules.book import Receiver, Rule, RuleBook
from taximeter_alerts.rules.defaults import OWN_RULES

MOST_THREADS_AN_HOUR: Final = 20
"""Per receiver, and as many critical ones beside them; what is more is told in summaries."""
_SUMMARY: Final = "summary-"
"""Of what a receiver knows of an incident: the id of the summary that told it."""
_NAMED: Final = 10
_MANY: Final = "many alerts at once"
_NEWS: Final = ("firing", "firing_again", "worse")
"""What a summary tells anew of an incident that it told."""
_HOUR: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Member:
    """One alert of an incident."""

    rule: Rule
    labels: dict[str, str | None]
    row: Mapping[str, Any]
    muted_by: str | None

    @property
    def id(self) -> str:
        return f"{self.row['rule']} {self.row['labels']}"

    @property
    def importance(self) -> tuple[int, float, str]:
        extra_usd = json.loads(self.row["peak"]).get("extra_usd")
        return importance(self.row["severity"], extra_usd, self.row["opened_at"])

    @property
    def is_over(self) -> bool:
        return self.row["resolved_at"] is not None


class Dispatcher:
    """`notify` runs inside the evaluation's transaction."""

    def __init__(
        self,
        book: RuleBook,
        log: NotificationLog,
        outbox: Outbox,
        dashboard_url: Callable[[], str | None],
    ) -> None:
        self._rules = {rule.name: rule for rule in (*book.rules, *OWN_RULES)}
        self._book, self._log, self._outbox = book, log, outbox
        self._dashboard_url = dashboard_url

    def own_findings(
        self,
        failing_since: datetime | None,
        error: str | None,
        deaf: Iterable[str],
        now: datetime,
    ) -> list[Finding]:
        """Return what is wrong with alerting itself; `deaf` are receivers that were said to fail."""
        receivers = dict.fromkeys((*self._outbox.receivers, *deaf))
        return own_findings(failing_since, error, self._outbox.undelivered(), receivers, now)

    def notify(self, at: datetime, causes: Sequence[Cause]) -> None:
        """Tell what fires or is over and was not told yet, unless it is muted."""
        silences = silences_in_force(self._log, at)
        waiting: dict[str, list[tuple[dict[str, Any], list[Member]]]] = {}
        for incident in self._log.rows(
            "select * from incident i where resolved_at is null or exists"
            " (select 1 from thread t where t.incident = i.id and t.told <> '[]')"
            " order by fired_at, id"
        ):
            members = self._members(incident, silences, causes)
            for receiver in self._book.receivers:
                if not self._tell(receiver, incident, members, at):
                    mine = [m for m in members if receiver in self._book.receivers_of(m.rule)]
                    waiting.setdefault(receiver.name, []).append((incident, mine))
        for name, late in waiting.items():
            self._summarise(name, late, at)

    def _members(
        self,
        incident: Mapping[str, Any],
        silences: Sequence[Mapping[str, Any]],
        causes: Sequence[Cause],
    ) -> list[Member]:
        """Return the incident's alerts since it opened for the last time."""
        members = []
        for row in self._log.rows(
            "select * from alert where incident = ? and fired_at >= ?",
            incident["id"],
            incident["fired_at"],
        ):
            rule, stored = self._rules.get(row["rule"]), json.loads(row["labels"])
            if rule is None:
                continue
            labels = {name: stored.get(name) for name in rule.by}
            silenced = silenced_by(silences, rule, labels)
            muted = silenced[0] if silenced else explained_by(rule, labels, causes)
            members.append(Member(rule, labels, row, muted))
        members.sort(key=lambda member: (member.importance, member.id))
        return members

    def _tell(
        self, receiver: Receiver, incident: Mapping[str, Any], members: list[Member], at: datetime
    ) -> bool:
        """Put what is due in the outbox; return false if it must wait for the summary."""
        told = read_told(self._log, incident["id"], receiver.name)
        knows = told.alerts if told is not None else frozenset()
        own = [m for m in members if receiver in self._book.receivers_of(m.rule)]
        # Whoever was told of an alert hears its end, also when the rule tells others by now.
        mine = [m for m in members if m in own or m.id in knows]
        if not mine:
            return True
        firing = [m for m in own if not m.is_over and m.muted_by is None]
        kind = should_notify(
            told,
            {member.id: member.row["severity"] for member in firing},
            is_over=all(member.is_over for member in mine),
            fired_at=read_time(incident["fired_at"]) or at,
            group_wait=self._book.group_wait,
            is_acked=incident["acked_at"] is not None,
            snoozed_until=read_time(incident["snoozed_until"]),
            repeat_interval=self._repeat_interval(firing),
            at=at,
        )
        if kind is None:
            return True
        severity = max((m.row["severity"] for m in firing or mine), key=RANK.__getitem__)
        summary = next((known for known in knows if known.startswith(_SUMMARY)), None)
        if told is not None and summary is not None and kind not in _NEWS:
            self._note(incident["id"], receiver.name, [m.id for m in firing], told.severity, at)
            if kind == "resolved":
                self._end_summary(receiver.name, summary, at)
            return True
        if summary is not None or (
            kind in _NEWS and kind != "worse" and self._is_storm(receiver.name, severity, at)
        ):
            return False
        if kind == "joined":  # what is new leads
            firing.sort(key=lambda member: member.id in knows)
        self._put(receiver.name, incident, kind, severity, firing, mine, at)
        return True

    def _repeat_interval(self, firing: Iterable[Member]) -> timedelta | None:
        found = [self._book.repeat_interval_of(m.rule, m.row["severity"]) for m in firing]
        return min((interval for interval in found if interval), default=None)

    def _put(
        self,
        receiver: str,
        incident: Mapping[str, Any],
        kind: Kind,
        severity: str,
        firing: list[Member],
        mine: list[Member],
        at: datetime,
    ) -> None:
        shown = mine if kind == "resolved" else firing
        opened = read_time(min(member.row["opened_at"] for member in shown)) or at
        labels = json.loads(incident["labels"])
        title = title_of_incident([(m.rule, m.labels) for m in shown])
        # The levels of a budget say the same.
        sentences = list(dict.fromkeys(str(m.row["sentence"]) for m in shown))
        peak = json.loads(shown[0].row["peak"])
        if kind == "resolved":
            worst = str(peak.get("sentence") or sentences[0])
            reason = str(shown[0].row["reason"] or "over")
            sentences = [resolved_sentence(opened, at, reason, worst)]
        notice = Notice(
            kind=kind,
            incident=incident["id"],
            rule=shown[0].rule.name,
            severity=severity,
            title=title,
            sentence=sentences[0],
            link=dashboard_link(
                self._dashboard_url(),
                shown[0].rule,
                shown[0].labels,
                opened,
                at,
                peak.get("window_s"),
            ),
            started=opened.strftime("%Y-%m-%d %H:%M UTC"),
            also=tuple(sentences[1:]),
            labels={name: value for name, value in labels.items() if value is not None},
            at=time_text(at),
            chart=None if kind == "resolved" else chart_of(shown[0]),
        )
        notice = with_cause(notice, shown, self._dashboard_url())
        self._outbox.add(notice, receiver, _sequence(at))
        told = [] if kind == "resolved" else [member.id for member in firing]
        self._note(incident["id"], receiver, told, severity, at)

    def _note(
        self, incident: str, receiver: str, told: list[str], severity: str, at: datetime
    ) -> None:
        """Remember what the receiver knows; only the end of the incident makes it forgotten."""
        before = read_told(self._log, incident, receiver)
        known = sorted({*before.alerts, *told}) if before and told else told
        summaries = [name for name in told if name.startswith(_SUMMARY)]
        if summaries:  # the newest counts
            known = [n for n in known if n in summaries or not n.startswith(_SUMMARY)]
        self._log.execute(
            "insert into thread (incident, receiver, told, severity, notified_at)"
            " values (?, ?, ?, ?, ?) on conflict do update set told = excluded.told,"
            " severity = excluded.severity, notified_at = excluded.notified_at",
            incident,
            receiver,
            json.dumps(known),
            severity,
            time_text(at),
        )

    def _is_storm(self, receiver: str, severity: str, at: datetime) -> bool:
        """Return whether a receiver was told enough within the hour, of critical ones or of others."""
        (row,) = self._log.rows(
            "select count(*) as n from outbox where receiver = ? and created_at > ?"
            " and transition in ('firing', 'firing_again', 'was_firing')"
            " and (json_extract(notice, '$.severity') = 'critical') = ?",
            receiver,
            time_text(at - _HOUR),
            severity == "critical",
        )
        return int(row["n"]) >= MOST_THREADS_AN_HOUR

    def _end_summary(self, receiver: str, summary: str, at: datetime) -> None:
        """Tell that all is over that a summary told, if it is."""
        if self._log.rows(
            "select 1 from thread where receiver = ? and instr(told, ?) limit 1", receiver, summary
        ):
            return
        notice = Notice(
            kind="resolved",
            incident=summary,
            rule=_MANY,
            severity="info",
            title=_MANY,
            sentence="All alerts of that summary are over.",
            link=alerts_page(self._dashboard_url()),
            at=time_text(at),
        )
        self._outbox.add(notice, receiver, _sequence(at))

    def _summarise(
        self, receiver: str, late: list[tuple[dict[str, Any], list[Member]]], at: datetime
    ) -> None:
        """Tell many new incidents in one message, once an hour; critical ones in five minutes."""
        critical = sum(incident["severity"] == "critical" for incident, _ in late)
        if self._log.rows(
            "select 1 from outbox where receiver = ? and transition = 'summary' and created_at > ?",
            receiver,
            time_text(at - (GROUP_INTERVAL if critical else _HOUR)),
        ):
            return
        late = sorted(late, key=lambda of: of[0]["severity"] != "critical")
        titles = [title_of_incident([(m.rule, m.labels) for m in mine]) for _, mine in late]
        more = f"; and {len(titles) - _NAMED:,} more" if len(titles) > _NAMED else ""
        notice = Notice(
            kind="summary",
            incident=f"{_SUMMARY}{int(at.timestamp())}",
            rule=_MANY,
            severity="critical" if critical else "warning",
            title=f"{len(late):,} more alerts fire{f', {critical:,} critical' if critical else ''}",
            sentence=f"{'; '.join(titles[:_NAMED])}{more}.",
            link=alerts_page(self._dashboard_url()),
            at=time_text(at),
        )
        self._outbox.add(notice, receiver, _sequence(at))
        for incident, mine in late:
            told = [notice.incident, *(m.id for m in mine)]
            self._note(incident["id"], receiver, told, incident["severity"], at)


def chart_of(member: Member) -> Chart | None:
    """Return the chart of an alert, None if its past is not known."""
    peak = json.loads(member.row["peak"])
    if not any(value is not None for value in peak.get("past_day") or ()):
        return None
    values = tuple(peak["past_day"])
    return Chart(values, peak.get("usual"), peak.get("high"), member.rule.metric.unit)


def with_cause(notice: Notice, members: Sequence[Member], base: str | None) -> Notice:
    """Return the notice with what is known of a cause: the first alert's, or another's about the same."""
    same = [member for member in members if member.labels == members[0].labels]
    causes = [json.loads(member.row["peak"]).get("cause") for member in same]
    cause = next((cause for cause in causes if cause and any(cause.values())), None)
    if cause is None:
        return notice
    if notice.kind == "resolved":  # what it was; nothing is left to do
        return replace(notice, cause=tuple(cause["lines"]))
    examples = tuple(
        Example(example["text"], request_link(base, example["request_id"]))
        for example in cause["examples"]
    )
    return replace(
        notice,
        cause=tuple(cause["lines"]),
        usd_per_hour=cause["usd_per_hour"],
        pace_of=cause.get("pace_of", notice.pace_of),
        first=cause["first"],
        examples=examples,
    )


def read_told(log: NotificationLog, incident: str, receiver: str) -> Told | None:
    """Return what a receiver was told of an incident, None if nothing ever."""
    rows = log.rows("select * from thread where incident = ? and receiver = ?", incident, receiver)
    if not rows:
        return None
    (row,) = rows
    alerts = frozenset(
        entry if isinstance(entry, str) else " ".join(entry) for entry in json.loads(row["told"])
    )
    return Told(alerts, row["severity"], read_time(row["notified_at"]))


def alerts_page(base: str | None) -> str | None:
    return None if base is None else f"{base.rstrip('/')}/alerts"


def _sequence(at: datetime) -> int:
    """A notice's place in its incident: one of a kind a minute, the same if decided again."""
    return int(at.timestamp()) // 60
