"""What the fleet exports is what the fake model API has served: every call, every token, once."""

from __future__ import annotations

import gzip
import json
import pickle
import subprocess
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from taximeter.demo.deployment import Report
from taximeter.usage import normalise_usage

DAYS = 0.06
FLEET = """
import pickle, sys
from datetime import datetime
from taximeter.demo.fleet import Fleet, open_history

url, now, days = sys.argv[1:]
fleet = Fleet(open_history(datetime.fromisoformat(now), float(days), seed=3), url, lambda text: None)
report = fleet.run(is_live=False, is_forced=True, query_token=None)
sys.stdout.buffer.write(pickle.dumps((report, fleet.served)))
"""
"""A process of its own: OpenTelemetry's provider, and with it the service, is set once in a process."""


@dataclass(frozen=True, slots=True)
class SentSpan:
    """One span as it came over the wire."""

    name: str
    trace_id: str
    span_id: str
    parent_span_id: str
    start_ns: int
    end_ns: int
    attributes: Mapping[str, Any]
    resource: Mapping[str, Any]


@dataclass(slots=True)
class Capture:
    """The spans received so far."""

    spans: list[SentSpan] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        for group in request.resource_spans:
            resource = {item.key: plain(item.value) for item in group.resource.attributes}
            for scope in group.scope_spans:
                for span in scope.spans:
                    sent = SentSpan(
                        span.name,
                        span.trace_id.hex(),
                        span.span_id.hex(),
                        span.parent_span_id.hex(),
                        span.start_time_unix_nano,
                        span.end_time_unix_nano,
                        {item.key: plain(item.value) for item in span.attributes},
                        resource,
                    )
                    with self.lock:
                        self.spans.append(sent)


def plain(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [plain(item) for item in value.array_value.values]
    return getattr(value, kind) if kind else None


def serve_capture(capture: Capture) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.answer(200, b"{}")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            if self.path == "/v1/traces":
                capture.take(body)
                self.answer(200, ExportTraceServiceResponse().SerializeToString())
            else:
                self.answer(404, b"")

        def answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return ThreadingHTTPServer(("127.0.0.1", 0), Handler)


@dataclass(frozen=True, slots=True)
class Run:
    """One small history, as the fleet, the fake API and the exporter's receiver saw it."""

    report: Report
    served: list[Mapping[str, Any]]
    spans: list[SentSpan]
    now: datetime


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    capture = Capture()
    server = serve_capture(capture)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    now = datetime.now(UTC)
    url = f"http://127.0.0.1:{server.server_address[1]}"
    done = subprocess.run(
        [sys.executable, "-c", FLEET, url, now.isoformat(), str(DAYS)],
        stdout=subprocess.PIPE,
        check=True,
    )
    report, served = pickle.loads(done.stdout)
    yield Run(report, served, capture.spans, now)
    server.shutdown()
    server.server_close()


def test_every_span_that_was_made_has_arrived(run: Run) -> None:
    assert run.report.requests > 20
    assert run.report.spans == len(run.spans)
    assert run.report.lost_spans == 0


def test_tokens_by_model_are_those_that_the_fake_api_served(run: Run) -> None:
    exported: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for span in run.spans:
        if "taximeter.usage" not in span.attributes:
            continue
        usage = normalise_usage(
            span.attributes["taximeter.usage_shape"], json.loads(span.attributes["taximeter.usage"])
        )
        model = span.attributes["gen_ai.request.model"]
        exported[model].update(
            calls=1,
            prompt=usage.prompt_tokens or 0,
            cache_read=usage.cache_read or 0,
            output=usage.output or 0,
            reasoning=usage.reasoning or 0,
        )
    served: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in run.served:
        cached = row["cache_read"] + row["cache_write_5m"] + row["cache_write_1h"]
        served[row["model"]].update(
            calls=row["calls"],
            prompt=row["uncached_input"] + cached,
            cache_read=row["cache_read"],
            output=row["output"],
            reasoning=row["reasoning"],
        )
    assert exported == served


def test_every_request_is_one_trace_with_one_root(run: Run) -> None:
    known = {span.span_id for span in run.spans}
    roots = [span for span in run.spans if not span.parent_span_id]
    assert len(roots) == len({span.trace_id for span in run.spans}) == run.report.requests
    assert all(span.parent_span_id in known for span in run.spans if span.parent_span_id)


def test_spans_lie_in_the_simulated_past_and_inside_their_parents(run: Run) -> None:
    by_id = {span.span_id: span for span in run.spans}
    now_ns = run.now.timestamp() * 1e9
    for span in run.spans:
        parent = by_id.get(span.parent_span_id, span)
        assert parent.start_ns <= span.start_ns <= span.end_ns <= parent.end_ns
        assert now_ns - (DAYS * 86_400 + 1) * 1e9 <= span.start_ns
    seconds = [(s.end_ns - s.start_ns) / 1e9 for s in run.spans if not s.parent_span_id]
    assert max(seconds) > 10 and min(seconds) < 10


def test_versions_and_environments_are_those_of_the_deployments(run: Run) -> None:
    seen = {(s.resource["service.name"], s.resource["service.version"]) for s in run.spans}
    assert {("deep-research", "2.4.2"), ("deep-research", "2.5.0")} <= seen
    assert all("deployment.environment.name" in span.resource for span in run.spans)
