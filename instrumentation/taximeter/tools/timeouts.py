"""A tool's time-out: a coroutine is cancelled, a thread only left alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextvars import copy_context
from typing import Any


def within(timeout_s: float | None, work: Callable[[], Any]) -> Any:
    """Call within a time-out. A thread can't be stopped: what overruns goes on without a listener."""
    if timeout_s is None:
        return work()
    future: Future[Any] = Future()
    context = copy_context()

    def run() -> None:
        try:
            future.set_result(context.run(work))
        except BaseException as error:  # noqa: BLE001 - the caller's thread raises it
            future.set_exception(error)

    # A daemon, so that a tool that hangs does not keep the process from ending.
    threading.Thread(target=run, name="taximeter-tool", daemon=True).start()
    try:
        return future.result(timeout_s)
    except FutureTimeout:
        if future.done():
            raise  # the tool's own
        raise overran(timeout_s) from None


async def within_async(timeout_s: float | None, work: Any, spent_s: float = 0.0) -> Any:
    """Await within a time-out; what overruns is cancelled. ``spent_s``: what it took before."""
    if timeout_s is None:
        return await work  # in any event loop
    import asyncio

    try:
        async with asyncio.timeout(timeout_s) as clock:
            return await work
    except TimeoutError:
        if clock.expired():
            raise overran(spent_s + timeout_s) from None
        raise


def overran(timeout_s: float) -> TimeoutError:
    """Return what a tool ends with that took too long."""
    return TimeoutError(f"the tool did not answer within {timeout_s:g} s")
