"""`tool`: a span an attempt, time-outs, retries, a circuit breaker, a rate limit, policies."""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast, overload

from taximeter import lifecycle
from taximeter.decorated import checked_function
from taximeter.settings.numbers import checked_number, checked_positive
from taximeter.tools.breaker import Breaker
from taximeter.tools.call_arguments import argument_reader
from taximeter.tools.execution import Allow, Execution, ToolSettings, check_allow
from taximeter.tools.generators import async_generator_tool, check_generator, generator_tool
from taximeter.tools.rate import Rate
from taximeter.tools.retry import DEFAULT_BACKOFF, Backoff
from taximeter.tools.timeouts import within, within_async

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
    with each attempt, ``allow`` has policies that refuse with Denied. Each attempt has a span, that of
    a generator until its last item; it is tried again only before its first.
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
        check_generator(function, timeout_s, breaker)
        called = name or str(getattr(function, "__name__", type(function).__name__))
        reader = argument_reader(function)
        settings = ToolSettings(
            called, reader, timeout_s, retries, backoff, breaker, rate, cost_usd, allow
        )
        return cast(Callable[P, T], _wrap(function)(function, settings))

    return decorate(function) if function is not None else decorate


def _wrap(
    function: Callable[..., Any],
) -> Callable[[Callable[..., Any], ToolSettings], Callable[..., Any]]:
    if inspect.isasyncgenfunction(function):
        return async_generator_tool
    if inspect.isgeneratorfunction(function):
        return generator_tool
    return _async_tool if inspect.iscoroutinefunction(function) else _plain_tool


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
                return finish(within(execution.timeout_s(cancels=False), work))
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
                        return finish(await within_async(execution.timeout_s(cancels=True), work))
                except Exception as error:  # noqa: BLE001 - raised again unless another attempt follows
                    wait = execution.wait_after(error)
                await asyncio.sleep(wait)

    return call
