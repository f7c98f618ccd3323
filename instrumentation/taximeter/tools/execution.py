"""One logical tool call, however many attempts it takes: counted once, every attempt a span."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

from opentelemetry.trace import Span

from taximeter import semconv
from taximeter.guard import guarded
from taximeter.runs.current import ending, seconds_left
from taximeter.runs.deadlines import raise_if_overdue
from taximeter.runs.limits import CircuitOpened, LimitReached
from taximeter.spans import current_span
from taximeter.tools.breaker import NO_FALLBACK, Breaker, Ticket
from taximeter.tools.call_arguments import Reader
from taximeter.tools.denied import Denied, Policy
from taximeter.tools.limits import admit_tool_call, has_failed
from taximeter.tools.rate import Rate
from taximeter.tools.retry import DEFAULT_BACKOFF, Backoff, wait_before_retry
from taximeter.tools.spans import (
    read_arguments,
    record_denial,
    record_error,
    record_result,
    start_attempt,
)

T = TypeVar("T")
Allow = Mapping[str, Policy] | Callable[[Mapping[str, Any]], bool | None]
"""Policies by argument, or a function that takes the arguments and returns False to refuse."""


@dataclass(frozen=True, slots=True)
class ToolSettings:
    """What ``@tool(…)`` was given."""

    name: str
    arguments: Reader
    timeout_s: float | None = None
    retries: int = 0
    backoff: Backoff = DEFAULT_BACKOFF
    breaker: Breaker | None = None
    rate: Rate | None = None
    cost_usd: float | None = None
    allow: Allow | None = None

    @property
    def is_plain(self) -> bool:
        """Whether there is nothing to do for a call but to measure it."""
        return self == ToolSettings(self.name, self.arguments)


class Execution:
    """``with Execution(…)``: one call of a tool. Raises LimitReached where the run allows no more."""

    __slots__ = (
        "_admission",
        "_arguments",
        "_attempts",
        "_function",
        "_hash",
        "_is_refused",
        "_settings",
        "args",
        "kwargs",
    )

    def __init__(
        self,
        function: Callable[..., Any],
        settings: ToolSettings,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self.args, self.kwargs = args, kwargs
        self._function, self._settings = function, settings
        self._arguments, self._hash = read_arguments(settings.arguments, args, kwargs)
        self._attempts, self._is_refused = 0, False
        self._admission = admit_tool_call(settings.name, self._hash)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let the limits see the end. Raises ErrorCascadeDetected."""
        if self._admission is not None:
            self._admission.end(None if self._is_refused else has_failed(error))

    def check_arguments(self) -> None:
        """Take the arguments as the policies leave them. Raises Denied, which is recorded."""
        if self._settings.allow is None:
            return
        bound = _signature(self._function).bind(*self.args, **self.kwargs)
        bound.apply_defaults()
        try:
            _apply(self._settings.allow, bound.arguments)
        except Denied as denied:
            self._refuse(denied)
            raise
        self.args, self.kwargs = bound.args, bound.kwargs

    def place(self) -> float:
        """Take a place under the rate limit; return the seconds before it. Raises Denied."""
        if self._settings.rate is None:
            return 0.0
        wait = self._settings.rate.wait_s(seconds_left())
        if wait is None:
            denied = Denied(
                f"The tool {self._settings.name} may be called {self._settings.rate.per_minute:g}"
                " times a minute: call it later."
            )
            self._refuse(denied)
            raise denied
        return wait

    def enter(self) -> Ticket | None:
        """Begin an attempt; None where the circuit is open, which is recorded."""
        breaker = self._settings.breaker
        ticket: Ticket | None = "call" if breaker is None else breaker.enter()
        if ticket is None:
            self._refuse(None)
        return ticket

    def timeout_s(self, *, cancels: bool, spent_s: float = 0.0) -> float | None:
        """Return the attempt's time-out: what is left of the tool's, capped by the run's deadline.

        Only what can be cancelled gets one from the deadline alone.
        """
        own, left = self._settings.timeout_s, seconds_left()
        if own is not None:
            own = max(0.0, own - spent_s)
        if left is None or (own is None and not cancels):
            return own
        return left if own is None else min(own, left)

    def attempt(self, ticket: Ticket) -> Attempt:
        """Return a context that gives the result's recorder; a failure is recorded by itself."""
        self._attempts += 1
        span = self._start_span()
        if self._settings.cost_usd is not None:
            _set(span, semconv.TOOL_COST, self._settings.cost_usd)
        return Attempt(self, span, ticket)

    def wait_after(self, error: Exception, *, is_last: bool = False) -> float:
        """Return the seconds before the next attempt; raise the error where there is none."""
        if isinstance(error, Denied):
            raise error
        raise_if_overdue(error)
        wait: float | None = None
        if self._attempts <= self._settings.retries and not is_last:
            wait = wait_before_retry(error, self._attempts, self._settings.backoff, seconds_left())
        if wait is None:
            raise error
        return wait

    def degraded(self) -> Any:
        """Return the answer for an open circuit. Raises CircuitOpened where there is none."""
        breaker = self._settings.breaker
        if breaker is None or breaker.fallback is NO_FALLBACK:
            raise ending(CircuitOpened, f"the tool {self._settings.name} keeps failing")
        if callable(breaker.fallback):
            return breaker.fallback(*self.args, **self.kwargs)
        return breaker.fallback

    def leave(self, ticket: Ticket, error: BaseException | None, span: Span) -> None:
        """Tell the circuit breaker how an attempt ended."""
        if self._settings.breaker is not None:
            self._settings.breaker.leave(ticket, error)
            _set(span, semconv.BREAKER_STATE, self._settings.breaker.state)

    def _refuse(self, denied: Denied | None) -> None:
        """Record an attempt that does not happen; without ``denied`` for an open circuit."""
        self._attempts, self._is_refused = self._attempts + 1, True
        span = self._start_span()
        record_denial(span, "circuit_open" if denied is None else type(denied).__qualname__)
        if denied is None and self._settings.breaker is not None:
            _set(span, semconv.BREAKER_STATE, self._settings.breaker.state)
        span.end()

    def _start_span(self) -> Span:
        return start_attempt(self._settings.name, self._hash, self._arguments, self._attempts)


class Attempt(current_span):
    """One attempt and its span."""

    __slots__ = ("_execution", "_ticket")

    def __init__(self, execution: Execution, span: Span, ticket: Ticket) -> None:
        super().__init__(span)
        self._execution, self._ticket = execution, ticket

    def __enter__(self) -> Callable[[T], T]:  # type: ignore[override]
        super().__enter__()
        return self._finish

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, traceback)
        self.end(error)

    def end(self, error: BaseException | None) -> None:
        """End the span, and say how the attempt ended."""
        self._execution.leave(self._ticket, error, self.span)
        if isinstance(error, Denied):
            record_denial(self.span, type(error).__qualname__)
        elif error is not None and not isinstance(error, LimitReached):
            record_error(self.span, error)
        self.span.end()

    def _finish(self, result: T) -> T:
        record_result(self.span, result)
        return result


def check_allow(function: Callable[..., Any], allow: Allow | None) -> None:
    """Raise ValueError where a policy is for an argument that the function does not have."""
    if not isinstance(allow, Mapping):
        return
    named = {
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }
    if unknown := [name for name in allow if name not in named]:
        raise ValueError(
            f"tool {function.__name__}: allow names {unknown[0]!r}, which is none of its arguments"
            f" ({', '.join(sorted(named)) or 'it has none'})"
        )


def _apply(allow: Allow, arguments: dict[str, Any]) -> None:
    """Check arguments, in place; a policy that fails refuses."""
    try:
        if not isinstance(allow, Mapping):
            if allow(dict(arguments)) is False:
                raise Denied("The tool call is not allowed.")
            return
        for name, policy in allow.items():
            arguments[name] = policy.check(arguments[name])
    except (Denied, LimitReached):
        raise
    except Exception as error:
        raise Denied(f"The tool call is not allowed: its policy failed ({error!r}).") from error


@functools.lru_cache(maxsize=1_024)
def _signature(function: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(function)


@guarded(default=None)
def _set(span: Span, key: str, value: Any) -> None:
    span.set_attribute(key, value)
