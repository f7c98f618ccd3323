"""The spans of requests and agent runs: where each began, and how and why it ended."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Token
from dataclasses import asdict
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from taximeter import lifecycle, semconv
from taximeter.guard import guarded
from taximeter.runs.current import AgentRun, current_agent, current_request
from taximeter.runs.generators import Inside
from taximeter.runs.limits import LimitReached, Limits


class Run:
    """An agent run with its span; `step` makes it current while the agent's own code runs."""

    def __init__(self, name: str, version: str | None, limits: Limits) -> None:
        said = {semconv.AGENT_NAME: name, **({semconv.AGENT_VERSION: version} if version else {})}
        self._state = AgentRun(
            name, limits, parent=current_agent.get(), request=current_request.get(), said=said
        )
        self.hands_over = callable(limits.on_limit)
        self._ended: BaseException | None = None
        self._error: BaseException | None = None
        self._kept: list[Any] = []
        self._span = new_span(
            f"{semconv.INVOKE_AGENT} {name}",
            {
                semconv.OPERATION: semconv.INVOKE_AGENT,
                **said,
                **said_limits(limits),
            },
        )
        self._inside = Inside(self._span, self._state)

    @contextmanager
    def step(self) -> Iterator[None]:
        """Run a part of the agent's code inside the run."""
        try:
            with self._inside:
                yield
        except BaseException as error:
            self._ended = self._error = error
            raise

    def keep(self, item: Any) -> None:
        """Collect what a generator has yielded: its partial result."""
        self._kept.append(item)
        self._state.partial = self._kept

    def settle(self, reached: LimitReached) -> Any:
        """Return what the run's own limits give for its result, or raise."""
        if reached.run is not self._state or self._state.limits.on_limit == "raise":
            raise reached
        try:
            result = given(reached)
        except BaseException as failed:
            self._error = failed
            raise
        self._error = None
        return result

    def drop(self) -> None:
        """End a run whose reader has left, and whose generator nobody closed."""
        self.left(GeneratorExit())
        self.end()

    def left(self, reader: GeneratorExit) -> None:
        """See that nobody waits for the rest of what a generator yields."""
        self._ended = self._error = reader

    @guarded(default=None)
    def end(self) -> None:
        """Record how the run ended."""
        if self._state.confidence is not None:
            self._span.set_attribute(semconv.CONFIDENCE, self._state.confidence)
        self._span.set_attribute(semconv.TERMINATION_REASON, _reason_of(self._ended))
        _say_limit(self._span, self._ended)
        _mark_error(self._span, self._error)
        self._span.end()


def given(reached: LimitReached) -> Any:
    """Return what the limits give instead of raising: the partial result, or what a function says."""
    on_limit = reached.run.limits.on_limit
    return on_limit(reached) if callable(on_limit) else reached.partial


def said_limits(limits: Limits) -> dict[str, float]:
    """Return the limits as a span says them."""
    return {f"{semconv.LIMIT}{name}": value for name, value in limits.items()}


def _say_limit(span: Span, ended: BaseException | None) -> None:
    """Say on a span whose limit ended it, what was used, and what the caller got."""
    if not isinstance(ended, LimitReached):
        return
    span.set_attribute(semconv.TERMINATION_DETAIL, str(ended)[:1_000])
    if ended.name:
        span.set_attribute(semconv.LIMIT_REACHED, f"{ended.level}.{ended.name}")
    for name, value in asdict(ended.used).items():
        span.set_attribute(f"{semconv.USED}{name}", value)
    on_limit = ended.run.limits.on_limit if ended.run is not None else "raise"
    span.set_attribute(semconv.ON_LIMIT, "handoff" if callable(on_limit) else on_limit)


def _reason_of(error: BaseException | None) -> str:
    if error is None:
        return "completed"
    if isinstance(error, LimitReached):
        return error.reason
    return "cancelled" if _is_cancelled(error) else "error"


def _is_cancelled(error: BaseException) -> bool:
    asyncio = sys.modules.get("asyncio")  # loading it would take longer than all of ours
    return isinstance(error, KeyboardInterrupt | GeneratorExit) or (
        asyncio is not None and isinstance(error, asyncio.CancelledError)
    )


# Spans whose faults stay ours.

CurrentSpan = tuple[Span, Token[Context]]


@guarded(default=trace.INVALID_SPAN)
def new_span(name: str, attributes: dict[str, Any]) -> Span:
    """Start a span below the current one."""
    return lifecycle.tracer().start_span(name, kind=SpanKind.INTERNAL, attributes=attributes)


def start_span(name: str, attributes: dict[str, Any]) -> CurrentSpan:
    """Start a span and make it current."""
    span = new_span(name, attributes)
    return span, attach(trace.set_span_in_context(span))


@guarded(default=None)
def end_span(
    current: CurrentSpan | None,
    ended: BaseException | None,
    error: BaseException | None,
    *,
    is_here: bool,
) -> None:
    """End it: with how its scope ended, and the error that leaves the scope.

    ``is_here`` is False where it began in another context: in a generator that several threads run.
    """
    if current is None:
        return
    span, token = current
    if is_here:
        detach(token)
    elif trace.get_current_span() is span:
        attach(old_value(token) or Context())
    if ended is not None:
        span.set_attribute(semconv.TERMINATION_REASON, _reason_of(ended))
        _say_limit(span, ended)
    _mark_error(span, error)
    span.end()


def _mark_error(span: Span, error: BaseException | None) -> None:
    if error is None:
        return
    span.set_attribute(semconv.ERROR_TYPE, type(error).__qualname__)
    span.set_status(Status(StatusCode.ERROR, str(error)[:1_000]))


def old_value(token: Token[Any]) -> Any:
    """Return what a variable was before it was set; None where it was nothing."""
    return None if token.old_value is Token.MISSING else token.old_value
