"""Sends what waits in the outbox: claim, send, mark. Never lost, repeated only after a crash."""

from __future__ import annotations

import contextlib
import logging
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from taximeter_alerts.notification_log import NotificationLog, read_time, time_text
from taximeter_alerts.outbox.delivery import Delivery, NotificationError, Notifier
from taximeter_alerts.outbox.notice import FIRST, Notice, read_notice

GIVE_UP_AFTER: Final = timedelta(hours=24)
KEEP_SENT: Final = timedelta(days=30)
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
        self._log, self._clock, self._jitter = log, clock, jitter
        self._notifiers: Mapping[str, Notifier] = {}
        self._busy: dict[str, threading.Lock] = {}
        # Nobody can know whether these arrived: the process died while it was sending.
        log.execute("update outbox set status = 'ambiguous' where status = 'sending'")
        self.follow(notifiers)

    def follow(self, notifiers: Mapping[str, Notifier]) -> None:
        """Send through these from now on; what waits for a receiver that is gone is given up."""
        with contextlib.ExitStack() as sending:
            for lock in self._busy.values():
                sending.enter_context(lock)  # a notice that is on its way goes its way
            self._busy = {name: self._busy.get(name) or threading.Lock() for name in notifiers}
            self._notifiers = notifiers
        for row in self._log.rows(
            "select id, receiver from outbox where status in ('queued', 'ambiguous')"
        ):
            if row["receiver"] not in notifiers:
                self._bury(row["id"], "the receiver is no longer in alerts.yaml")

    @property
    def receivers(self) -> tuple[str, ...]:
        return tuple(self._notifiers)

    def add(self, notice: Notice, receiver: str, sequence: int) -> str:
        """Put a notice in the outbox, once; return its id."""
        now = self._clock()
        id = f"{notice.incident}:{notice.kind}:{sequence}:{receiver}"
        if notice.kind == "resolved" and self._merge(notice, receiver):
            return id
        self._log.execute(
            "insert or ignore into outbox (id, incident, transition, receiver, notice, status,"
            " created_at, next_at) values (?, ?, ?, ?, ?, 'queued', ?, ?)",
            id,
            notice.incident,
            notice.kind,
            receiver,
            notice.to_json(),
            time_text(now),
            time_text(now),
        )
        self._log.execute(
            "delete from outbox where status in ('sent', 'merged') and created_at < ?",
            time_text(now - KEEP_SENT),
        )
        return id

    def send_next(self, receiver: str) -> bool:
        """Send this receiver's oldest due notice; return whether there was one."""
        with self._busy.get(receiver) or threading.Lock():
            row = self._claim(receiver) if receiver in self._notifiers else None
            if row is None:
                return False
            self._send(row)
            return True

    def counts(self) -> dict[str, int]:
        """Return how many notices there are by status."""
        rows = self._log.rows("select status, count(*) as n from outbox group by status")
        return {row["status"]: row["n"] for row in rows}

    def undelivered(self) -> list[dict[str, Any]]:
        """Return what is dead or still waits, the newest first."""
        return self._log.rows(
            "select id, incident, transition, receiver, status, attempts, created_at, next_at,"
            " last_error from outbox where status not in ('sent', 'merged')"
            " order by created_at desc limit 1000"
        )

    def outcome(self, id: str) -> tuple[str, str | None]:
        """Return a notice's status and its last error."""
        (row,) = self._log.rows("select status, last_error from outbox where id = ?", id)
        return row["status"], row["last_error"]

    def revive(self, id: str) -> bool:
        """Queue a dead notice again; return whether it was one."""
        now = time_text(self._clock())
        return bool(
            self._log.execute(
                "update outbox set status = 'queued', created_at = ?, next_at = ?, attempts = 0"
                " where id = ? and status = 'dead'",
                now,
                now,
                id,
            )
        )

    def _claim(self, receiver: str) -> dict[str, Any] | None:
        """Take the oldest due notice; an incident's notices arrive in their order.

        One that was made later than now is due: the clock was set back.
        """
        now = time_text(self._clock())
        with self._log.transaction():
            rows = self._log.rows(
                "select o.*, t.remote from outbox o left join thread t"
                " on t.incident = o.incident and t.receiver = o.receiver"
                " where o.status in ('queued', 'ambiguous') and o.receiver = ?"
                " and (o.next_at <= ? or o.created_at > ?) and not exists (select 1 from outbox e"
                " where e.incident = o.incident and e.receiver = o.receiver and e.rowid < o.rowid"
                " and e.status in ('queued', 'ambiguous')) order by o.created_at, o.rowid limit 1",
                receiver,
                now,
                now,
            )
            if not rows:
                return None
            self._log.execute(
                "update outbox set status = 'sending', attempts = attempts + 1 where id = ?",
                rows[0]["id"],
            )
            return rows[0]

    def _send(self, row: Mapping[str, Any]) -> None:
        notice = read_notice(row["notice"])
        delivery = Delivery(row["id"], row["remote"], row["status"] == "ambiguous")
        try:
            remote = self._notifiers[row["receiver"]].send(notice, delivery)
        except NotificationError as error:
            self._put_back(row, error)
            return
        except Exception as error:  # noqa: BLE001 - a fault of ours must not stop the others
            fault = NotificationError(f"not sent ({type(error).__name__})", is_permanent=False)
            self._put_back(row, fault)
            return
        with self._log.transaction():
            self._log.execute(
                "update outbox set status = 'sent', sent_at = ?, last_error = null where id = ?",
                time_text(self._clock()),
                row["id"],
            )
            if remote is not None:
                self._log.execute(
                    "update thread set remote = ? where incident = ? and receiver = ?",
                    remote,
                    row["incident"],
                    row["receiver"],
                )

    def _put_back(self, row: Mapping[str, Any], error: NotificationError) -> None:
        now = self._clock()
        created = read_time(row["created_at"]) or now
        if error.is_permanent or now - created >= GIVE_UP_AFTER:
            self._bury(row["id"], str(error))
            return
        pause_s = error.retry_after_s
        if pause_s is None:
            pause_s = retry_pause_s(row["attempts"] + 1, self._jitter())
        _log.warning("notice to %s: %s; trying again in %.0f s", row["receiver"], error, pause_s)
        # A refusal says that it did not arrive; without an answer it stays unknown.
        status = "ambiguous" if row["status"] == "ambiguous" or error.is_unknown else "queued"
        self._log.execute(
            "update outbox set status = ?, next_at = ?, last_error = ? where id = ?",
            status,
            time_text(now + timedelta(seconds=min(pause_s, GIVE_UP_AFTER.total_seconds()))),
            str(error),
            row["id"],
        )

    def _bury(self, id: str, reason: str) -> None:
        _log.error("a notice was given up: %s", reason)
        self._log.execute(
            "update outbox set status = 'dead', last_error = ? where id = ?", reason, id
        )

    def _merge(self, notice: Notice, receiver: str) -> bool:
        """Drop what waits and is past; return whether "resolved" went into an untold "firing"."""
        waiting = self._log.rows(
            "select id, transition from outbox where incident = ? and receiver = ?"
            " and status = 'queued' order by created_at, rowid",
            notice.incident,
            receiver,
        )
        openers = [r["id"] for r in waiting if r["transition"] in (*FIRST, "firing_again")]
        for row in waiting:
            if row["id"] not in openers:
                self._log.execute("update outbox set status = 'merged' where id = ?", row["id"])
        for id in openers:
            merged = replace(notice, kind="was_firing")
            self._log.execute(
                "update outbox set transition = 'was_firing', notice = ? where id = ?",
                merged.to_json(),
                id,
            )
        return bool(openers)


def retry_pause_s(attempts: int, jitter: float) -> float:
    """Return the seconds before the next try: doubling, with `jitter` in 0..1 as 20 % either way.

    >>> [retry_pause_s(n, 0.5) for n in (1, 2, 3, 20)]
    [5.0, 10.0, 20.0, 900.0]
    """
    pause_s = min(_FIRST_PAUSE_S * 2.0 ** min(attempts - 1, 20), _LONGEST_PAUSE_S)
    return float(pause_s * (0.8 + 0.4 * jitter))
