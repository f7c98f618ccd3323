"""`request` and `agent`: the spans that say whose a model call is, and where a run ends."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextvars import Token
from types import TracebackType
from typing import Any, NoReturn, ParamSpec, TypeVar, cast

from taximeter import lifecycle, semconv
from taximeter.decorated import checked_function
from taximeter.runs.agent_functions import as_runs
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
    old_value,
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
            semconv.TAGS: tuple(map(str, tags)) or None,
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
            is_here = self._leave(self._token, self._agent_token)
            end_span(self._span, ended, error, is_here=is_here)

    def _leave(self, *tokens: Token[Any]) -> bool:
        """Make current what was before; return whether that was in this same context."""
        try:
            for token in tokens:
                token.var.reset(token)
        except ValueError:
            if current_request.get() is self._request:
                for token in tokens:
                    token.var.set(old_value(token))
            return False
        return True


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

        return cast(Callable[P, T], as_runs(function, begin))

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


def _is_on(owner: str, *limits: Limits | None) -> bool:
    """Return whether the shim runs; where it does not, say once that limits are not checked."""
    if lifecycle.is_active():
        return True
    if any(limit not in (None, NO_LIMITS) for limit in limits):
        lifecycle.say_unlimited(owner)
    return False


__all__ = ["agent", "confidence", "handoff", "partial", "request"]
