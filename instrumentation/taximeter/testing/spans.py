"""What the shim sends, kept in a list; and the time it goes by, told by the test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult


@dataclass(slots=True)
class SpanList(SpanExporter):
    """Keeps every exported span: ``taximeter.init(span_exporter=SpanList())``."""

    spans: list[ReadableSpan] = field(default_factory=list)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Keep a batch."""
        self.spans.extend(spans)
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Keep what there is."""

    def named(self, name: str) -> list[ReadableSpan]:
        """Return the spans of that name, in the order in which they ended."""
        return [span for span in self.spans if span.name == name]


@dataclass(slots=True)
class FixedClock:
    """Unix nanoseconds that move only by ``advance``."""

    now_ns: int = 1_795_000_000_000_000_000

    def __call__(self) -> int:
        return self.now_ns

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now_ns += round(seconds * 1e9)
