"""What the shim costs an agent: microseconds a span against the bare OpenTelemetry SDK, in paired rounds.

Rounds alternate between the two, so that a busy machine slows both. The bare spans carry the same
attributes, given at creation where they are known then. `python bench/shim.py`
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import openai
from openai.types.chat import ChatCompletion
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind, Tracer

import taximeter
from taximeter.clients.openai import wrap_post
from taximeter.export.queue import EXPORT_EVERY_S
from taximeter.export.room import MAX_SPANS

SPANS = 500
IMPORTS = 5
ANSWER = ChatCompletion.model_validate(
    {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-5.4",
     "service_tier": "default",
     "choices": [{"index": 0, "finish_reason": "stop",
                  "message": {"role": "assistant", "content": "ok"}}],
     "usage": {"prompt_tokens": 1000, "completion_tokens": 50, "total_tokens": 1050,
               "prompt_tokens_details": {"cached_tokens": 900, "audio_tokens": 0},
               "completion_tokens_details": {"reasoning_tokens": 10, "audio_tokens": 0}}}
)  # fmt: skip


class Nowhere(SpanExporter):
    """Takes every span at once."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


class Kept(SpanExporter):
    """Keeps the last span: its attributes are what the bare SDK gets too."""

    last: ReadableSpan | None = None

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.last = spans[-1]
        return SpanExportResult.SUCCESS


@taximeter.tool
def look(query: str) -> str:
    """A tool that costs nothing itself."""
    return query


def plain_look(query: str) -> str:
    """The same without the shim."""
    return query


class Calls:
    """Model calls whose answer is there at once: what is timed is the shim's work around them."""

    def __init__(self) -> None:
        self._client = openai.OpenAI(api_key="none", base_url="http://127.0.0.1:9/v1")
        self._post = wrap_post(lambda _client, _path, **_settings: ANSWER)
        self._body = {"model": "gpt-5.4", "max_completion_tokens": 500,
                      "messages": [{"role": "user", "content": "hi"}]}  # fmt: skip

    def __call__(self, number: int) -> None:
        self._post(self._client, "/chat/completions", body=self._body)


def call_tool(number: int) -> None:
    """Call the tool with other arguments each time."""
    look(f"order {number}")


def attributes_of(one: Callable[[int], None]) -> tuple[str, dict[str, Any]]:
    """Return name and attributes of the span that the shim makes."""
    kept = Kept()
    taximeter.init(service="bench", span_exporter=kept)
    with taximeter.request(user="u-17", session="s-9"):
        one(0)
        assert kept.last is not None
        found = kept.last.name, dict(kept.last.attributes or {})
    taximeter.shutdown()
    return found


def bare(tracer: Tracer, name: str, attributes: dict[str, Any]) -> Callable[[int], None]:
    """Return what makes the same span with the bare SDK; what an answer tells comes last."""
    told = ("taximeter.tool.result_hash", "gen_ai.response.", "gen_ai.usage.", "taximeter.usage",
            "taximeter.service_tier", "taximeter.cost", "openai.response.")  # fmt: skip
    late = {key: value for key, value in attributes.items() if key.startswith(told)}
    early = {key: value for key, value in attributes.items() if key not in late}
    kind = SpanKind.INTERNAL if name.startswith("execute_tool") else SpanKind.CLIENT

    def one(number: int) -> None:
        with tracer.start_as_current_span(name, kind=kind, attributes=early) as span:
            for key, value in late.items():
                span.set_attribute(key, value)

    return one


def timed(one: Callable[[int], object], count: int = SPANS) -> float:
    """Return the thread's CPU microseconds a call."""
    began = time.thread_time_ns()
    for number in range(count):
        one(number)
    return (time.thread_time_ns() - began) / count / 1_000


def compare(label: str, one: Callable[[int], None], rounds: int) -> None:
    """Print the bare SDK's figure, ours, the difference and the ratio of the pairs."""
    name, attributes = attributes_of(one)
    provider = TracerProvider()
    provider.add_span_processor(
        BatchSpanProcessor(
            Nowhere(), max_queue_size=MAX_SPANS, schedule_delay_millis=EXPORT_EVERY_S * 1_000
        )
    )
    plain = bare(provider.get_tracer("bench"), name, attributes)
    start_shim()
    pairs = []
    for turn in range(rounds + 1):
        without = timed(plain)
        with taximeter.request(user="u-17", session="s-9"):
            pair = without, timed(one)
        provider.force_flush()
        taximeter.flush()
        if turn:  # the first warms
            pairs.append(pair)
    lost = taximeter.lost_spans()
    taximeter.shutdown()
    provider.shutdown()
    bare_us, shim_us = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratio = statistics.median(shim / bare for bare, shim in pairs)
    print(
        f"{label:12} bare SDK {bare_us:6.1f} µs   shim {shim_us:6.1f} µs   {shim_us - bare_us:+6.1f} µs"
        f"   ratio {ratio:5.2f}   {len(attributes)} attributes, {lost} lost"
    )


def compare_disabled(rounds: int) -> None:
    """Print what a decorated function costs while the shim is off."""
    turns = [(timed(lambda n: plain_look("x"), 5_000), timed(lambda n: look("x"), 5_000))
             for _ in range(rounds)]  # fmt: skip
    print(
        f"{'off':12} {statistics.median(ours - plain for plain, ours in turns):.2f} µs a tool call"
    )


def compare_import() -> None:
    """Print the CPU time of `import taximeter` in a new process, OpenTelemetry's part of it beside."""
    program = (
        "import time; began = time.process_time(); import {}; print(time.process_time() - began)"
    )

    def milliseconds(modules: str) -> float:
        taken = [
            float(subprocess.check_output([sys.executable, "-c", program.format(modules)]))
            for _ in range(IMPORTS)
        ]
        return statistics.median(taken) * 1_000

    alone = milliseconds("opentelemetry.sdk.trace, opentelemetry.sdk.trace.export")
    exporter = milliseconds("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    print(
        f"{'import':12} {milliseconds('taximeter'):.0f} ms, OpenTelemetry's SDK alone {alone:.0f} ms,"
        f" with its OTLP exporter {exporter:.0f} ms"
    )


def start_shim() -> None:
    """Start the shim as a program would, but for the network: the same queue, no collector."""
    from opentelemetry.exporter.otlp.proto.http import trace_exporter

    setattr(trace_exporter, "OTLPSpanExporter", lambda **_settings: Nowhere())
    taximeter.init(service="bench")


def main() -> None:
    """Print every figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=21)
    rounds = parser.parse_args().rounds
    os.environ.pop("TAXIMETER_CAPTURE_CONTENT", None)
    compare_disabled(rounds)
    compare("tool", call_tool, rounds)
    compare("model call", Calls(), rounds)
    compare_import()


if __name__ == "__main__":
    main()
