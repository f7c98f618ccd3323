"""The shim's one meter in this process: whether it runs, its clock and tracer, flush and shutdown."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Final

from opentelemetry.trace import NoOpTracer

from taximeter.export.process_end import flush_at_exit
from taximeter.guard import guarded, logger
from taximeter.tracing import Meter, OwnTracer

_lock = threading.RLock()  # the SIGTERM handler may come while it is held
_no_tracer: Final = OwnTracer(NoOpTracer())
_meter: Meter | None = None
_ended: Meter | None = None
"""The one before, for what it has lost."""
_exit_hooks_set = _has_said_unlimited = False


def begin(make: Callable[[], Meter]) -> bool:
    """Put a meter into service unless one is; return whether it was put."""
    global _meter, _exit_hooks_set
    with _lock:
        if _meter is not None:
            return False
        _meter = make()
        if not _exit_hooks_set:
            _exit_hooks_set = True
            flush_at_exit(shutdown)
    return True


@guarded(default=False)
def flush(timeout_s: float = 5.0) -> bool:
    """Send what waits; return whether all of it left within the time."""
    return _meter.flush(timeout_s) if _meter is not None else True


@guarded(default=None)
def shutdown(timeout_s: float = 3.0) -> None:
    """Send what waits and stop; `init` may start again."""
    global _meter, _ended
    with _lock:
        meter, _meter = _meter, None
        _ended = meter or _ended
    if meter is not None:
        from taximeter import spawned

        spawned.uninstall()
        meter.stop(timeout_s)


def tracer() -> OwnTracer:
    """Return the tracer of our own spans; one that does nothing before `init`."""
    return _meter.tracer() if _meter is not None else _no_tracer


def now_ns() -> int:
    """Return Unix nanoseconds by the clock of `init`."""
    return _meter.clock() if _meter is not None else time.time_ns()


def seconds() -> float:
    """Return seconds that only go forward; by the clock of `init` where that was given one."""
    clock = _meter.clock if _meter is not None else time.time_ns
    return time.monotonic() if clock is time.time_ns else clock() / 1e9


def lost_spans() -> int:
    """Return how many spans were lost: the queue was full, or the collector did not take them."""
    return sum(lost_by_reason().values())


def lost_by_reason() -> dict[str, int]:
    """Return lost spans since `init` by reason, also after `shutdown`.

    ``queue_full_spans``, ``queue_full_bytes``, ``refused``, ``unreadable``; at the end ``not_taken``,
    ``unanswered`` (sent, and may have arrived), ``ended_late``.
    """
    meter = _meter or _ended
    return dict(meter.queue.room.lost) if meter is not None else {}


def is_active() -> bool:
    """Return whether `init` has started the shim."""
    return _meter is not None


def meter() -> Meter | None:
    """Return the meter in service; None before `init`."""
    return _meter


def say_unlimited(owner: str) -> None:
    """Say once that limits are not checked, since the shim is off; not where that was asked for."""
    global _has_said_unlimited
    if _has_said_unlimited or is_disabled():
        return
    _has_said_unlimited = True
    logger.warning(
        "%s runs without its limits: they hold from taximeter.init() on, which was not called here,"
        " or did not succeed. Call it before the first run; TAXIMETER_DISABLED=1 says that this is"
        " meant.",
        owner,
    )


def is_disabled() -> bool:
    """Return whether TAXIMETER_DISABLED switches everything off."""
    return os.environ.get("TAXIMETER_DISABLED", "").lower() in ("1", "true", "yes")


def captures_content() -> bool:
    """Return whether arguments, results and messages are recorded: off unless asked for at `init`."""
    return _meter is not None and _meter.captures_content
