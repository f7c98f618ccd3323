"""A rate limit: calls per minute through a token bucket, to wait for or to be refused by."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock
from typing import Literal

from taximeter.settings.numbers import checked_number, checked_positive

WhenFull = Literal["wait", "refuse"]


class Rate:
    """``per_minute`` calls, ``burst`` of them at once; what is above waits, or is refused."""

    def __init__(
        self,
        per_minute: float,
        *,
        burst: int = 1,
        when_full: WhenFull = "wait",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        checked_positive("Rate", "per_minute", per_minute)
        checked_number("Rate", "burst", burst, least=1)
        if when_full not in ("wait", "refuse"):
            raise ValueError(f"Rate(when_full={when_full!r}): use 'wait' or 'refuse'")
        self.per_minute, self.burst, self.when_full = per_minute, burst, when_full
        self._clock = clock
        self._lock = Lock()
        self._tokens, self._filled_at = float(burst), clock()

    def wait_s(self, at_most_s: float | None = None) -> float | None:
        """Take the next call's place; return seconds until it comes, None where it is refused.

        Refused without taking a place: what would wait with ``when_full="refuse"``, or for
        ``at_most_s`` or longer.
        """
        with self._lock:
            now = self._clock()
            gained = (now - self._filled_at) * self.per_minute / 60
            self._tokens = min(float(self.burst), self._tokens + gained)
            self._filled_at = now
            missing = 1 - self._tokens
            wait = 0.0 if missing <= 1e-9 else missing * 60 / self.per_minute
            too_long = at_most_s is not None and wait >= at_most_s
            if wait and (self.when_full == "refuse" or too_long):
                return None
            self._tokens -= 1
            return wait
