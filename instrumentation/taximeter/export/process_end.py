"""Sends what waits when the process ends: exit, SIGTERM without a handler, a worker's end."""

from __future__ import annotations

import atexit
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

from taximeter.export.queue import EXIT_CAP_S


def flush_at_exit(stop: Callable[[float], None]) -> None:
    """Send what waits when the process ends: exit, SIGTERM without a handler, a worker's end."""
    atexit.register(stop, EXIT_CAP_S)
    _chain_sigterm(stop)
    from multiprocessing import parent_process, util

    util.register_after_fork(stop, _flush_worker)
    if parent_process() is not None:  # started in a worker: its finalizers run, atexit may not
        _flush_worker(stop)


def _chain_sigterm(stop: Callable[[float], None]) -> None:
    """Take SIGTERM only where nobody has: the default action would lose what waits."""
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return

    def end(number: int, _frame: FrameType | None) -> None:
        stop(EXIT_CAP_S)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, end)


def _flush_worker(stop: Callable[[float], None]) -> None:
    """A multiprocessing child ends without atexit; its own finalizers still run."""
    from multiprocessing import util

    util.Finalize(None, stop, args=(EXIT_CAP_S,), exitpriority=100)
