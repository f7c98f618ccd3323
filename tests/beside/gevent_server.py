"""The shim under gevent: gunicorn's gevent workers send every span, keep requests apart and end at once.

In an environment with gevent, gunicorn, openai and taximeter: `python tests/beside/gevent_server.py`
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

REQUESTS = 60
AT_ONCE = 12
SLOWEST_END_S = 5.0
WAYS: dict[str, list[str]] = {
    "started in each worker": [],
    "started before the fork": ["--preload"],
}


class Receiver(ThreadingHTTPServer):
    """Takes OTLP and keeps every span with the user it says."""

    daemon_threads = True

    def __init__(self) -> None:
        self.spans: list[tuple[str, str, bytes]] = []
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        import gzip

        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
            ExportTraceServiceRequest,
        )

        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        found = ExportTraceServiceRequest.FromString(body)
        for resource in found.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    said = {a.key: a.value.string_value for a in span.attributes}
                    row = (span.name, said.get("user.id", ""), span.trace_id)
                    self.server.spans.append(row)  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


# The application, which gunicorn imports.


def make_app() -> Callable[..., Iterable[bytes]]:
    import taximeter
    from taximeter.testing import Answer, FakeModel

    taximeter.init(service="gevent")
    client = FakeModel(Answer(text="fine"), delay_s=0.05).openai()

    @taximeter.tool(timeout_s=2)
    def look(query: str) -> str:
        time.sleep(0.02)
        return query

    @taximeter.tool
    def pages(count: int) -> Iterable[int]:
        for number in range(count):
            time.sleep(0.01)
            yield number

    @taximeter.agent("desk", limits=taximeter.Limits(iterations=5, deadline_s=20))
    def desk(question: str) -> str:
        client.chat.completions.create(
            model="gpt-5.4", messages=[{"role": "user", "content": question}]
        )
        look(question)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(look, ["a", "b"]))
        return str(list(pages(2)))

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        user = environ["QUERY_STRING"]
        if not user:  # whether it is up
            start_response("200 OK", [])
            return []
        with taximeter.request("answer", user=user) as request:
            text = desk(user)
        start_response("200 OK", [("content-type", "text/plain")])
        return [f"{text} {request.model_calls} {request.tool_calls}".encode()]

    return app


if "TAXIMETER_GEVENT_APP" in os.environ:
    app = make_app()

EXPECTED = {"answer": 1, "invoke_agent desk": 1, "chat gpt-5.4": 1, "execute_tool look": 3, "execute_tool pages": 1}  # fmt: skip


def check(way: str, options: list[str]) -> list[str]:
    """Serve, ask, stop; return what is wrong."""
    receiver = Receiver()
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    environ = {
        **os.environ,
        "TAXIMETER_GEVENT_APP": "1",
        "TAXIMETER_ENDPOINT": f"http://127.0.0.1:{receiver.server_port}",
    }
    here = Path(__file__).parent
    port = receiver.server_port + 1
    server = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "-k", "gevent", "-w", "2", "-b", f"127.0.0.1:{port}",
         "--chdir", str(here), *options, "gevent_server:app"],
        env=environ,
    )  # fmt: skip
    try:
        answers, slowest = ask_all(port)
        server.send_signal(signal.SIGTERM)
        began = time.monotonic()
        server.wait(20)
        took = time.monotonic() - began
    finally:
        server.kill()
    wrong = [f"{way}: an answer is {answer!r}" for answer in set(answers) - {"[0, 1] 1 4"}]
    if took > SLOWEST_END_S:
        wrong.append(f"{way}: the server took {took:.1f} s to end")
    counts = Counter(name for name, _, _ in receiver.spans)
    should = {name: count * REQUESTS for name, count in EXPECTED.items()}
    if counts != should:
        wrong.append(f"{way}: spans {dict(counts)} instead of {should}")
    traces = {(user, trace) for _, user, trace in receiver.spans}
    if len(traces) != REQUESTS:
        wrong.append(f"{way}: {len(traces)} pairs of user and trace instead of {REQUESTS}")
    print(
        f"{way}: {len(receiver.spans)} spans, slowest answer {slowest:.2f} s, ended in {took:.1f} s"
    )
    return wrong


def ask_all(port: int) -> tuple[list[str], float]:
    """Ask the server, many at once; return the answers and the seconds of the slowest."""
    waits = []

    def ask(number: int) -> str:
        url, began = f"http://127.0.0.1:{port}/?user-{number}", time.monotonic()
        with urllib.request.urlopen(url, timeout=20) as answer:
            said = str(answer.read().decode())
        waits.append(time.monotonic() - began)
        return said

    for _ in range(100):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/none", timeout=20).close()
        except OSError:
            time.sleep(0.1)
        else:
            break
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(ask, range(REQUESTS))), max(waits)


def main() -> None:
    """Check each way to start."""
    wrong = [fault for way, options in WAYS.items() for fault in check(way, options)]
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
