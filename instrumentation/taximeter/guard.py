"""Keeps every fault of ours out of the host: swallow, log once a minute, count."""

from __future__ import annotations

import functools
import logging
import time
from collections import Counter
from collections.abc import Callable
from threading import RLock
from typing import Any, Final, ParamSpec, TypeVar, cast

from taximeter.runs.limits import LimitReached

logger: Final = logging.getLogger("taximeter")
P = ParamSpec("P")
T = TypeVar("T")

_LOG_EVERY_S: Final = 60.0


class Faults:
    """Counts of our own faults by where they happened."""

    def __init__(self) -> None:
        self.by_place: Counter[str] = Counter()
        self.reraise = False
        """Set by tests, so that a fault is seen."""
        self._lock = RLock()  # what is dropped may end while it is held
        self._logged_at = -_LOG_EVERY_S

    def record(self, place: str, error: BaseException) -> None:
        """Count a fault and say it at most once a minute."""
        with self._lock:
            self.by_place[place] += 1
            now = time.monotonic()
            silent = now - self._logged_at < _LOG_EVERY_S
            if not silent:
                self._logged_at = now
        if not silent:
            logger.warning("telemetry fault in %s, your program is not affected: %r", place, error)


faults: Final = Faults()


def guarded(default: Any) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Make a hook return ``default`` instead of raising; only LimitReached passes."""

    def decorate(hook: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(hook)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            try:
                return hook(*args, **kwargs)
            except LimitReached:
                raise
            except Exception as error:
                faults.record(hook.__qualname__, error)
                if faults.reraise:
                    raise
                return cast(T, default)

        return call

    return decorate
