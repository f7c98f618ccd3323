"""What a page shows: a time window and filters. URL parameters in, a Scope or a link out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlencode

RANGES: Final[dict[str, tuple[timedelta, int]]] = {
    "1h": (timedelta(hours=1), 60),
    "6h": (timedelta(hours=6), 300),
    "24h": (timedelta(hours=24), 1_800),
    "7d": (timedelta(days=7), 3 * 3_600),
    "30d": (timedelta(days=30), 12 * 3_600),
}
"""Name -> (length, bucket in seconds). The length is a multiple of the bucket."""
DEFAULT_RANGE: Final = "24h"
FILTERS: Final[dict[str, str]] = {
    "agent": "agent_name",
    "version": "agent_version",
    "env": "environment",
    "service": "service_name",
    "tenant": "tenant",
    "user": "user_id",
}
"""URL parameter -> column; all are request dimensions, so that every number can follow them."""
_BUCKETS: Final = (10, 60, 300, 900, 1_800, 3_600, 3 * 3_600, 6 * 3_600, 12 * 3_600, 86_400)
_WANTED_BUCKETS: Final = 60
_LONGEST_STEP_S: Final = 300


@dataclass(frozen=True, slots=True)
class Scope:
    """A window ``[start, end)`` and filters; hashable, so it can key a cache."""

    start: datetime
    end: datetime
    bucket_s: int
    is_live: bool
    """The window ends now: it moves on, and new data belongs in it."""
    filters: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def previous(self) -> Scope:
        """The window of the same length just before this one."""
        return replace(self, start=self.start - (self.end - self.start), end=self.start)

    @property
    def where(self) -> dict[str, list[str]]:
        return {column: list(values) for column, values in self.filters}

    @property
    def buckets(self) -> list[datetime]:
        """The start of each bucket that touches the window, as DuckDB's time_bucket cuts them."""
        first = _floor(self.start, self.bucket_s)
        number = -(-int((self.end - first).total_seconds()) // self.bucket_s)
        return [first + timedelta(seconds=self.bucket_s * i) for i in range(number)]


def scope_of(
    now: datetime,
    range_name: str | None = None,
    start: str | None = None,
    end: str | None = None,
    filters: Mapping[str, Sequence[str]] | None = None,
) -> Scope:
    """Return the scope of these URL parameters; an unreadable window means the default range.

    The end of a live window is rounded up to a step, so that all sessions ask the same questions.
    """
    chosen = tuple(
        (FILTERS[name], tuple(sorted(values)))
        for name, values in sorted((filters or {}).items())
        if values
    )
    window = absolute_window(start, end)
    if window is not None:
        first, last = window
        return Scope(first, last, _bucket_for(last - first), False, chosen)
    length, bucket_s = RANGES.get(range_name or DEFAULT_RANGE, RANGES[DEFAULT_RANGE])
    step = min(bucket_s, _LONGEST_STEP_S)
    last = _floor(now, step) + timedelta(seconds=step)
    return Scope(last - length, last, bucket_s, True, chosen)


def absolute_window(start: str | None, end: str | None) -> tuple[datetime, datetime] | None:
    """Return the window that two ISO times name (UTC unless they say), None if they don't.

    >>> absolute_window("2026-11-24T10:00", "2026-11-24T09:00") is None
    True
    """
    try:
        first, last = (datetime.fromisoformat((text or "").strip()) for text in (start, end))
    except ValueError:
        return None
    first, last = (t.replace(tzinfo=t.tzinfo or UTC).astimezone(UTC) for t in (first, last))
    return (first, last) if first < last else None


def link(page: str, shared: Mapping[str, object], base: str = "", **own: object) -> str:
    """Return the address of a page that keeps the shared parameters; empty ones are left out.

    >>> link("requests", {"range": "7d", "agent": ["a b"]}, sort="-cost", q="")
    '/requests?range=7d&agent=a+b&sort=-cost'
    """
    parameters = {k: v for k, v in {**shared, **own}.items() if v not in (None, "", [], ())}
    path = "/" + "/".join(part for part in (base.strip("/"), page) if part)
    return path + (f"?{urlencode(parameters, doseq=True)}" if parameters else "")


def _bucket_for(length: timedelta) -> int:
    wanted = length.total_seconds() / _WANTED_BUCKETS
    return next((bucket for bucket in _BUCKETS if bucket >= wanted), _BUCKETS[-1])


def _floor(when: datetime, step_s: int) -> datetime:
    # DuckDB counts its buckets from 2000-01-03 (a Monday); so must we, or they don't match.
    origin = datetime(2000, 1, 3, tzinfo=UTC)
    return origin + timedelta(seconds=int((when - origin).total_seconds()) // step_s * step_s)
