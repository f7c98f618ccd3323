"""`request` and `agent`: the spans that say whose a model call is, and where a run ends."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from contextvars import Token
from types import TracebackType
from typing import Any, NoReturn, ParamSpec, TypeVar, cast

from taximeter import lifecycle, semconv
from taximeter.decorated import checked_function
from taximeter.runs.current import (
    AgentRun,
    Request,
    current_agent,
    current_levels,
    current_request,
    ending,
    note_confidence,
)
from taximeter.runs.limits import (
    NO_LIMITS,
    HandoffRequested,
    LimitReached,
    Limits,
    checked_limits,
)
from taximeter.runs.run_spans import (
    CurrentSpan,
    Run,
    end_span,
    given,
    reset,
    said_limits,
    start_span,
)
from taximeter.runs.sessions import sessions

P = ParamSpec("P")
T = TypeVar("T")


class request:
    """One request: everything inside belongs to one trace, one user, one session.

    ``with`` and ``async with``; gives the `Request` whose ``cost_usd`` and ``loop_length`` grow.
    ``limits`` bind all runs in it together, ``session_limits`` all requests of ``session`` that this
    process serves. Their `LimitReached` leaves the block, unless ``on_limit`` says otherwise: then
    the block just ends, `Request.reached_limit` says why and `Request.result` holds what it gave.
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        user: str | None = None,
        session: str | None = None,
        tenant: str | None = None,
        tags: Sequence[str] = (),
        limits: Limits = NO_LIMITS,
        session_limits: Limits | None = None,
    ) -> None:
        checked_limits("request", limits)
        if session_limits is not None:
            checked_limits("request", session_limits)
        if session_limits is not None and session is None:
            raise ValueError("request(session_limits=…) needs session=…: whose limits are they?")
        attributes = {
            semconv.USER_ID: user,
            semconv.SESSION_ID: session,
            semconv.CONVERSATION_ID: session,
            semconv.TENANT: tenant,
            semconv.TAGS: list(tags) or None,
        }
        given = {key: value for key, value in attributes.items() if value is not None}
        self._request = Request(name or "request", limits, attributes=given)
        self._session_id, self._session_limits = session, session_limits
        self._token: Token[Request | None] | None = None
        self._agent_token: Token[AgentRun | None] | None = None
        self._span: CurrentSpan | None = None

    def __enter__(self) -> Request:
        if _is_on("request", self._request.limits, self._session_limits):
            session = None
            if self._session_limits is not None and self._session_id is not None:
                session = sessions.get(self._session_id, self._session_limits)
            self._request.begin(session, current_levels())
            self._token = current_request.set(self._request)
            self._agent_token = current_agent.set(None)
            self._span = start_span(
                self._request.name,
                {
                    semconv.OPERATION: semconv.INVOKE_WORKFLOW,
                    semconv.WORKFLOW_NAME: self._request.name,
                    **said_limits(self._request.limits),
                },
            )
        return self._request

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        if self._token is None or self._agent_token is None:
            return None
        reached = self._own_limit(error)
        if reached is None or reached.run.limits.on_limit == "raise":
            self._end(error, error)
            return None
        try:
            self._request.result = given(reached)
        except BaseException as failed:
            self._end(reached, failed)
            raise
        self._end(reached, None)
        return True

    async def __aenter__(self) -> Request:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        is_over = self.__exit__(kind, error, traceback)
        if inspect.isawaitable(self._request.result):
            self._request.result = await self._request.result
        return is_over

    def _own_limit(self, error: BaseException | None) -> LimitReached | None:
        """Return the error where it is a limit of this request or of its session."""
        if not isinstance(error, LimitReached):
            return None
        self._request.reached_limit = error
        owners = (self._request, self._request.session)
        return error if error.run is not None and error.run in owners else None

    def _end(self, ended: BaseException | None, error: BaseException | None) -> None:
        """End the span: with how the request ended, and the error that leaves it."""
        if self._token is not None and self._agent_token is not None:
            end_span(self._span, ended, error)
            reset(current_agent, self._agent_token)
            reset(current_request, self._token)


def agent(
    name: str, *, version: str | None = None, limits: Limits = NO_LIMITS
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Make a function an agent: each call is a run with its own loop, cost and limits.

    Plain, async, generator and async generator functions. A limit ends the run by `LimitReached`,
    or with what ``Limits(on_limit=…)`` gives: its partial result, or what a function of yours returns
    (of an async generator that is the last item).
    """

    if not isinstance(name, str):
        raise TypeError('agent: give a name, @agent("support")')
    checked_limits(f"agent {name!r}", limits)

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        checked_function("agent", function)

        def begin() -> Run | None:
            return Run(name, version, limits) if _is_on(f"agent {name!r}", limits) else None

        return cast(Callable[P, T], _around(function, begin))

    return decorate


def partial(value: Any) -> None:
    """Keep ``value`` as the best result so far of the current run, or of a request without one."""
    for level in current_levels()[:1]:
        level.partial = value


def confidence(value: float) -> None:
    """Record how sure the current run is of its result, from 0 to 1.

    Raises LowConfidenceDetected below ``Limits(min_confidence=…)``.
    """
    note_confidence(value)


def handoff(reason: str) -> NoReturn:
    """Give the current run's task to a human: it ends here, by `HandoffRequested`.

    ``Limits(on_limit=…)`` says what its caller gets, as at any limit.
    """
    raise ending(HandoffRequested, reason)


_Begin = Callable[[], Run | None]
"""Starts a run; None while the shim is off."""


def _is_on(owner: str, *limits: Limits | None) -> bool:
    """Return whether the shim runs; where it does not, say once that limits are not checked."""
    if lifecycle.is_active():
        return True
    if any(limit not in (None, NO_LIMITS) for limit in limits):
        lifecycle.say_unlimited(owner)
    return False


def _around(function: Callable[..., Any], begin: _Begin) -> Callable[..., Any]:
    """Return ``function`` as a run each time: by what kind of function it is."""
    if inspect.isasyncgenfunction(function):
        return _around_async_generator(function, begin)
    if inspect.isgeneratorfunction(function):
        return _around_generator(function, begin)
    if inspect.iscoroutinefunction(function):
        return _around_coroutine(function, begin)
    return _around_plain(function, begin)


def _around_async_generator(function: Callable[..., Any], begin: _Begin) -> Callable[..., Any]:
    @functools.wraps(function)
    async def async_generator(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        run, items = begin(), function(*args, **kwargs)
        if run is None:
            async for item in items:
                yield item
            return
        advance = functools.partial(items.asend, None)
        try:
            while True:
                with run.step():
                    try:
                        item = await advance()
                    except StopAsyncIteration:
                        break
                    run.keep(item)
                try:
                    advance = functools.partial(items.asend, (yield item))
                except Exception as thrown:  # noqa: BLE001 - the agent's own to catch
                    advance = functools.partial(items.athrow, thrown)
        except LimitReached as reached:
            result = run.settle(reached)
            if inspect.isawaitable(result):
                result = await result
            if run.hands_over:
                yield result
        finally:
            try:
                await items.aclose()
            finally:
                run.end()

    return async_generator


def _around_generator(function: Callable[..., Any], begin: _Begin) -> Callable[..., Any]:
    @functools.wraps(function)
    def generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        run, items = begin(), function(*args, **kwargs)
        if run is None:
            return (yield from items)
        advance = functools.partial(items.send, None)
        try:
            while True:
                with run.step():
                    try:
                        item = advance()
                    except StopIteration as stop:
                        return stop.value
                    run.keep(item)
                try:
                    advance = functools.partial(items.send, (yield item))
                except Exception as thrown:  # noqa: BLE001 - the agent's own to catch
                    advance = functools.partial(items.throw, thrown)
        except LimitReached as reached:
            return run.settle(reached)
        finally:
            try:
                items.close()
            finally:
                run.end()

    return generator


def _around_coroutine(function: Callable[..., Any], begin: _Begin) -> Callable[..., Any]:
    @functools.wraps(function)
    async def coroutine(*args: Any, **kwargs: Any) -> Any:
        run = begin()
        if run is None:
            return await function(*args, **kwargs)
        try:
            with run.step():
                return await function(*args, **kwargs)
        except LimitReached as reached:
            result = run.settle(reached)
            return await result if inspect.isawaitable(result) else result
        finally:
            run.end()

    return coroutine


def _around_plain(function: Callable[..., Any], begin: _Begin) -> Callable[..., Any]:
    @functools.wraps(function)
    def plain(*args: Any, **kwargs: Any) -> Any:
        run = begin()
        if run is None:
            return function(*args, **kwargs)
        try:
            with run.step():
                return function(*args, **kwargs)
        except LimitReached as reached:
            return run.settle(reached)
        finally:
            run.end()

    return plain


__all__ = ["agent", "confidence", "handoff", "partial", "request"]
