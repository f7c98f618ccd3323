"""Pages that draw themselves again for new data do so one after the other: who clicks must not wait for all of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Turns:
    """Hands out turns to all sessions of this process, each as long as its page is known to take."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._free_at = 0.0

    def take(self, length_s: float) -> bool:
        """Return whether it is this page's turn; if not, ask again.

        >>> turns = Turns(lambda: 7.0)
        >>> turns.take(0.5), turns.take(0.5)
        (True, False)
        """
        with self._lock:
            now = self._clock()
            if now < self._free_at:
                return False
            self._free_at = now + length_s
            return True
