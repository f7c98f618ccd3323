"""Carries the request and the agent run into threads and executors that are started inside them."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

from taximeter.runs.current import current_agent, current_request

_MARK = "_taximeter_carries_context"


def _has_something_to_carry() -> bool:
    return current_request.get() is not None or current_agent.get() is not None


def install() -> None:
    """Wrap Thread.start and ThreadPoolExecutor.submit, once."""
    if not getattr(threading.Thread.start, _MARK, False):
        setattr(threading.Thread, "start", _carrying_start(threading.Thread.start))
    if not getattr(ThreadPoolExecutor.submit, _MARK, False):
        setattr(ThreadPoolExecutor, "submit", _carrying_submit(ThreadPoolExecutor.submit))


def _carrying_start(
    start: Callable[[threading.Thread], None],
) -> Callable[[threading.Thread], None]:
    @functools.wraps(start)
    def wrapped(self: threading.Thread) -> None:
        if _has_something_to_carry():
            run, context = self.run, copy_context()
            self.run = lambda: context.run(run)  # type: ignore[method-assign]
        start(self)

    setattr(wrapped, _MARK, True)
    return wrapped


def _carrying_submit(submit: Callable[..., Future[Any]]) -> Callable[..., Future[Any]]:
    @functools.wraps(submit)
    def wrapped(
        self: ThreadPoolExecutor, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Future[Any]:
        if _has_something_to_carry():
            return submit(self, copy_context().run, fn, *args, **kwargs)
        return submit(self, fn, *args, **kwargs)

    setattr(wrapped, _MARK, True)
    return wrapped
