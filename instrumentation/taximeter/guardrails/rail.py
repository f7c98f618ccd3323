"""One guardrail: a check in, a span with its verdict and the value that may pass out."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, overload

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from taximeter import lifecycle, semconv
from taximeter.guard import guarded
from taximeter.guardrails.verdicts import Verdict, block, verdict_of
from taximeter.runs.current import ending
from taximeter.runs.limits import GuardrailBlocked, LimitReached
from taximeter.runs.side_work import side_work
from taximeter.tools.denied import Denied

Check = Callable[[Any], Any]
"""Takes a value; returns a Verdict, True, False or None, or an awaitable of one."""
Fail = Literal["open", "closed"]


class Guardrail:
    """A named check; call it (``rail(value)``) or await it (``await rail.check_async(value)``).

    Both return the value that may pass, and raise GuardrailBlocked, which ends the run with reason
    ``guardrail``. ``fail`` says what a check that raises means: ``closed`` blocks, ``open`` allows.
    """

    def __init__(self, check: Check, name: str, fail: Fail = "closed") -> None:
        if fail not in ("open", "closed"):
            raise ValueError(f"guardrail {name}: fail={fail!r}: use 'open' or 'closed'")
        self.check, self.name, self.fail = check, name, fail

    def __call__(self, value: Any) -> Any:
        """Return what may pass. Raises GuardrailBlocked; TypeError where the check is async."""
        with _span(self.name) as span:
            try:
                said = self.check(value)
                if inspect.isawaitable(said):
                    _close(said)
                    raise _AsyncCheck(f"guardrail {self.name} is async: await check_async(value)")
                verdict = verdict_of(said)
            except (LimitReached, _AsyncCheck):
                raise
            except Exception as error:  # noqa: BLE001 - a check that fails has a verdict too
                verdict = self._failed(span, error)
            return self._settle(span, verdict, value)

    async def check_async(self, value: Any) -> Any:
        """Return what may pass; for plain checks too. Raises GuardrailBlocked."""
        with _span(self.name) as span:
            try:
                said = self.check(value)
                verdict = verdict_of(await said if inspect.isawaitable(said) else said)
            except LimitReached:
                raise
            except Exception as error:  # noqa: BLE001 - a check that fails has a verdict too
                verdict = self._failed(span, error)
            return self._settle(span, verdict, value)

    def _failed(self, span: Span, error: Exception) -> Verdict:
        if isinstance(error, Denied):
            return block(str(error))
        _record_failure(span, error)
        return Verdict(
            "block" if self.fail == "closed" else "allow",
            f"the check failed: {type(error).__name__}",
        )

    def _settle(self, span: Span, verdict: Verdict, value: Any) -> Any:
        _record(span, verdict)
        if verdict.action == "block":
            raise ending(GuardrailBlocked, f"{self.name}: {verdict.reason or 'blocked'}")
        return verdict.value if verdict.action == "rewrite" else value


@overload
def guardrail(check: Check, /) -> Guardrail: ...
@overload
def guardrail(
    *, name: str | None = None, fail: Fail = "closed"
) -> Callable[[Check], Guardrail]: ...
def guardrail(
    check: Check | None = None, /, *, name: str | None = None, fail: Fail = "closed"
) -> Guardrail | Callable[[Check], Guardrail]:
    """Make a check a guardrail: ``@guardrail`` or ``@guardrail(name=…, fail="open")``."""

    def decorate(check: Check) -> Guardrail:
        return Guardrail(check, name or str(getattr(check, "__name__", "guardrail")), fail)

    return decorate(check) if check is not None else decorate


class _AsyncCheck(TypeError):
    """An async check was called as a plain one."""


def _close(awaitable: Any) -> None:
    if inspect.iscoroutine(awaitable):
        awaitable.close()


@contextmanager
def _span(name: str) -> Iterator[Span]:
    span = _start(name)
    try:
        with (
            side_work(),
            trace.use_span(span, record_exception=False, set_status_on_exception=False),
        ):
            yield span
    finally:
        span.end()


@guarded(default=trace.INVALID_SPAN)
def _start(name: str) -> Span:
    return lifecycle.tracer().start_span(
        f"{semconv.EXECUTE_GUARDRAIL} {name}",
        kind=SpanKind.INTERNAL,
        attributes={semconv.OPERATION: semconv.EXECUTE_GUARDRAIL, semconv.GUARDRAIL_NAME: name},
    )


@guarded(default=None)
def _record(span: Span, verdict: Verdict) -> None:
    span.set_attribute(semconv.GUARDRAIL_VERDICT, verdict.action)
    if verdict.reason:
        span.set_attribute(semconv.GUARDRAIL_REASON, verdict.reason[:1_000])


@guarded(default=None)
def _record_failure(span: Span, error: Exception) -> None:
    span.set_attribute(semconv.ERROR_TYPE, type(error).__qualname__)
    span.set_status(Status(StatusCode.ERROR, str(error)[:1_000]))
