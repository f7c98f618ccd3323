"""A time as people and programs write it, read as UTC."""

from __future__ import annotations

from datetime import UTC, datetime


def utc(text: object) -> datetime:
    """Return an ISO 8601 time in UTC; one without a zone is UTC already. Raises ValueError.

    >>> utc("2026-11-24").isoformat(), utc("2026-11-24T08:00+02:00").isoformat()
    ('2026-11-24T00:00:00+00:00', '2026-11-24T06:00:00+00:00')
    """
    time = datetime.fromisoformat(str(text))
    try:
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text} is beyond the calendar") from None
