"""Wires the shim to OpenTelemetry: its provider or the application's, and export in the background."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import (
    Event,
    ReadableSpan,
    SpanProcessor,
    TracerProvider,
    sampling,
)
from opentelemetry.sdk.trace import Span as SdkSpan
from opentelemetry.trace import Span, SpanKind, Tracer

from taximeter import semconv
from taximeter.export.queue import ExportQueue, Immediate
from taximeter.guard import guarded
from taximeter.runs.current import current_request
from taximeter.span_attributes import put, stamped_attributes

if TYPE_CHECKING:
    from taximeter.budgets.fleet import Fleet

ClockNs = Callable[[], int]


class OwnTracer:
    """Starts our own spans, each with its request's user, session, tenant and tags."""

    __slots__ = ("_provider", "_tracer")

    def __init__(self, tracer: Tracer, provider: trace.TracerProvider | None = None) -> None:
        self._tracer = tracer
        self._provider = provider if isinstance(provider, OurProvider) else None

    def start_span(
        self,
        name: str,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Mapping[str, Any] | None = None,
        start_time: int | None = None,
    ) -> Span:
        """Return a started span; ``start_time`` in Unix nanoseconds where it began before."""
        request = current_request.get()
        if request is not None and request.attributes:
            attributes = {**(attributes or {}), **request.attributes}
        if stamped := stamped_attributes():
            attributes = {**(attributes or {}), **stamped}
        start = self._tracer.start_span
        if self._provider is None or not self._provider.is_ours_alone or not attributes:
            return start(name, kind=kind, attributes=attributes, start_time=start_time)
        span = start(name, kind=kind, start_time=start_time)
        put(span, attributes)
        return span


class OurProvider(TracerProvider):
    """Makes spans where the application has no provider, until it sets one."""

    def __init__(self, resource: Resource) -> None:
        super().__init__(resource=resource, shutdown_on_exit=False)
        self.is_ours_alone = type(self.sampler).__module__ == sampling.__name__
        """Whether nobody looks at a span as it starts: no other processor, and no other sampler than
        OpenTelemetry's own, which does not ask for attributes."""

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        """Add a processor, ours or the application's."""
        self.is_ours_alone = self.is_ours_alone and isinstance(span_processor, Relay)
        super().add_span_processor(span_processor)


class Stamp(SpanProcessor):
    """Puts the request's user, session, tenant and tags, and `stamped`, on every span that starts."""

    def on_start(self, span: SdkSpan, parent_context: Context | None = None) -> None:
        """Stamp a starting span."""
        self._stamp(span)

    @guarded(default=None)
    def _stamp(self, span: SdkSpan) -> None:
        request = current_request.get()
        if request is not None:
            put(span, request.attributes)
        if attributes := stamped_attributes():
            put(span, attributes)


class Retimed(SpanProcessor):
    """Gives spans the times of another clock before they go on: for tests and simulations."""

    def __init__(self, inner: SpanProcessor, clock: ClockNs) -> None:
        self._inner, self._clock = inner, clock
        self._starts: dict[int, int] = {}

    def on_start(self, span: SdkSpan, parent_context: Context | None = None) -> None:
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
        self.observers: tuple[SpanProcessor, ...] = ()
        """See every span but our own, which start complete."""
        self.queue: SpanProcessor | None = None
        """None while the shim is off."""
        self.retimed: Retimed | None = None
        """The queue, where it has a clock and must see starts too."""

    @guarded(default=None)
    def on_start(self, span: SdkSpan, parent_context: Context | None = None) -> None:
        """Pass on."""
        scope = span.instrumentation_scope
        if scope is None or scope.name != semconv.SCOPE:
            for observer in self.observers:
                observer.on_start(span, parent_context)
        if self.retimed is not None:
            self.retimed.on_start(span, parent_context)

    @guarded(default=None)
    def on_end(self, span: ReadableSpan) -> None:
        """Pass on."""
        scope = span.instrumentation_scope
        if scope is None or scope.name != semconv.SCOPE:
            for observer in self.observers:
                observer.on_end(span)
        if self.queue is not None:
            self.queue.on_end(span)

    def shutdown(self) -> None:
        """Pass on: the application ends its provider."""
        if self.queue is not None:
            self.queue.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Pass on."""
        return self.queue is None or self.queue.force_flush(timeout_millis)


_relays: Final[WeakKeyDictionary[TracerProvider, Relay]] = WeakKeyDictionary()


class Meter:
    """The shim's life in this process, from init to shutdown."""

    def __init__(
        self, queue: ExportQueue | Immediate, clock: ClockNs | None, fleet: Fleet | None = None
    ) -> None:
        self.queue = queue
        self.fleet = fleet
        """Who knows the budgets of the fleet; None where nobody asked for them."""
        self.resource: Mapping[str, Any] = {}
        """What the spans say of this program."""
        self.clock: ClockNs = clock or time.time_ns
        self.captures_content = captures_content()
        self._retimed = Retimed(queue, clock) if clock else None
        self._observers: tuple[SpanProcessor, ...] = ()
        self._joined: list[Relay] = []
        self._tracer = OwnTracer(trace.NoOpTracer())

    def attach(self, resource: Resource, *observers: SpanProcessor) -> None:
        """Join the application's provider; where it has none, set ours until it sets its own."""
        self._observers = (Stamp(), *observers)
        provider = trace.get_tracer_provider()
        if not isinstance(provider, TracerProvider):
            provider = OurProvider(resource)
            _gives_way.set_ours(provider)
        _gives_way.meter = self
        self.join(provider)
        if self.fleet is not None:
            self.fleet.begin()

    def join(self, provider: TracerProvider) -> None:
        """Meter what a provider's tracers make, and make our own spans with it from now on."""
        relay = _relays.get(provider)
        if relay is None:
            relay = _relays[provider] = Relay()
            provider.add_span_processor(relay)
        self.resource = provider.resource.attributes
        relay.observers = self._observers
        relay.retimed, relay.queue = self._retimed, self._retimed or self.queue
        self._joined.append(relay)
        tracer = trace.get_tracer(semconv.SCOPE, tracer_provider=provider)
        self._tracer = OwnTracer(tracer, provider)

    def tracer(self) -> OwnTracer:
        """Return the tracer of our own spans."""
        return self._tracer

    def flush(self, timeout_s: float) -> bool:
        """Send what waits; return whether all left within the time."""
        return self.queue.force_flush(int(timeout_s * 1_000))

    def stop(self, timeout_s: float) -> None:
        """Send what waits and end the export thread, within the time."""
        _gives_way.meter = None
        if self.fleet is not None:
            self.fleet.stop()
        self.queue.stop(timeout_s)  # other threads end their spans meanwhile
        for relay in self._joined:
            if relay.queue is (self._retimed or self.queue):
                relay.observers, relay.retimed, relay.queue = (), None, None


class _GivesWay:
    """Lets an application still set its own provider after ours: OpenTelemetry takes the first only."""

    def __init__(self) -> None:
        self.meter: Meter | None = None
        """The one in service; it joins the application's provider."""
        self._ours: TracerProvider | None = None

    def set_ours(self, provider: TracerProvider) -> None:
        """Set a provider of ours until the application sets its own."""
        trace.set_tracer_provider(provider)
        if self._ours is None:
            self._watch(trace.set_tracer_provider)
        self._ours = provider

    def _watch(self, set_provider: Callable[[trace.TracerProvider], None]) -> None:
        def set_theirs(provider: trace.TracerProvider) -> None:
            if trace.get_tracer_provider() is self._ours:
                _forget_ours()
                self._join(provider)
            set_provider(provider)

        setattr(trace, "set_tracer_provider", set_theirs)

    @guarded(default=None)
    def _join(self, provider: trace.TracerProvider) -> None:
        if self.meter is not None and isinstance(provider, TracerProvider):
            self.meter.join(provider)


_gives_way: Final = _GivesWay()


@guarded(default=None)
def _forget_ours() -> None:
    once = getattr(trace, "_TRACER_PROVIDER_SET_ONCE")  # noqa: B009 - it does not export it
    setattr(trace, "_TRACER_PROVIDER_SET_ONCE", type(once)())


def captures_content() -> bool:
    """Return whether the environment asks for arguments, results and messages."""
    ours = os.environ.get("TAXIMETER_CAPTURE_CONTENT", "").lower()
    theirs = os.environ.get("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "").lower()
    if ours:
        return ours in ("1", "true", "yes")
    return theirs in ("true", "span_only", "span_and_event")


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
