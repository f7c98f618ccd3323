"""A collector that hangs, refuses or answers nonsense: the agent's time is its own, what is lost is counted."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider

from taximeter.export.otlp_http import OtlpHttp
from taximeter.export.queue import ExportQueue, Immediate, Sent
from taximeter.testing import SpanList

HANGS = None


@contextmanager
def answering(raw: bytes | None) -> Iterator[str]:
    """A port that answers each request with these bytes; None never answers."""
    server = socket.create_server(("127.0.0.1", 0))
    is_over = threading.Event()

    def serve() -> None:
        while not is_over.is_set():
            connection, _ = server.accept()
            with connection:
                if raw is None:
                    is_over.wait(5)
                    continue
                connection.recv(65_536)
                connection.sendall(raw)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
    finally:
        is_over.set()
        server.close()


def http(status: str) -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: 4\r\nconnection: close\r\n\r\nwhat".encode()


@pytest.fixture
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")


@pytest.mark.parametrize(
    ("raw", "sent"),
    [
        (http("200 OK"), Sent.TAKEN),
        (http("302 Found"), Sent.REFUSED),
        (http("400 Bad Request"), Sent.REFUSED),
        (http("401 Unauthorized"), Sent.REFUSED),
        (http("429 Too Many Requests"), Sent.LATER),
        (http("500 Internal Server Error"), Sent.REFUSED),
        (http("503 Service Unavailable"), Sent.LATER),
        (b"\x00\xffno http at all\r\n\r\n", Sent.LATER),
        (b"", Sent.LATER),
        (HANGS, Sent.LATER),
    ],
    ids=[
        "taken",
        "redirect",
        "bad",
        "token",
        "busy",
        "broken",
        "full",
        "garbage",
        "closed",
        "hangs",
    ],
)
def test_what_an_answer_means(no_patience: None, raw: bytes | None, sent: Sent) -> None:
    with answering(raw) as url:
        exporter = OtlpHttp(url)
        assert exporter.send(one_span()) is sent
        exporter.shutdown()


def test_a_collector_that_hangs_takes_none_of_the_agents_time() -> None:
    with answering(HANGS) as url:
        queue = ExportQueue(OtlpHttp(url))
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(queue)
        tracer = provider.get_tracer("test")
        slowest = 0.0
        for _ in range(300):
            span = tracer.start_span("work")
            began = time.thread_time()
            span.end()
            slowest = max(slowest, time.thread_time() - began)
        began = time.monotonic()
        queue.stop(0.1)
        assert time.monotonic() - began < 2
    assert slowest < 0.05
    assert queue.room.lost == {"unanswered": 300}


def one_span() -> list[ReadableSpan]:
    exported = SpanList()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Immediate(exported))
    provider.get_tracer("test").start_span("work").end()
    return exported.spans
