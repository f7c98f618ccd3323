"""A circuit breaker: a backend that keeps failing is left alone for a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import RLock
from typing import Any, Final, Literal

from taximeter.settings.numbers import checked_number
from taximeter.tools.retry import is_retryable

State = Literal["closed", "open", "half_open"]
Ticket = Literal["call", "trial"]
NO_FALLBACK: Final[Any] = object()
"""What ``Breaker(fallback=…)`` is where none was given: None is an answer too."""


class Breaker:
    """Opens after ``failures`` in a row; after ``reset_s`` one trial call decides (half-open).

    Give several tools the same breaker where they need the same backend. Safe between threads.
    While it is open the agent gets ``fallback``: a value, or what ``fallback(*args, **kwargs)``
    returns for the tool's arguments. Without one, `CircuitOpened` ends the run.
    """

    def __init__(
        self,
        failures: int = 5,
        reset_s: float = 30.0,
        *,
        fallback: Any = NO_FALLBACK,
        counts: Callable[[BaseException], bool] = is_retryable,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``counts`` says which errors are the backend's fault: those that a retry could heal."""
        checked_number("Breaker", "failures", failures, least=1)
        checked_number("Breaker", "reset_s", reset_s)
        self.failures, self.reset_s, self.fallback = failures, reset_s, fallback
        self._counts, self._clock = counts, clock
        self._lock = RLock()  # what is dropped may end while it is held
        self._in_a_row = 0
        self._opened_at: float | None = None
        self._trial_since: float | None = None

    @property
    def state(self) -> State:
        """Return ``closed``, ``open``, or ``half_open`` once a trial is allowed or under way."""
        with self._lock:
            return self._state()

    def enter(self) -> Ticket | None:
        """Let a call through, whose end `leave` must be told; None while the circuit is open."""
        with self._lock:
            if self._state() == "closed":
                return "call"
            if self._state() == "open" or self._has_trial():
                return None
            self._trial_since = self._clock()
            return "trial"

    def leave(self, ticket: Ticket, error: BaseException | None) -> None:
        """Tell how a call ended: None is a success; an error that does not count changes nothing."""
        counts = error is not None and self._counts(error)
        with self._lock:
            is_trial = ticket == "trial"
            if is_trial:
                self._trial_since = None
            elif self._opened_at is not None:
                return  # it began before the circuit opened
            if error is None:
                self._in_a_row, self._opened_at = 0, None
            elif counts:
                self._in_a_row += 1
                if is_trial or self._in_a_row >= self.failures:
                    self._opened_at = self._clock()

    def _state(self) -> State:
        if self._opened_at is None:
            return "closed"
        waited = self._clock() - self._opened_at >= self.reset_s
        return "half_open" if waited else "open"

    def _has_trial(self) -> bool:
        """A trial that never told its end is forgotten after another ``reset_s``."""
        if self._trial_since is None:
            return False
        return self._clock() - self._trial_since < max(self.reset_s, 1.0)
