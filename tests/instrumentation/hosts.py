"""Programs of others with the shim in them, and the collector that they send to."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Reply:
    """What a collector answers, and after how long."""

    status: int = 200
    after_s: float = 0.0
    retry_after_s: int | None = None
    drops: int = 0
    """How many bytes its body has, each after a while."""
    drop_every_s: float = 0.0


class Sink:
    """Counts the spans that arrive over OTLP/HTTP; its n-th answer, from 0, is ``reply(n)``."""

    def __init__(self, reply: Callable[[int], Reply] = lambda number: Reply()) -> None:
        self.names: list[str] = []
        numbers = count()
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                message = ExportTraceServiceRequest.FromString(body)
                answer = reply(next(numbers))
                for resource in message.resource_spans if answer.status == 200 else ():
                    for scope in resource.scope_spans:
                        sink.names += [span.name for span in scope.spans]
                time.sleep(answer.after_s)
                with suppress(OSError):  # the client may have gone
                    self.send_response(answer.status)
                    if answer.retry_after_s is not None:
                        self.send_header("Retry-After", str(answer.retry_after_s))
                    if answer.drops:
                        self.send_header("Content-Length", str(answer.drops))
                    self.end_headers()
                    for _ in range(answer.drops):
                        time.sleep(answer.drop_every_s)
                        self.wfile.write(b" ")

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Serve no longer; who still waits for an answer gets none."""
        self.server.daemon_threads = True
        self.server.block_on_close = False
        self.server.shutdown()
        self.server.server_close()


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
