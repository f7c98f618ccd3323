"""Sends the digests that are due: reads the period, and puts the message in the outbox once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, time

from taximeter_alerts.digest.digest import Period, digest_notice, period_due
from taximeter_alerts.digest.digest_reader import DigestReader, Rows
from taximeter_alerts.judge.windows import Reader
from taximeter_alerts.notification_log import NotificationLog, time_text
from taximeter_alerts.outbox.notice import Notice
from taximeter_alerts.outbox.outbox import Outbox
from taximeter_alerts.rules.book import Digest, RuleBook
from taximeter_collector.client import QueryError

_log = logging.getLogger("taximeter_alerts")


class Digests:
    """`tick` may be called as often as one likes: each digest is put in the outbox once."""

    def __init__(
        self,
        book: RuleBook,
        reader: Reader,
        log: NotificationLog,
        outbox: Outbox,
        clock: Callable[[], datetime],
        dashboard_url: Callable[[], str | None],
    ) -> None:
        self._book, self._log, self._outbox = book, log, outbox
        self._clock, self._dashboard_url = clock, dashboard_url
        self._source = DigestReader(book, reader, log, clock)

    def tick(self) -> None:
        """Send what is due; what cannot be read is tried again at the next tick."""
        for digest in self._book.digests:
            period = period_due(digest, self._clock())
            told = self._log.get(_key(digest))
            if told is None:
                # The first one is that of the first whole period after it was asked for.
                self._log.set(_key(digest), time_text(period.due) or "")
            elif told < (time_text(period.due) or ""):
                try:
                    self._send(digest, period)
                except QueryError as error:
                    _log.warning("the digest waits: %s", error.message)

    def _send(self, digest: Digest, period: Period) -> None:
        facts = self._source.facts(period)
        notice = digest_notice(digest, period, facts, self._dashboard_url())
        with self._log.transaction():
            for receiver in self._book.receivers_of_digest(digest):
                self._outbox.add(notice, receiver.name, 0)
            self._log.set(_key(digest), time_text(period.due) or "")


def _key(digest: Digest) -> str:
    return f"digest:{digest.id}"


def previews(
    book: RuleBook, reader: Reader, log: Rows, clock: Callable[[], datetime], base: str | None
) -> list[tuple[Digest, Notice]]:
    """Return each digest about its last complete day or week: without one, a daily. Raises QueryError."""
    source = DigestReader(book, reader, log, clock)
    found = []
    for digest in book.digests or (Digest("day"),):
        # What is complete is told as soon as it is due: at midnight it could be.
        period = period_due(replace(digest, at=time()), clock())
        found.append((digest, digest_notice(digest, period, source.facts(period), base)))
    return found
