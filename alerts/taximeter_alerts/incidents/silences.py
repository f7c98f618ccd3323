"""Silences: made through the API or written in alerts.yaml, kept until long after they end."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from taximeter_alerts.notification_log import NotificationLog, time_text
from taximeter_alerts.rules.book import RuleBook


def silences_in_force(log: NotificationLog, at: datetime) -> list[dict[str, Any]]:
    """Return the silences that hold at this moment."""
    return [row for row in silences_to_come(log, at) if row["starts_at"] <= (time_text(at) or "")]


def silences_to_come(log: NotificationLog, at: datetime) -> list[dict[str, Any]]:
    """Return the silences that hold or will hold."""
    rows = log.rows(
        "select id, matchers, author, comment, created_at, starts_at, ends_at from silence"
        " where ends_at > ? and ended_at is null order by created_at, id",
        time_text(at),
    )
    return [{**row, "matchers": json.loads(row["matchers"])} for row in rows]


def add_silence(
    log: NotificationLog,
    matchers: Mapping[str, str],
    *,
    now: datetime,
    starts_at: datetime,
    ends_at: datetime,
    author: str,
    comment: str,
    id: str | None = None,
) -> dict[str, Any]:
    """Keep a silence, once an id; return it."""
    row = {
        "id": id or secrets.token_hex(8),
        "matchers": dict(matchers),
        "author": author,
        "comment": comment,
        "created_at": time_text(now),
        "starts_at": time_text(starts_at),
        "ends_at": time_text(ends_at),
    }
    log.execute(
        "insert into silence (id, matchers, author, comment, created_at, starts_at, ends_at)"
        " values (?, ?, ?, ?, ?, ?, ?) on conflict do update set ended_at = null",
        *({**row, "matchers": json.dumps(row["matchers"])}).values(),
    )
    return row


def end_silence(log: NotificationLog, id: str, now: datetime) -> bool:
    """End a silence; return whether there was one to end."""
    return bool(
        log.execute(
            "update silence set ended_at = ? where id = ? and ended_at is null and ends_at > ?",
            time_text(now),
            id,
            time_text(now),
        )
    )


def keep_file_silences(log: NotificationLog, book: RuleBook, now: datetime) -> None:
    """Take over the silences of alerts.yaml, and end those that are no longer in it."""
    with log.transaction():
        log.execute(
            "update silence set ended_at = ? where id like 'file-%' and ended_at is null",
            time_text(now),
        )
        for silence in book.silences:
            add_silence(
                log,
                dict(silence.matchers),
                now=now,
                starts_at=silence.starts_at,
                ends_at=silence.ends_at,
                author=silence.author,
                comment=silence.comment,
                id=silence.id,
            )
