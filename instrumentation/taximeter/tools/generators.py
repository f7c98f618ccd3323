"""Tools that yield: the span lives from the first item asked for until the last, or until the reader leaves."""

from __future__ import annotations

import functools
import inspect
import json
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Generator, Iterable
from contextlib import aclosing
from types import TracebackType
from typing import Any

from taximeter import lifecycle, semconv
from taximeter.content import DEFAULT_MAX_CHARACTERS, GrowingText
from taximeter.fingerprint import ItemsHash
from taximeter.guard import guarded
from taximeter.runs.current import seconds_left
from taximeter.runs.generators import AsyncBody, Body, Inside, passed_on
from taximeter.tools.breaker import NO_FALLBACK, Breaker, Ticket
from taximeter.tools.execution import Execution, ToolSettings
from taximeter.tools.timeouts import overran, within_async


def check_generator(
    function: Callable[..., Any], timeout_s: float | None, breaker: Breaker | None
) -> None:
    """Raise TypeError for what can't be done for a function that yields."""
    is_plain = inspect.isgeneratorfunction(function)
    if not is_plain and not inspect.isasyncgenfunction(function):
        return
    if timeout_s is not None and is_plain:
        raise TypeError(
            f"tool {function.__name__}: timeout_s can't stop a generator that is not async;"
            " make it async, return a list, or leave it out"
        )
    fallback = NO_FALLBACK if breaker is None else breaker.fallback
    is_list = isinstance(fallback, Iterable) and not isinstance(fallback, str | bytes)
    if not (fallback is NO_FALLBACK or callable(fallback) or is_list):
        raise TypeError(
            f"tool {function.__name__} yields: its breaker's fallback must be a list of items, or a"
            f" function that gives one, not {fallback!r}"
        )


def generator_tool(function: Callable[..., Any], settings: ToolSettings) -> Callable[..., Any]:
    """Return a tool that yields what ``function`` does."""
    is_plain = settings.is_plain

    @functools.wraps(function)
    def generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        if is_plain and not lifecycle.is_active():
            return (yield from function(*args, **kwargs))
        with Execution(function, settings, args, kwargs) as execution:
            execution.check_arguments()
            while True:
                if wait := execution.place():
                    time.sleep(wait)
                if (ticket := execution.enter()) is None:
                    return (yield from execution.degraded())
                attempt = Streaming(execution, ticket)
                try:
                    with attempt:
                        items = function(*execution.args, **execution.kwargs)
                        body = Body(items, attempt.part, _check_deadline)
                        return (yield from passed_on(body, attempt.keep))
                except Exception as error:  # noqa: BLE001 - raised again unless another attempt follows
                    wait = attempt.wait_after(error)
                time.sleep(wait)

    return generator


def async_generator_tool(
    function: Callable[..., Any], settings: ToolSettings
) -> Callable[..., Any]:
    """Return a tool that yields what an async ``function`` does."""
    is_plain = settings.is_plain

    @functools.wraps(function)
    async def generator(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        import asyncio  # here: it takes longer to load than all of ours

        if is_plain and not lifecycle.is_active():
            body = AsyncBody(function(*args, **kwargs))
            async with aclosing(body):
                while await body.next():
                    with body:
                        body.send((yield body.item))
            return
        with Execution(function, settings, args, kwargs) as execution:
            execution.check_arguments()
            while True:
                if wait := execution.place():
                    await asyncio.sleep(wait)
                if (ticket := execution.enter()) is None:
                    async for item in _each(execution.degraded()):
                        yield item
                    return
                attempt = Streaming(execution, ticket)
                try:
                    with attempt:
                        items = function(*execution.args, **execution.kwargs)
                        body = AsyncBody(items, attempt.part, attempt.within, attempt.drop)
                        async with aclosing(body):
                            while await body.next():
                                attempt.keep(body.item)
                                with body:
                                    body.send((yield body.item))
                        return
                except Exception as error:  # noqa: BLE001 - raised again unless another attempt follows
                    wait = attempt.wait_after(error)
                await asyncio.sleep(wait)

    return generator


async def _each(answer: Any) -> AsyncIterator[Any]:
    """Yield the items that an open circuit's fallback gives."""
    if inspect.isawaitable(answer):
        answer = await answer
    if isinstance(answer, AsyncIterable):
        async for item in answer:
            yield item
    else:
        for item in answer:
            yield item


def _check_deadline() -> None:
    """Raise TimeoutError where the time of the run is over: between two items it can be stopped."""
    if seconds_left() == 0.0:
        raise TimeoutError("the run's time is over")


class Streaming:
    """``with Streaming(…)``: one attempt whose answer comes item by item, and its span."""

    def __init__(self, execution: Execution, ticket: Ticket) -> None:
        self._execution, self._attempt = execution, execution.attempt(ticket)
        self._inside = Inside(self._attempt.span)
        self._hash: ItemsHash | None = ItemsHash()
        self._text = GrowingText(DEFAULT_MAX_CHARACTERS) if lifecycle.captures_content() else None
        self._count = 0
        self._spent_s = 0.0
        """In the tool's own parts; its reader may take as long as it likes."""

    def part(self) -> Inside:
        """Return what the tool's parts run in."""
        return self._inside

    def __enter__(self) -> None:
        """Nothing is current before the first part."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._record(is_whole=error is None)
        self._attempt.end(error)

    def drop(self) -> None:
        """End the call where its reader has left and nobody closed the generator."""
        for ending in (self, self._execution):
            ending.__exit__(GeneratorExit, GeneratorExit(), None)

    def keep(self, item: Any) -> None:
        """See what the tool has yielded."""
        self._count += 1
        self._take(item)

    async def within(self, go: Callable[[], Awaitable[Any]]) -> Any:
        """Await a part in what is left of the tool's time-out and of the run's deadline."""
        left_s = self._execution.timeout_s(cancels=True, spent_s=self._spent_s)
        if left_s == 0.0:
            raise overran(self._spent_s)
        began = time.monotonic()
        try:
            return await within_async(left_s, go(), self._spent_s)
        finally:
            self._spent_s += time.monotonic() - began

    def wait_after(self, error: Exception) -> float:
        """Return the seconds before the next attempt; raise the error where an item has gone out."""
        with self._inside:
            return self._execution.wait_after(error, is_last=self._count > 0)

    @guarded(default=None)
    def _take(self, item: Any) -> None:
        digest, self._hash = self._hash, None  # an item that can't be told leaves none
        if digest is not None:
            digest.add(item)
            self._hash = digest
        if self._text is not None:
            self._text.add(f"{', ' if self._count > 1 else '['}{json.dumps(item, default=str)}")

    @guarded(default=None)
    def _record(self, *, is_whole: bool) -> None:
        """Say how much came, and what, where it is all."""
        span = self._attempt.span
        span.set_attribute(semconv.TOOL_ITEMS, self._count)
        if is_whole and self._hash is not None:
            span.set_attribute(semconv.RESULT_HASH, self._hash.hexdigest())
        if is_whole and self._text is not None:
            self._text.add("]" if self._count else "[]")
            span.set_attribute(semconv.TOOL_RESULT, self._text.cut())
