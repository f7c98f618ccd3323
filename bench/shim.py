"""What the shim adds to a span: microseconds against the bare OpenTelemetry SDK, in one paired run.

Rounds alternate between the two, so that a busy machine slows both. `python bench/shim.py`
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

import taximeter
from taximeter.export_queue import MAX_SPANS
from taximeter.tracing import EXPORT_EVERY_MS

SPANS = 1_000


class Nowhere(SpanExporter):
    """Takes every span at once."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


@taximeter.tool
def look(query: str) -> str:
    """A tool that costs nothing itself."""
    return query


def bare_round(provider: TracerProvider) -> float:
    """Return the bare SDK's microseconds a span, with a tool span's five attributes."""
    tracer = provider.get_tracer("bench")

    def one(number: int) -> None:
        with tracer.start_as_current_span("execute_tool look") as span:
            span.set_attribute("gen_ai.operation.name", "execute_tool")
            span.set_attribute("gen_ai.tool.name", "look")
            span.set_attribute("taximeter.attempt", 1)
            span.set_attribute("taximeter.tool.arguments_hash", "5f3e" * 16)
            span.set_attribute("taximeter.tool.result_hash", "5f3e" * 16)

    return _timed(one)


def shim_round() -> float:
    """Return the shim's microseconds a tool span: hashes, stamps and limits included."""

    def one(number: int) -> None:
        look(f"order {number}")

    with taximeter.request(user="u-17", session="s-9"):
        return _timed(one)


def _timed(one: Callable[[int], None]) -> float:
    began = time.thread_time_ns()
    for number in range(SPANS):
        one(number)
    return (time.thread_time_ns() - began) / SPANS / 1_000


def main() -> None:
    """Print both figures and the ratio of each pair."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    bare = TracerProvider()
    bare.add_span_processor(
        BatchSpanProcessor(
            Nowhere(), max_queue_size=MAX_SPANS, schedule_delay_millis=EXPORT_EVERY_MS
        )
    )
    start_shim()
    bare_round(bare), shim_round()  # both warm
    pairs = []
    for _ in range(rounds):
        pairs.append((bare_round(bare), shim_round()))
        bare.force_flush()
        taximeter.flush()
    print(f"bare SDK   {statistics.median(b for b, _ in pairs):6.1f} µs a span (CPU of the thread)")
    print(f"shim       {statistics.median(s for _, s in pairs):6.1f} µs a span")
    print(
        f"ratio      {statistics.median(s / b for b, s in pairs):6.2f} (median of {rounds} pairs)"
    )
    print(f"lost       {taximeter.lost_spans()} spans")
    taximeter.shutdown()
    bare.shutdown()


def start_shim() -> None:
    """Start the shim as a program would, but for the network: the same queue, no collector."""
    from opentelemetry.exporter.otlp.proto.http import trace_exporter

    setattr(trace_exporter, "OTLPSpanExporter", lambda **_settings: Nowhere())
    taximeter.init(service="bench")


if __name__ == "__main__":
    main()
