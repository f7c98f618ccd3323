"""`tool`: a span an execution, with the fingerprint that tells a repeat; time-out and retries."""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from contextvars import copy_context
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, ParamSpec, TypeVar, cast, overload

from opentelemetry.trace import Span, Status, StatusCode

from taximeter import lifecycle, semconv
from taximeter.call_arguments import Reader, argument_reader
from taximeter.fingerprint import arguments_hash, canonical, result_hash
from taximeter.guard import guarded
from taximeter.limits import LimitReached
from taximeter.spans import current_span, start_span
from taximeter.tool_limits import admit_tool_call

P = ParamSpec("P")
T = TypeVar("T")
_FIRST_BACKOFF_S: Final = 0.5
_MAX_BACKOFF_S: Final = 8.0
_MAX_CONTENT: Final = 32_768


@dataclass(frozen=True, slots=True)
class _Tool:
    name: str
    timeout_s: float | None
    retries: int
    arguments: Reader


@overload
def tool(function: Callable[P, T], /) -> Callable[P, T]: ...
@overload
def tool(
    *, name: str | None = None, timeout_s: float | None = None, retries: int = 0
) -> Callable[[Callable[P, T]], Callable[P, T]]: ...
def tool(
    function: Callable[P, T] | None = None,
    /,
    *,
    name: str | None = None,
    timeout_s: float | None = None,
    retries: int = 0,
) -> Callable[P, T] | Callable[[Callable[P, T]], Callable[P, T]]:
    """Make a function a tool: ``@tool`` or ``@tool(name=…, timeout_s=15, retries=3)``.

    A time-out raises TimeoutError. Retried with growing, jittered waits is what may pass: time-outs,
    broken connections, answers 408, 429 and 5xx. Each attempt has a span of its own.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        reader = argument_reader(function)
        settings = _Tool(name or function.__name__, timeout_s, retries, reader)
        wrap = _async_tool if inspect.iscoroutinefunction(function) else _plain_tool
        return cast(Callable[P, T], wrap(function, settings))

    return decorate(function) if function is not None else decorate


def _plain_tool(function: Callable[..., Any], settings: _Tool) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not lifecycle.is_active():
            return _within(settings.timeout_s, function, args, kwargs)
        execution = _Execution(settings, args, kwargs)
        for attempt in range(1, settings.retries + 2):
            try:
                with execution.attempt(attempt) as finish:
                    return finish(_within(settings.timeout_s, function, args, kwargs))
            except LimitReached:
                raise
            except Exception as error:
                if attempt > settings.retries or not _may_pass(error):
                    execution.failed()
                    raise
            time.sleep(_backoff_s(attempt))
        raise AssertionError("unreachable")

    return call


def _async_tool(function: Callable[..., Any], settings: _Tool) -> Callable[..., Any]:
    @functools.wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        if not lifecycle.is_active():
            async with asyncio.timeout(settings.timeout_s):
                return await function(*args, **kwargs)
        execution = _Execution(settings, args, kwargs)
        for attempt in range(1, settings.retries + 2):
            try:
                with execution.attempt(attempt) as finish:
                    async with asyncio.timeout(settings.timeout_s):
                        return finish(await function(*args, **kwargs))
            except LimitReached:
                raise
            except Exception as error:
                if attempt > settings.retries or not _may_pass(error):
                    execution.failed()
                    raise
            await asyncio.sleep(_backoff_s(attempt))
        raise AssertionError("unreachable")

    return call


class _Execution:
    """One logical tool call: counted once, however many attempts it takes."""

    __slots__ = ("admission", "arguments", "hash", "settings")

    def __init__(self, settings: _Tool, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.settings = settings
        self.arguments, self.hash = _fingerprint(settings.arguments, args, kwargs)
        self.admission = admit_tool_call(settings.name, self.hash)

    def attempt(self, number: int) -> _Attempt:
        """Return a context that gives the result's recorder; a failure is recorded by itself."""
        return _Attempt(self, number)

    def failed(self) -> None:
        """Count a failure that the agent will see."""
        if self.admission is not None:
            self.admission.end(failed=True)


class _Attempt:
    """One attempt and its span."""

    __slots__ = ("_execution", "_inside", "_span")

    def __init__(self, execution: _Execution, number: int) -> None:
        self._execution = execution
        self._span = _new_span(execution, number)
        self._inside = current_span(self._span)

    def __enter__(self) -> Callable[[T], T]:
        self._inside.__enter__()
        return self._finish

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._inside.__exit__(kind, error, traceback)
        if error is not None and not isinstance(error, LimitReached):
            _record_error(self._span, error)
        self._span.end()

    def _finish(self, result: T) -> T:
        _record_result(self._span, result)
        if (admission := self._execution.admission) is not None:
            admission.end(failed=False)
        return result


def _within(
    timeout_s: float | None,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """Call within a time-out. A thread can't be stopped: what overruns goes on without a listener."""
    if timeout_s is None:
        return function(*args, **kwargs)
    pool = ThreadPoolExecutor(1, thread_name_prefix="taximeter-tool")
    try:
        future = pool.submit(copy_context().run, functools.partial(function, *args, **kwargs))
        return future.result(timeout_s)
    except FutureTimeout:
        if future.done():
            raise  # the tool's own
        raise TimeoutError(f"the tool did not answer within {timeout_s:g} s") from None
    finally:
        pool.shutdown(wait=False)


def _may_pass(error: Exception) -> bool:
    status = getattr(error, "status_code", None)
    if status is None:
        status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(status, int):
        return status in (408, 429) or status >= 500
    return isinstance(error, TimeoutError | ConnectionError)


def _backoff_s(attempt: int) -> float:
    return random.uniform(0, min(_MAX_BACKOFF_S, _FIRST_BACKOFF_S * 2**attempt))


@guarded(default=(None, None))
def _fingerprint(
    reader: Reader, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[dict[str, Any] | None, str | None]:
    arguments = reader(args, kwargs)
    return arguments, arguments_hash(arguments)


def _new_span(execution: _Execution, attempt: int) -> Span:
    name, arguments = execution.settings.name, execution.arguments
    attributes: dict[str, Any] = {
        semconv.OPERATION: semconv.EXECUTE_TOOL,
        semconv.TOOL_NAME: name,
        semconv.ATTEMPT: attempt,
    }
    if execution.hash is not None:
        attributes[semconv.ARGUMENTS_HASH] = execution.hash
    if lifecycle.captures_content() and (said := _said(arguments)) is not None:
        attributes[semconv.TOOL_ARGUMENTS] = said
    return start_span(f"{semconv.EXECUTE_TOOL} {name}", attributes)


@guarded(default=None)
def _said(arguments: dict[str, Any] | None) -> str | None:
    return None if arguments is None else canonical(arguments)[:_MAX_CONTENT]


@guarded(default=None)
def _record_result(span: Span, result: Any) -> None:
    fingerprint = result_hash(result)
    if fingerprint is not None:
        span.set_attribute(semconv.RESULT_HASH, fingerprint)
    if lifecycle.captures_content():
        text = result if isinstance(result, str) else json.dumps(result, default=str)
        span.set_attribute(semconv.TOOL_RESULT, text[:_MAX_CONTENT])


@guarded(default=None)
def _record_error(span: Span, error: BaseException) -> None:
    span.set_attribute(semconv.ERROR_TYPE, type(error).__qualname__)
    span.set_status(Status(StatusCode.ERROR, str(error)[:1_000]))
