"""A model call and the time in which its request is under way: inside its span, which a failure ends."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Final

from opentelemetry.trace import INVALID_SPAN

from taximeter.runs.deadlines import raise_if_overdue
from taximeter.spans import current_span

call_under_way: Final[ContextVar[CurrentCall | None]] = ContextVar("taximeter_call", default=None)
"""The model call whose request is under way in this context."""


class CurrentCall(current_span, ABC):
    """``with call:`` around the SDK's own request. Raises DeadlineReached for its time-out."""

    def __init__(self) -> None:
        super().__init__(INVALID_SPAN)
        self._before: Token[CurrentCall | None] | None = None

    @abstractmethod
    def end(self, error: BaseException | None) -> None:
        """End the span; ``error`` is why the call failed."""

    def __enter__(self) -> None:
        self._before = call_under_way.set(self)
        super().__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, traceback)
        if self._before is not None:
            call_under_way.reset(self._before)
        if error is not None:
            self.end(error)
            raise_if_overdue(error)
