"""Programs of others with the shim in them, and the collector that they send to."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Sink:
    """Counts the spans that arrive over OTLP/HTTP."""

    def __init__(self) -> None:
        self.names: list[str] = []
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                message = ExportTraceServiceRequest.FromString(body)
                for resource in message.resource_spans:
                    for scope in resource.scope_spans:
                        sink.names += [span.name for span in scope.spans]
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def host(program: str, endpoint: str, **environment: str) -> subprocess.Popen[str]:
    """Start a host program that has the shim."""
    head = "import taximeter, os, signal, sys, time\n@taximeter.tool\ndef work(n): return n\n"
    return subprocess.Popen(
        [sys.executable, "-c", head + textwrap.dedent(program)],
        env=os.environ | environment | {"TAXIMETER_ENDPOINT": endpoint},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(program: subprocess.Popen[str]) -> str:
    """Wait for a program that must end well; return what it printed."""
    out, err = program.communicate(timeout=60)
    assert program.returncode == 0, err
    assert "fault" not in err, err
    return out
