"""Marks what runs for housekeeping, such as a guardrail: its model calls are no decisions of the run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from taximeter.runs.current import current_agent

_NOBODY: Final = object()
side_of: Final[ContextVar[object]] = ContextVar("taximeter_side_of", default=_NOBODY)


@contextmanager
def side_work() -> Iterator[None]:
    """Let model calls cost the current run, but not count in its loop; a sub-agent's own do."""
    token = side_of.set(current_agent.get())
    try:
        yield
    finally:
        side_of.reset(token)


def is_side_work() -> bool:
    """Return whether the current run is at its housekeeping."""
    return side_of.get() is current_agent.get()
