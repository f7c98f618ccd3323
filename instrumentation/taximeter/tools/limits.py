"""What a tool execution asks of the limits: before it starts, and when it has ended."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import lru_cache

from taximeter.guard import guarded
from taximeter.runs.current import are_limited, binding_levels, counts_here, current_levels
from taximeter.runs.levels import Level
from taximeter.runs.limits import (
    CANCELLATIONS,
    ErrorCascadeDetected,
    LimitReached,
    ThrashingDetected,
    ToolCallCapReached,
)
from taximeter.tools.denied import Denied
from taximeter.tools.order import ToolCall


@guarded(default=None)
def admit_tool_call(name: str, fingerprint: str | None) -> ToolAdmission | None:
    """Count a tool call; raise LimitReached where a limit does not allow it.

    Returns what sees its end; None where nothing is limited.
    """
    levels = current_levels()
    if are_limited(levels):
        return ToolAdmission(levels, name, fingerprint)
    for at, level in enumerate(levels):
        if counts_here(levels, at):
            with level.lock:
                level.tool_calls += 1
    return None


class ToolAdmission:
    """One logical tool call: counted once, however many attempts it takes."""

    def __init__(self, levels: tuple[Level, ...], name: str, fingerprint: str | None) -> None:
        self._levels = levels
        self._binding = binding_levels()
        self._call = self._begin(self._levels[0], name, fingerprint)
        for at, level in enumerate(self._levels):
            try:
                level.admit_tool_call(is_own=counts_here(self._levels, at))
            except BaseException:
                for before in range(at):
                    is_own = counts_here(self._levels, before)
                    self._levels[before].take_back_tool_call(is_own=is_own)
                raise

    @guarded(default=None)
    def end(self, failed: bool | None) -> None:
        """See it end, however it does: a call that goes on for ever hides the repeats after it.

        ``failed`` is None where it was cancelled or refused. Raises ErrorCascadeDetected where too
        many have failed in a row.
        """
        subject = self._levels[0]
        with subject.lock:
            subject.order.end(self._call, failed)
            errors = subject.order.errors
        if not failed:  # a cancellation must reach who cancelled
            return
        for level in self._binding:
            if level.limits.tool_errors is not None and errors > level.limits.tool_errors:
                raise level.reached(ErrorCascadeDetected, "tool_errors")

    def _begin(self, subject: Level, name: str, fingerprint: str | None) -> ToolCall:
        patterns = [level.limits.polling for level in self._binding if level.limits.polling]
        is_polling = any(_is_named(name, pattern) for pattern in patterns)
        key = None if fingerprint is None or is_polling else (name, fingerprint)
        with subject.lock:
            order = subject.order
            call = order.begin(key)
            turn_calls, repeats, cycles = order.turn_calls, order.repeats, order.cycles
        for level in self._binding:
            limits = level.limits
            if limits.tool_calls_per_turn is not None and turn_calls > limits.tool_calls_per_turn:
                raise level.reached(ToolCallCapReached, "tool_calls_per_turn")
            if limits.repeats is not None and repeats > limits.repeats:
                raise level.reached(ThrashingDetected, "repeats", name)
            if limits.cycles is not None and cycles > limits.cycles:
                raise level.reached(ThrashingDetected, "cycles", name)
        return call


def has_failed(error: BaseException | None) -> bool | None:
    """Return whether what a call ended with is a failure, as the store judges it; None: neither."""
    if error is None:
        return False
    is_cancelled = type(error).__qualname__ in CANCELLATIONS
    return None if is_cancelled or isinstance(error, LimitReached | Denied) else True


@lru_cache(maxsize=1_024)
def _is_named(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name.lower(), pattern.lower()) for pattern in patterns)
