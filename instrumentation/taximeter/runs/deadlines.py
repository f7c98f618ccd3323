"""Model calls end with the time that is left of the run, the request and the session."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Final, TypeVar

from taximeter.guard import guarded
from taximeter.runs.current import current_levels, seconds_left
from taximeter.runs.limits import DeadlineReached

T = TypeVar("T")
_TIMER_S: Final = 0.005
"""How early a timer may ring."""
_PARTS: Final = ("connect", "read", "write", "pool")


def within_deadline(client: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return an SDK's ``post`` arguments with no attempt longer than the time that is left."""
    left = seconds_left()
    if left is None:
        return kwargs
    return _shortened(client, kwargs, left) or kwargs


async def until_deadline(call: Awaitable[T]) -> T:
    """Await a call no longer than the time that is left."""
    left = seconds_left()
    if left is None or not _is_in_task():
        return await call
    import asyncio

    async with asyncio.timeout(left):
        return await call


@guarded(default=None)
def raise_if_overdue(error: BaseException) -> None:
    """Raise DeadlineReached where a time-out has ended a call and the time of a level is over."""
    if not isinstance(error, TimeoutError) and "Timeout" not in type(error).__name__:
        return
    for level in current_levels():
        limit = level.limits.deadline_s
        if limit is not None and level.clock() - level.started >= limit - _TIMER_S:
            raise level.reached(DeadlineReached, "deadline_s", "a call was under way") from error


@guarded(default=None)
def _shortened(client: Any, kwargs: dict[str, Any], left: float) -> dict[str, Any]:
    options = dict(kwargs.get("options") or {})
    timeout = options.get("timeout", client.timeout)
    if (
        timeout is not None
        and not isinstance(timeout, int | float)
        and not hasattr(timeout, "read")
    ):
        timeout = client.timeout  # the SDK's word for "not given"
    options["timeout"] = _at_most(timeout, max(left, 0.001))
    return {**kwargs, "options": options}


def _at_most(timeout: Any, left: float) -> Any:
    if timeout is None:
        return left
    if isinstance(timeout, int | float):
        return min(timeout, left)
    parts = {name: getattr(timeout, name) for name in _PARTS}
    return type(timeout)(
        **{name: left if part is None else min(part, left) for name, part in parts.items()}
    )


def _is_in_task() -> bool:
    """Return whether asyncio runs the call; other event loops have time-outs of their own."""
    import asyncio

    try:
        return asyncio.current_task() is not None
    except RuntimeError:
        return False
