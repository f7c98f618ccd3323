"""A model call and the time in which its request is under way: inside its span, which a failure ends."""

from __future__ import annotations

from types import TracebackType

from opentelemetry.trace import INVALID_SPAN

from taximeter.runs.deadlines import raise_if_overdue
from taximeter.spans import current_span


class CurrentCall(current_span):
    """``with call:`` around the SDK's own request. Raises DeadlineReached for its time-out."""

    def __init__(self) -> None:
        super().__init__(INVALID_SPAN)

    def end(self, error: BaseException | None) -> None:
        """End the span; ``error`` is why the call failed."""
        raise NotImplementedError

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, traceback)
        if error is not None:
            self.end(error)
            raise_if_overdue(error)
