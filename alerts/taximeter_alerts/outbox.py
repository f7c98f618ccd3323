"""Sends what waits in the outbox: claim, send, mark. Never lost, repeated only after a crash."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from taximeter_alerts.notice import Notice, read_notice
from taximeter_alerts.notification_log import NotificationLog, read_time, time_text
from taximeter_alerts.notifiers.base import NotificationError, Notifier

GIVE_UP_AFTER: Final = timedelta(hours=24)
_FIRST_PAUSE_S: Final = 5.0
_LONGEST_PAUSE_S: Final = 900.0
_log = logging.getLogger("taximeter_alerts")


class Outbox:
    """Notices on their way; `add` belongs in the transaction that changes the state."""

    def __init__(
        self,
        log: NotificationLog,
        notifiers: Mapping[str, Notifier],
        clock: Callable[[], datetime],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._log, self._notifiers, self._clock, self._jitter = log, notifiers, clock, jitter
        # Nobody can know whether these arrived: the process died while it was sending.
        log.execute("update outbox set status = 'ambiguous' where status = 'sending'")
        for row in self._undelivered():
            if row["receiver"] not in notifiers:
                self._bury(row["id"], "the receiver is no longer in alerts.yaml")

    @property
    def receivers(self) -> tuple[str, ...]:
        return tuple(self._notifiers)

    def add(self, notice: Notice, receiver: str, sequence: int) -> None:
        """Put a notice in the outbox, once."""
        now = time_text(self._clock())
        if notice.kind == "resolved" and self._merge(notice, receiver):
            return
        self._log.execute(
            "insert or ignore into outbox (id, incident, transition, receiver, notice, status,"
            " created_at, next_at) values (?, ?, ?, ?, ?, 'queued', ?, ?)",
            f"{notice.incident}:{notice.kind}:{sequence}:{receiver}",
            notice.incident,
            notice.kind,
            receiver,
            notice.to_json(),
            now,
            now,
        )

    def send_next(self, receiver: str) -> bool:
        """Send this receiver's oldest due notice; return whether there was one."""
        row = self._claim(receiver)
        if row is None:
            return False
        notice = read_notice(row["notice"])
        is_repeat = row["status"] == "ambiguous"
        try:
            self._notifiers[receiver].send(notice, row["id"], is_possible_repeat=is_repeat)
        except NotificationError as error:
            self._put_back(row, error)
        else:
            self._log.execute(
                "update outbox set status = 'sent', sent_at = ?, last_error = null where id = ?",
                time_text(self._clock()),
                row["id"],
            )
        return True

    def counts(self) -> dict[str, int]:
        """Return how many notices there are by status."""
        rows = self._log.rows("select status, count(*) as n from outbox group by status")
        return {row["status"]: row["n"] for row in rows}

    def _claim(self, receiver: str) -> dict[str, Any] | None:
        with self._log.transaction():
            rows = self._log.rows(
                "select * from outbox where status in ('queued', 'ambiguous') and receiver = ?"
                " and next_at <= ? order by created_at, rowid limit 1",
                receiver,
                time_text(self._clock()),
            )
            if not rows:
                return None
            self._log.execute(
                "update outbox set status = 'sending', attempts = attempts + 1 where id = ?",
                rows[0]["id"],
            )
            return rows[0]

    def _put_back(self, row: Mapping[str, Any], error: NotificationError) -> None:
        now = self._clock()
        created = read_time(row["created_at"]) or now
        if error.is_permanent or now - created >= GIVE_UP_AFTER:
            self._bury(row["id"], str(error))
            return
        attempts = row["attempts"] + 1
        pause_s = error.retry_after_s
        if pause_s is None:
            pause_s = retry_pause_s(attempts, self._jitter())
        _log.warning("notice to %s: %s; trying again in %.0f s", row["receiver"], error, pause_s)
        self._log.execute(
            "update outbox set status = 'queued', next_at = ?, last_error = ? where id = ?",
            time_text(now + timedelta(seconds=pause_s)),
            str(error),
            row["id"],
        )

    def _bury(self, id: str, reason: str) -> None:
        _log.error("a notice was given up: %s", reason)
        self._log.execute(
            "update outbox set status = 'dead', last_error = ? where id = ?", reason, id
        )

    def _merge(self, notice: Notice, receiver: str) -> bool:
        """Turn an undelivered "firing" into one "was firing"; return whether there was one."""
        merged = Notice(
            "was_firing",
            notice.incident,
            notice.rule,
            notice.severity,
            notice.title,
            notice.sentence,
            notice.link,
            notice.started,
        )
        return bool(
            self._log.execute(
                "update outbox set transition = 'was_firing', notice = ? where incident = ?"
                " and receiver = ? and status = 'queued' and transition in"
                " ('firing', 'firing_again')",
                merged.to_json(),
                notice.incident,
                receiver,
            )
        )

    def _undelivered(self) -> list[dict[str, Any]]:
        return self._log.rows(
            "select id, receiver from outbox where status in ('queued', 'ambiguous')"
        )


def retry_pause_s(attempts: int, jitter: float) -> float:
    """Return the seconds before the next try: doubling, with `jitter` in 0..1 as 20 % either way.

    >>> [retry_pause_s(n, 0.5) for n in (1, 2, 3, 20)]
    [5.0, 10.0, 20.0, 900.0]
    """
    pause_s = min(_FIRST_PAUSE_S * 2.0 ** min(attempts - 1, 20), _LONGEST_PAUSE_S)
    return float(pause_s * (0.8 + 0.4 * jitter))
