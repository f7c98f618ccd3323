"""Which threads give way where processors are short: pages to the follower, the follower to the writer."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import Final

FOLLOWER_NICENESS: Final = 5
READERS_NICENESS: Final = 10


def stand_back(niceness: int) -> None:
    """Let the calling thread give way: on Linux a thread has a niceness of its own."""
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
