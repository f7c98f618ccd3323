"""init, flush, shutdown: the shim's one instance in this process."""

from __future__ import annotations

import os
import threading

from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.trace import NoOpTracer, Tracer

from taximeter.guard import guarded
from taximeter.tracing import ClockNs, Meter, flush_at_exit, otlp_exporter, resource_for

_lock = threading.Lock()
_meter: Meter | None = None
_exit_hooks_set = False


def init(
    service: str | None = None,
    *,
    environment: str | None = None,
    endpoint: str | None = None,
    span_exporter: SpanExporter | None = None,
    clock: ClockNs | None = None,
    propagate_threads: bool = True,
) -> None:
    """Start measuring: call it once, before or after the model SDKs are imported.

    ``service`` names the program (else ``OTEL_SERVICE_NAME``), ``endpoint`` the collector (else
    ``TAXIMETER_ENDPOINT``, OpenTelemetry's settings, 127.0.0.1:4318). An application's own tracer
    provider is joined, not replaced. ``span_exporter`` (exports at once) and ``clock`` (Unix
    nanoseconds) are for tests and simulations. Does nothing with ``TAXIMETER_DISABLED=1``.
    """
    if not is_disabled():
        _start(service, environment, endpoint, span_exporter, clock, propagate_threads)


@guarded(default=None)
def _start(
    service: str | None,
    environment: str | None,
    endpoint: str | None,
    span_exporter: SpanExporter | None,
    clock: ClockNs | None,
    propagate_threads: bool,
) -> None:
    from taximeter import anthropic, openai, threads

    global _meter, _exit_hooks_set
    with _lock:
        if _meter is not None:
            return
        exporter = span_exporter or otlp_exporter(endpoint)
        _meter = Meter(exporter, clock, immediate=span_exporter is not None)
        _meter.attach(resource_for(service, environment))
        if not _exit_hooks_set:
            _exit_hooks_set = True
            flush_at_exit(shutdown)
    if propagate_threads:
        threads.install()
    anthropic.install()
    openai.install()


@guarded(default=False)
def flush(timeout_s: float = 5.0) -> bool:
    """Send what waits; return whether all of it left within the time."""
    return _meter.flush(timeout_s) if _meter is not None else True


@guarded(default=None)
def shutdown(timeout_s: float = 3.0) -> None:
    """Send what waits and stop; `init` may start again."""
    global _meter
    with _lock:
        meter, _meter = _meter, None
    if meter is not None:
        meter.stop(timeout_s)


def tracer() -> Tracer:
    """Return the tracer of our own spans; one that does nothing before `init`."""
    return _meter.tracer() if _meter is not None else NoOpTracer()


def now_ns() -> int:
    """Return Unix nanoseconds by the clock of `init`."""
    import time

    return _meter.clock() if _meter is not None else time.time_ns()


def lost_spans() -> int:
    """Return how many spans were lost: the queue was full, or the collector did not take them."""
    return sum(lost_by_reason().values())


def lost_by_reason() -> dict[str, int]:
    """Return lost spans by reason: ``queue_full_spans``, ``queue_full_bytes``, ``not_taken``."""
    return dict(_meter.room.lost) if _meter is not None else {}


def is_active() -> bool:
    """Return whether `init` has started the shim."""
    return _meter is not None


def is_disabled() -> bool:
    """Return whether TAXIMETER_DISABLED switches everything off."""
    return os.environ.get("TAXIMETER_DISABLED", "").lower() in ("1", "true", "yes")


def captures_content() -> bool:
    """Return whether arguments, results and messages may be recorded: off unless asked for."""
    ours = os.environ.get("TAXIMETER_CAPTURE_CONTENT", "").lower()
    theirs = os.environ.get("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "").lower()
    if ours:
        return ours in ("1", "true", "yes")
    return theirs in ("true", "span_only", "span_and_event")
