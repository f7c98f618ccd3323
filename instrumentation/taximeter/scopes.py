"""`request` and `agent`: the spans that say whose a model call is, and where a run ends."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from contextvars import Token
from types import TracebackType
from typing import Any, Final, ParamSpec, TypeVar, cast

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from taximeter import lifecycle, semconv
from taximeter.guard import guarded
from taximeter.limits import LimitReached, Limits
from taximeter.runs import AgentRun, Request, current_agent, current_request

P = ParamSpec("P")
T = TypeVar("T")
_NO_LIMITS: Final = Limits()


class request:
    """One request: everything inside belongs to one trace, one user, one session.

    ``with`` and ``async with``; gives the `Request` whose ``cost_usd`` and ``loop_length`` grow.
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        user: str | None = None,
        session: str | None = None,
        tenant: str | None = None,
        tags: Sequence[str] = (),
    ) -> None:
        attributes = {
            semconv.USER_ID: user,
            semconv.SESSION_ID: session,
            semconv.CONVERSATION_ID: session,
            semconv.TENANT: tenant,
            semconv.TAGS: list(tags) or None,
        }
        given = {key: value for key, value in attributes.items() if value is not None}
        self._request = Request(name or "request", given)
        self._token: Token[Request | None] | None = None
        self._agent_token: Token[AgentRun | None] | None = None
        self._span: _CurrentSpan | None = None

    def __enter__(self) -> Request:
        if lifecycle.is_active():
            self._token = current_request.set(self._request)
            self._agent_token = current_agent.set(None)
            self._span = _start_span(
                self._request.name,
                {
                    semconv.OPERATION: semconv.INVOKE_WORKFLOW,
                    semconv.WORKFLOW_NAME: self._request.name,
                },
            )
        return self._request

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._token is None or self._agent_token is None:
            return
        _end_span(self._span, error)
        _reset(current_agent, self._agent_token)
        _reset(current_request, self._token)

    async def __aenter__(self) -> Request:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, traceback)


def agent(
    name: str, *, version: str | None = None, limits: Limits = _NO_LIMITS
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Make a function an agent: each call is a run with its own loop, cost and limits.

    Plain, async, generator and async generator functions. A limit ends the run by `LimitReached`,
    or with its partial result where ``Limits(on_limit="partial")`` says so.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        def begin() -> _Run:
            return _Run(name, version, limits)

        return cast(Callable[P, T], _around(function, begin))

    return decorate


def partial(value: Any) -> None:
    """Keep ``value`` as the best result of the current run so far; a limit hands it over."""
    run = current_agent.get()
    if run is not None:
        run.partial = value


def confidence(value: float) -> None:
    """Record how sure the current run is of its result, from 0 to 1."""
    run = current_agent.get()
    if run is not None:
        run.confidence = value


_Begin = Callable[[], "_Run"]


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
        if not lifecycle.is_active():
            async for item in function(*args, **kwargs):
                yield item
            return
        run, items = begin(), function(*args, **kwargs)
        try:
            while True:
                with run.step():
                    try:
                        item = await anext(items)
                    except StopAsyncIteration:
                        break
                    run.keep(item)
                yield item
        except LimitReached as reached:
            run.settle(reached)
        finally:
            await items.aclose()
            run.end()

    return async_generator


def _around_generator(function: Callable[..., Any], begin: _Begin) -> Callable[..., Any]:
    @functools.wraps(function)
    def generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        if not lifecycle.is_active():
            return (yield from function(*args, **kwargs))
        run, items = begin(), function(*args, **kwargs)
        try:
            while True:
                with run.step():
                    try:
                        item = next(items)
                    except StopIteration as stop:
                        return stop.value
                    run.keep(item)
                yield item
        except LimitReached as reached:
            return run.settle(reached)
        finally:
            items.close()
            run.end()

    return generator


def _around_coroutine(function: Callable[..., Any], begin: _Begin) -> Callable[..., Any]:
    @functools.wraps(function)
    async def coroutine(*args: Any, **kwargs: Any) -> Any:
        if not lifecycle.is_active():
            return await function(*args, **kwargs)
        run = begin()
        try:
            with run.step():
                return await function(*args, **kwargs)
        except LimitReached as reached:
            return run.settle(reached)
        finally:
            run.end()

    return coroutine


def _around_plain(function: Callable[..., Any], begin: _Begin) -> Callable[..., Any]:
    @functools.wraps(function)
    def plain(*args: Any, **kwargs: Any) -> Any:
        if not lifecycle.is_active():
            return function(*args, **kwargs)
        run = begin()
        try:
            with run.step():
                return function(*args, **kwargs)
        except LimitReached as reached:
            return run.settle(reached)
        finally:
            run.end()

    return plain


class _Run:
    """An agent run with its span; `step` makes it current while the agent's own code runs."""

    def __init__(self, name: str, version: str | None, limits: Limits) -> None:
        self._state = AgentRun(name, limits, current_agent.get(), current_request.get())
        self._error: BaseException | None = None
        self._reason: str | None = None
        self._kept: list[Any] = []
        self._span = _new_span(
            f"{semconv.INVOKE_AGENT} {name}",
            {
                semconv.OPERATION: semconv.INVOKE_AGENT,
                semconv.AGENT_NAME: name,
                **({semconv.AGENT_VERSION: version} if version else {}),
                **{f"{semconv.LIMIT}{limit}": value for limit, value in limits.items()},
            },
        )

    @contextmanager
    def step(self) -> Iterator[None]:
        """Run a part of the agent's code inside the run."""
        token = current_agent.set(self._state)
        try:
            with trace.use_span(self._span, record_exception=False, set_status_on_exception=False):
                yield
        except BaseException as error:
            self._error = error
            raise
        finally:
            _reset(current_agent, token)

    def keep(self, item: Any) -> None:
        """Collect what a generator has yielded: its partial result."""
        self._kept.append(item)
        self._state.partial = self._kept

    def settle(self, reached: LimitReached) -> Any:
        """Return the partial result, or raise, as this run's own limits say."""
        if reached.run is self._state and self._state.limits.on_limit == "partial":
            self._error, self._reason = None, reached.reason
            return reached.partial
        raise reached

    @guarded(default=None)
    def end(self) -> None:
        """Record how the run ended."""
        error, span = self._error, self._span
        if isinstance(error, GeneratorExit):
            error = None
        span.set_attribute(semconv.TERMINATION_REASON, self._reason or _reason_of(error))
        if self._state.confidence is not None:
            span.set_attribute(semconv.CONFIDENCE, self._state.confidence)
        _mark_error(span, error)
        span.end()


def _reason_of(error: BaseException | None) -> str:
    if error is None:
        return "completed"
    if isinstance(error, LimitReached):
        return error.reason
    if isinstance(error, asyncio.CancelledError | KeyboardInterrupt):
        return "cancelled"
    return "error"


# Spans whose faults stay ours.

_CurrentSpan = tuple[Span, Any]


@guarded(default=trace.INVALID_SPAN)
def _new_span(name: str, attributes: dict[str, Any]) -> Span:
    return lifecycle.tracer().start_span(name, kind=SpanKind.INTERNAL, attributes=attributes)


def _start_span(name: str, attributes: dict[str, Any]) -> _CurrentSpan:
    from opentelemetry.context import attach

    span = _new_span(name, attributes)
    return span, attach(trace.set_span_in_context(span))


@guarded(default=None)
def _end_span(current: _CurrentSpan | None, error: BaseException | None) -> None:
    from opentelemetry.context import detach

    if current is None:
        return
    span, token = current
    detach(token)
    if error is not None:
        span.set_attribute(semconv.TERMINATION_REASON, _reason_of(error))
    _mark_error(span, error)
    span.end()


def _mark_error(span: Span, error: BaseException | None) -> None:
    if error is None:
        return
    span.set_attribute(semconv.ERROR_TYPE, type(error).__qualname__)
    span.set_status(Status(StatusCode.ERROR, str(error)[:1_000]))


def _reset(variable: Any, token: Token[Any]) -> None:
    """Reset, also where a generator ends in another context than it began in."""
    try:
        variable.reset(token)
    except ValueError:
        variable.set(token.old_value if token.old_value is not Token.MISSING else None)


__all__ = ["agent", "confidence", "partial", "request"]
