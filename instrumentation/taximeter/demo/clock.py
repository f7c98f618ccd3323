"""A clock that a simulated request carries with it, so that a day of work is lived in seconds.

Without `living_at` it is the machine's clock, and `spend` really waits.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

READ_COST_NS: Final = 20_000
"""Each look at a simulated clock takes this long, so that no two events coincide."""


class SimulatedTime:
    """A moment that moves only when somebody spends time."""

    __slots__ = ("now_ns",)

    def __init__(self, now_ns: int) -> None:
        self.now_ns = now_ns


_simulated: ContextVar[SimulatedTime | None] = ContextVar("taximeter_demo_time", default=None)


def now_ns() -> int:
    """Return Unix nanoseconds: simulated inside `living_at`, the machine's elsewhere."""
    simulated = _simulated.get()
    if simulated is None:
        return time.time_ns()
    simulated.now_ns += READ_COST_NS
    return simulated.now_ns


@contextmanager
def living_at(start_ns: int) -> Iterator[SimulatedTime]:
    """Let the current context live at a simulated time that starts here."""
    simulated = SimulatedTime(start_ns)
    token = _simulated.set(simulated)
    try:
        yield simulated
    finally:
        _simulated.reset(token)


def simulated_time() -> SimulatedTime | None:
    """Return the simulated time of this context, or None when time is real."""
    return _simulated.get()


def spend(seconds: float) -> None:
    """Let time pass: simulated time jumps, real time is waited for."""
    if not skip(seconds):
        time.sleep(seconds)


async def spend_async(seconds: float) -> None:
    """Let time pass without holding the event loop."""
    if not skip(seconds):
        await asyncio.sleep(seconds)


def skip(seconds: float) -> bool:
    """Move simulated time; return False when time is real, which nobody can move.

    >>> with living_at(0) as time: _ = skip(1.5)
    >>> time.now_ns
    1500000000
    """
    simulated = _simulated.get()
    if simulated is None:
        return False
    simulated.now_ns += round(seconds * 1e9)
    return True
