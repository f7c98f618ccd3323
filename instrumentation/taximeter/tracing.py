"""Wires the shim to OpenTelemetry: its provider or the application's, and export in the background."""

from __future__ import annotations

import atexit
import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Final
from weakref import WeakKeyDictionary

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import (
    Event,
    ReadableSpan,
    Span,
    SpanProcessor,
    TracerProvider,
)
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Tracer

from taximeter import semconv
from taximeter.export_queue import MAX_SPANS, Bounded, Counting, Room
from taximeter.guard import guarded
from taximeter.runs import current_request

ClockNs = Callable[[], int]
BATCH_SPANS: Final = 512
EXPORT_EVERY_MS: Final = 400
"""A call should be on the page within three seconds."""
EXIT_CAP_S: Final = 3.0
DEFAULT_ENDPOINT: Final = "http://127.0.0.1:4318"


class Stamp(SpanProcessor):
    """Puts the request's user, session, tenant and tags on every span that starts inside it."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Stamp a starting span."""
        self._stamp(span)

    @guarded(default=None)
    def _stamp(self, span: Span) -> None:
        request = current_request.get()
        if request is not None:
            span.set_attributes(request.attributes)


class Retimed(SpanProcessor):
    """Gives spans the times of another clock before they go on: for tests and simulations."""

    def __init__(self, inner: SpanProcessor, clock: ClockNs) -> None:
        self._inner, self._clock = inner, clock
        self._starts: dict[int, int] = {}

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Remember when the span started by our clock."""
        context = span.get_span_context()
        if context is not None:
            self._starts[context.span_id] = self._clock()
        self._inner.on_start(span, parent_context)

    def on_end(self, span: ReadableSpan) -> None:
        """Pass a copy with our clock's times on."""
        end = self._clock()
        context = span.get_span_context()
        start = self._starts.pop(context.span_id, end) if context is not None else end
        events = [Event(event.name, event.attributes, timestamp=end) for event in span.events]
        self._inner.on_end(
            ReadableSpan(
                name=span.name, context=span.context, parent=span.parent, resource=span.resource,
                attributes=span.attributes, events=events, links=span.links, kind=span.kind,
                status=span.status, start_time=start, end_time=end,
                instrumentation_scope=span.instrumentation_scope,
            )
        )  # fmt: skip

    def shutdown(self) -> None:
        """Pass on."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Pass on."""
        return self._inner.force_flush(timeout_millis)


class Relay(SpanProcessor):
    """Our one processor on a provider: providers never let go of one, `init` may come again."""

    def __init__(self) -> None:
        self.targets: tuple[SpanProcessor, ...] = ()
        """Empty while the shim is off."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Pass on."""
        for target in self.targets:
            target.on_start(span, parent_context)

    def on_end(self, span: ReadableSpan) -> None:
        """Pass on."""
        for target in self.targets:
            target.on_end(span)

    def shutdown(self) -> None:
        """Pass on."""
        for target in self.targets:
            target.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Pass on."""
        left = [target.force_flush(timeout_millis) for target in self.targets]
        return all(left)


_relays: Final[WeakKeyDictionary[TracerProvider, Relay]] = WeakKeyDictionary()


class Meter:
    """The shim's life in this process, from init to shutdown."""

    def __init__(self, exporter: SpanExporter, clock: ClockNs | None, immediate: bool) -> None:
        self.room = Room()
        self._relay: Relay | None = None
        self._tracer: Tracer | None = None
        counting = Counting(exporter, self.room)
        self.clock: ClockNs = clock or time.time_ns
        processor: SpanProcessor
        if immediate:
            from opentelemetry.sdk.trace.export import SimpleSpanProcessor

            processor = SimpleSpanProcessor(counting)
        else:
            processor = BatchSpanProcessor(
                counting,
                max_queue_size=MAX_SPANS,
                schedule_delay_millis=EXPORT_EVERY_MS,
                max_export_batch_size=BATCH_SPANS,
            )
        processor = Bounded(processor, self.room)
        self.processor = Retimed(processor, clock) if clock else processor
        self.provider: TracerProvider | None = None

    def attach(self, resource: Resource, *observers: SpanProcessor) -> None:
        """Join the application's provider, or set ours where it has none."""
        provider = trace.get_tracer_provider()
        if not isinstance(provider, TracerProvider):
            provider = TracerProvider(resource=resource, shutdown_on_exit=False)
            trace.set_tracer_provider(provider)
        relay = _relays.get(provider)
        if relay is None:
            relay = _relays[provider] = Relay()
            provider.add_span_processor(relay)
        relay.targets = (Stamp(), *observers, self.processor)
        self.provider, self._relay = provider, relay

    def tracer(self) -> Tracer:
        """Return the tracer of our own spans."""
        if self._tracer is None:
            self._tracer = trace.get_tracer(semconv.SCOPE, tracer_provider=self.provider)
        return self._tracer

    def flush(self, timeout_s: float) -> bool:
        """Send what waits; return whether all left within the time."""
        done: list[bool] = []
        worker = threading.Thread(
            target=lambda: done.append(self.processor.force_flush(int(timeout_s * 1000))),
            daemon=True,
        )
        worker.start()
        worker.join(timeout_s)
        return bool(done and done[0])

    def stop(self, timeout_s: float) -> None:
        """Send what waits and end the export thread, within the time."""
        if self._relay is not None:
            self._relay.targets = ()
        worker = threading.Thread(target=self.processor.shutdown, daemon=True)
        worker.start()
        worker.join(timeout_s)


def otlp_exporter(endpoint: str | None) -> SpanExporter:
    """Return the OTLP/HTTP protobuf exporter for our endpoint, or OpenTelemetry's own settings."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    base = endpoint or os.environ.get("TAXIMETER_ENDPOINT")
    headers = {}
    if token := os.environ.get("TAXIMETER_INGEST_TOKEN"):
        headers["authorization"] = f"Bearer {token}"
    if base is None and _otel_has_endpoint():
        return OTLPSpanExporter(headers=headers or None)
    url = (base or DEFAULT_ENDPOINT).rstrip("/")
    return OTLPSpanExporter(endpoint=f"{url}/v1/traces", headers=headers or None)


def _otel_has_endpoint() -> bool:
    names = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    return any(os.environ.get(name) for name in names)


def resource_for(service: str | None, environment: str | None) -> Resource:
    """Return the resource of OpenTelemetry's environment with ours on top."""
    attributes: dict[str, str] = {}
    if service or not os.environ.get("OTEL_SERVICE_NAME"):
        name = service or os.environ.get("TAXIMETER_SERVICE")
        if name:
            attributes["service.name"] = name
    if environment:
        attributes["deployment.environment.name"] = environment
    return Resource.create(attributes)


def flush_at_exit(stop: Callable[[float], None]) -> None:
    """Send what waits when the process ends: exit, SIGTERM without a handler, a worker's end."""
    atexit.register(stop, EXIT_CAP_S)
    _chain_sigterm(stop)
    from multiprocessing import util

    util.register_after_fork(stop, _flush_worker)


def _chain_sigterm(stop: Callable[[float], None]) -> None:
    """Take SIGTERM only where nobody has: the default action would lose what waits."""
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return

    def end(number: int, _frame: FrameType | None) -> None:
        stop(EXIT_CAP_S)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, end)


def _flush_worker(stop: Callable[[float], None]) -> None:
    """A multiprocessing child ends without atexit; its own finalizers still run."""
    from multiprocessing import util

    util.Finalize(None, stop, args=(EXIT_CAP_S,), exitpriority=100)
