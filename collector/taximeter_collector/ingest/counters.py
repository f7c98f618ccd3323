"""What came in and what became of it: received = stored + rejected + duplicate, live."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Sequence
from typing import Final, Literal

Fate = Literal["received", "stored", "rejected", "duplicate", "refused", "redacted", "cut"]

_SETTLED: Final = ("stored", "rejected", "duplicate")


class Counters:
    """Counts since start of spans, log records and data points by signal, fate and reason.

    An item is ``received`` when its fate is known, so the sum holds at every moment. ``refused`` items were
    asked to come again (queue full, disk low, store down) and are not ``received``; ``redacted`` and
    ``cut`` count values, not items.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, Fate, str]] = Counter()
        self._commit_seconds: deque[float] = deque(maxlen=256)
        self.commits = 0
        self.last_error: str | None = None

    def count(self, signal: str, fate: Fate, reason: str, items: int) -> None:
        """Add ``items`` to one count."""
        with self._lock:
            self._add(signal, fate, reason, items)

    def committed(self, stored: Sequence[tuple[str, int, int]], seconds: float) -> None:
        """Count a commit of ``(signal, accepted, rejected)`` requests that took ``seconds``."""
        with self._lock:
            for signal, accepted, rejected in stored:
                self._add(signal, "stored", "", accepted)
                if rejected:
                    reason = "no_time" if signal == "metrics" else "invalid_id"
                    self._add(signal, "rejected", reason, rejected)
            self._commit_seconds.append(seconds)
            self.commits += 1

    def _add(self, signal: str, fate: Fate, reason: str, items: int) -> None:
        self._counts[signal, fate, reason] += items
        if fate in _SETTLED:
            self._counts[signal, "received", ""] += items

    def snapshot(self) -> dict[tuple[str, Fate, str], int]:
        """Return the counts by (signal, fate, reason)."""
        with self._lock:
            return dict(self._counts)

    def commit_seconds(self) -> list[float]:
        """Return how long the last commits took, oldest first."""
        with self._lock:
            return list(self._commit_seconds)
