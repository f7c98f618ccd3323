"""What instrumentation costs a model call: microseconds of the calling thread, this shim beside other packages.

Each package is measured in an environment of its own, by two processes: one that makes calls of the OpenAI SDK
bare, one that makes them instrumented. All take turns, so that a busy machine slows each alike. The answer comes from a
transport in memory; spans go through a batch processor to nowhere. Every package is set up as its own
documentation says, with its own defaults.

`python bench/others.py taximeter=env1/bin/python openinference=env2/bin/python …`
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module, metadata
from typing import Any

CALLS = 200
ANSWER = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-5.4",
    "service_tier": "default",
    "choices": [{"index": 0, "finish_reason": "stop",
                 "message": {"role": "assistant", "content": "ok"}}],
    "usage": {"prompt_tokens": 1000, "completion_tokens": 50, "total_tokens": 1050,
              "prompt_tokens_details": {"cached_tokens": 900, "audio_tokens": 0},
              "completion_tokens_details": {"reasoning_tokens": 10, "audio_tokens": 0}},
}  # fmt: skip

count = 0


def processor() -> Any:
    """Return a batch processor whose exporter counts spans and drops them."""
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    return BatchSpanProcessor(exporter(), max_queue_size=8_192, schedule_delay_millis=400)


def exporter() -> Any:
    """Return what takes spans and counts those with token counts."""
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    class Nowhere(SpanExporter):
        def export(self, spans: Sequence[Any]) -> SpanExportResult:
            global count
            count += sum(any("token" in key for key in span.attributes or {}) for span in spans)
            return SpanExportResult.SUCCESS

    return Nowhere()


def provider() -> Any:
    """Return the process's tracer provider."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    made = TracerProvider()
    made.add_span_processor(processor())
    trace.set_tracer_provider(made)
    return made


def with_taximeter() -> None:
    """Start the shim as a program would, but for the network."""
    from opentelemetry.exporter.otlp.proto.http import trace_exporter

    import taximeter

    setattr(trace_exporter, "OTLPSpanExporter", lambda **_settings: exporter())
    taximeter.init(service="bench")


def with_instrumentor(module: str) -> Callable[[], None]:
    """Return what switches on an instrumentation package of OpenTelemetry's shape."""

    def start() -> None:
        import_module(module).OpenAIInstrumentor().instrument(tracer_provider=provider())

    return start


def with_logfire() -> None:
    """Switch on Logfire, which sends nothing."""
    logfire = import_module("logfire")
    logfire.configure(
        send_to_logfire=False, console=False, additional_span_processors=[processor()]
    )
    logfire.instrument_openai()


PACKAGES: dict[str, tuple[str, Callable[[], None]]] = {
    "taximeter": ("taximeter", with_taximeter),
    "otel": (
        "opentelemetry-instrumentation-openai-v2",
        with_instrumentor("opentelemetry.instrumentation.openai_v2"),
    ),
    "openinference": (
        "openinference-instrumentation-openai",
        with_instrumentor("openinference.instrumentation.openai"),
    ),
    "traceloop": (
        "opentelemetry-instrumentation-openai",
        with_instrumentor("opentelemetry.instrumentation.openai"),
    ),
    "logfire": ("logfire", with_logfire),
}


def call() -> Callable[[], object]:
    """Return what makes one call of the OpenAI SDK, answered in memory."""
    import openai

    http: Any = import_module(openai.DefaultHttpxClient.__mro__[1].__module__.partition(".")[0])
    answer = json.dumps(ANSWER).encode()
    headers = {"content-type": "application/json"}
    transport = http.MockTransport(lambda _: http.Response(200, content=answer, headers=headers))
    client = openai.OpenAI(
        api_key="none", base_url="http://bench/v1", http_client=http.Client(transport=transport)
    )
    messages: Any = [{"role": "user", "content": "hi"}]
    return lambda: client.chat.completions.create(
        model="gpt-5.4", messages=messages, max_completion_tokens=500
    )


def work(name: str, is_bare: bool) -> None:
    """Make a round of calls for each line that comes; answer what a call took, and spans with tokens so far."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a package prints is no answer
    distribution, start = PACKAGES[name]
    if not is_bare:
        start()
    one = call()
    versions = [f"{found} {metadata.version(found)}" for found in (distribution, "openai")]
    print(", ".join(versions), file=answers)
    for _ in sys.stdin:
        began = time.thread_time_ns()
        for _ in range(CALLS):
            one()
        took = (time.thread_time_ns() - began) / CALLS / 1_000
        time.sleep(0.6)  # the queue empties
        print(took, count, file=answers)


class Worker:
    """A process that makes calls when it is asked to."""

    def __init__(self, python: str, name: str, *, is_bare: bool) -> None:
        command = [python, __file__, "--worker", name, *(["--bare"] if is_bare else [])]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.versions = self._answer()
        self.spans = 0

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def round(self) -> float:
        """Return the microseconds of a call."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        took, spans = self._answer().split()
        self.spans = int(spans)
        return float(took)

    def close(self) -> None:
        """Let the process end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


def measure(environments: dict[str, str], rounds: int) -> None:
    """Print what each package adds to a call: the median of the pairs, and their quartiles."""
    pairs = {
        name: (Worker(python, name, is_bare=True), Worker(python, name, is_bare=False))
        for name, python in environments.items()
    }
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in pairs}
    for turn in range(rounds + 1):
        for name, (bare, told) in pairs.items():
            pair = bare.round(), told.round()
            if turn:  # the first warms
                took[name].append(pair)
    for name, (bare, told) in pairs.items():
        low, middle, high = statistics.quantiles([b - a for a, b in took[name]], n=4)
        plain = statistics.median(a for a, _ in took[name])
        a_call = told.spans / (CALLS * (rounds + 1))
        print(
            f"{told.versions:60} bare {plain:6.0f} µs   {middle:+6.0f} µs ({low:.0f} to {high:.0f})"
            f"   {a_call:.2f} spans with tokens a call"
        )
        bare.close()
        told.close()
    print(f"load {os.getloadavg()[0]:.1f}, {rounds} rounds of {CALLS} calls")


def main() -> None:
    """Measure, or be one of the processes that are measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("environments", nargs="*", metavar="PACKAGE=PYTHON")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--worker", choices=PACKAGES, help=argparse.SUPPRESS)
    parser.add_argument("--bare", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        work(given.worker, given.bare)
    else:
        measure(dict(entry.split("=", 1) for entry in given.environments), given.rounds)


if __name__ == "__main__":
    main()
