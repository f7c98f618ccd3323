"""The time in which a request is under way: inside its call's span, which a failure ends."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol

from opentelemetry.trace import Span

from taximeter.guard import guarded
from taximeter.runs.deadlines import raise_if_overdue
from taximeter.spans import current_span


class Sent(Protocol):
    """A call that a span tells of."""

    span: Span

    def end(self, error: BaseException | None) -> None:
        """End the span; ``error`` is why the call failed."""


class Sending(current_span):
    """``with Sending(call):`` around the SDK's own request. Raises DeadlineReached for its time-out."""

    __slots__ = ("_call",)

    def __init__(self, call: Sent) -> None:
        super().__init__(call.span)
        self._call = call

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, traceback)
        if error is not None:
            _end(self._call, error)
            raise_if_overdue(error)


@guarded(default=None)
def _end(call: Sent, error: BaseException) -> None:
    call.end(error)
