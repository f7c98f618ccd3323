"""Waiting for what another thread or process does: long enough for a busy machine, no longer than it takes."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 120.0


def wait_until(is_true: Callable[[], bool], what: str = "it") -> None:
    """Return when it is true. Raises AssertionError after PATIENCE_S."""
    give_up = time.monotonic() + PATIENCE_S
    while not is_true():
        assert time.monotonic() < give_up, f"{what} did not come true in {PATIENCE_S:.0f} s"
        time.sleep(0.02)
