"""`tool`: a span an attempt, time-outs, retries, a circuit breaker, a rate limit, policies."""

from __future__ import annotations

import functools
import inspect
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextvars import copy_context
from typing import Any, ParamSpec, TypeVar, cast, overload

from taximeter import lifecycle
from taximeter.decorated import checked_function
from taximeter.settings.numbers import checked_number, checked_positive
from taximeter.tools.breaker import Breaker
from taximeter.tools.call_arguments import argument_reader
from taximeter.tools.execution import Allow, Execution, ToolSettings, check_allow
from taximeter.tools.rate import Rate
from taximeter.tools.retry import DEFAULT_BACKOFF, Backoff

P = ParamSpec("P")
T = TypeVar("T")


@overload
def tool(function: Callable[P, T], /) -> Callable[P, T]: ...
@overload
def tool(
    *,
    name: str | None = None,
    timeout_s: float | None = None,
    retries: int = 0,
    backoff: Backoff = DEFAULT_BACKOFF,
    breaker: Breaker | None = None,
    rate: Rate | float | None = None,
    cost_usd: float | None = None,
    allow: Allow | None = None,
) -> Callable[[Callable[P, T]], Callable[P, T]]: ...
def tool(
    function: Callable[P, T] | None = None,
    /,
    *,
    name: str | None = None,
    timeout_s: float | None = None,
    retries: int = 0,
    backoff: Backoff = DEFAULT_BACKOFF,
    breaker: Breaker | None = None,
    rate: Rate | float | None = None,
    cost_usd: float | None = None,
    allow: Allow | None = None,
) -> Callable[P, T] | Callable[[Callable[P, T]], Callable[P, T]]:
    """Make a function a tool: ``@tool`` or ``@tool(timeout_s=15, retries=3, …)``.

    ``timeout_s`` raises TimeoutError. ``retries`` go to what may pass: time-outs, broken
    connections, answers 408, 429 and 5xx; a ``Retry-After`` is honoured, and no wait goes beyond the
    run's deadline, which also cancels an async tool. ``breaker`` leaves a failing backend alone,
    ``rate`` bounds calls per minute (a number waits, `Rate` can refuse), ``cost_usd`` is recorded
    with each attempt, ``allow`` has policies that refuse with Denied. Each attempt has a span.
    All but the spans works before `init` too. Raises ValueError for settings that make no sense.
    """
    checked_function("tool", function)
    if function is not None and not callable(function):
        raise TypeError(f"tool({function!r}): write @tool, or @tool(name=…)")
    checked_number("tool", "retries", retries)
    if timeout_s is not None:
        checked_positive("tool", "timeout_s", timeout_s)
    if rate is not None and not isinstance(rate, Rate):
        rate = Rate(rate)

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        checked_function("tool", function)
        check_allow(function, allow)
        if timeout_s is not None or retries or breaker is not None:
            _check_returns(function)
        called = name or str(getattr(function, "__name__", type(function).__name__))
        reader = argument_reader(function)
        settings = ToolSettings(
            called, reader, timeout_s, retries, backoff, breaker, rate, cost_usd, allow
        )
        wrap = _async_tool if inspect.iscoroutinefunction(function) else _plain_tool
        return cast(Callable[P, T], wrap(function, settings))

    return decorate(function) if function is not None else decorate


def _check_returns(function: Callable[..., Any]) -> None:
    """Raise TypeError for a generator: its call is over before its work begins."""
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(
            f"tool {function.__name__}: timeout_s, retries and breaker do nothing for a generator;"
            " return a list, or leave them out"
        )


def _plain_tool(function: Callable[..., Any], settings: ToolSettings) -> Callable[..., Any]:
    is_plain = settings.is_plain

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if is_plain and not lifecycle.is_active():
            return function(*args, **kwargs)
        with Execution(function, settings, args, kwargs) as execution:
            if not is_plain:
                return _executed(execution, function)
            try:
                with execution.attempt("call") as finish:
                    return finish(function(*args, **kwargs))
            except Exception as error:  # noqa: BLE001 - raised again there
                execution.wait_after(error)

    return call


def _executed(execution: Execution, function: Callable[..., Any]) -> Any:
    """Return the tool's answer, after as many attempts as it takes."""
    execution.check_arguments()
    while True:
        if wait := execution.place():
            time.sleep(wait)
        if (ticket := execution.enter()) is None:
            return execution.degraded()
        try:
            with execution.attempt(ticket) as finish:
                work = functools.partial(function, *execution.args, **execution.kwargs)
                return finish(_within(execution.timeout_s(cancels=False), work))
        except Exception as error:  # noqa: BLE001 - raised again unless another attempt follows
            wait = execution.wait_after(error)
        time.sleep(wait)


def _async_tool(function: Callable[..., Any], settings: ToolSettings) -> Callable[..., Any]:
    is_plain = settings.is_plain

    @functools.wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        import asyncio  # here: it takes longer to load than all of ours

        if is_plain and not lifecycle.is_active():
            return await function(*args, **kwargs)
        with Execution(function, settings, args, kwargs) as execution:
            execution.check_arguments()
            while True:
                if wait := execution.place():
                    await asyncio.sleep(wait)
                if (ticket := execution.enter()) is None:
                    answer = execution.degraded()
                    return await answer if inspect.isawaitable(answer) else answer
                try:
                    with execution.attempt(ticket) as finish:
                        work = function(*execution.args, **execution.kwargs)
                        return finish(await _within_async(execution.timeout_s(cancels=True), work))
                except Exception as error:  # noqa: BLE001 - raised again unless another attempt follows
                    wait = execution.wait_after(error)
                await asyncio.sleep(wait)

    return call


def _within(timeout_s: float | None, work: Callable[[], Any]) -> Any:
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
        raise _overran(timeout_s) from None


async def _within_async(timeout_s: float | None, work: Any) -> Any:
    import asyncio

    try:
        async with asyncio.timeout(timeout_s) as clock:
            return await work
    except TimeoutError:
        if timeout_s is not None and clock.expired():
            raise _overran(timeout_s) from None
        raise


def _overran(timeout_s: float) -> TimeoutError:
    return TimeoutError(f"the tool did not answer within {timeout_s:g} s")
