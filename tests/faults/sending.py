"""Clients that send until they are told that it is stored, and a collector process that can be killed."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.patience import PATIENCE_S, wait_until
from tests.telemetry import Span, body, chat

SPANS = 10
TEXT = (("text", "The customer asks where order 4711 is. " * 20),)


def trace_of(sender: int, number: int) -> int:
    """Return the number of the trace that a request holds."""
    return (sender + 1) * 10**9 + number


def request(sender: int, number: int) -> bytes:
    """Return one export request: an agent's run of SPANS spans, each with a kilobyte of text."""
    trace, start = trace_of(sender, number), (number * 7 + sender) % 3600 * 1000
    run = (("gen_ai.operation.name", "invoke_agent"), ("gen_ai.agent.name", f"bot-{sender}"))
    calls = [
        chat(trace, 2 + at, 1, start=start + at, response_id=f"{trace}-{at}")
        for at in range(SPANS - 1)
    ]
    spans = [Span(trace, 1, 0, start, start + 900, run)] + [
        Span(c.trace, c.id, c.parent, c.start, c.start + 5, c.attributes + TEXT) for c in calls
    ]
    return body(spans)


@dataclass
class Process:
    """A collector on one port, started again on the same directory."""

    data_dir: Path
    environment: dict[str, str] = field(default_factory=dict)
    module: str = "tests.faults.moved_collector"
    prefix: tuple[str, ...] = ()
    """Put before the command, such as one that gives up rights."""
    log: Path | None = None
    port: int = field(default_factory=lambda: free_port())
    running: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Start it; return the seconds until it was ready to serve."""
        began = time.monotonic()
        ports = {"HTTP": str(self.port), "GRPC": "0"}
        settings = {f"TAXIMETER_COLLECTOR_{name}_PORT": port for name, port in ports.items()}
        settings["TAXIMETER_STORE_DATA_DIR"] = str(self.data_dir)
        log = (self.log or self.data_dir.with_name(f"{self.data_dir.name}.log")).open("ab")
        self.running = subprocess.Popen(
            [*self.prefix, sys.executable, "-m", self.module],
            env=os.environ | settings | self.environment,
            stderr=log,
            stdout=subprocess.DEVNULL,
        )
        log.close()
        wait_until(self._answers, "the collector's answer")
        return time.monotonic() - began

    def _answers(self) -> bool:
        assert self.running is not None and self.running.poll() is None, "the collector ended"
        with suppress(OSError, http.client.HTTPException):
            return self.ask("GET", "/healthz")[0] == 200
        return False

    def kill(self) -> None:
        """End it as a power button would."""
        assert self.running is not None
        self.running.send_signal(signal.SIGKILL)
        self.running.wait()

    def stop(self) -> float:
        """Ask it to end; return the seconds that it took."""
        assert self.running is not None
        began = time.monotonic()
        self.running.terminate()
        self.running.wait(PATIENCE_S)
        return time.monotonic() - began

    def ask(self, method: str, path: str, payload: bytes | None = None, type: str = "json",
            timeout_s: float = PATIENCE_S) -> tuple[int, bytes]:  # fmt: skip
        """Return status and body of one request. Raises OSError or HTTPException."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        headers = {"Content-Type": f"application/{type}", "Accept": "application/json"}
        try:
            connection.request(method, path, payload, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def query(self, sql: str) -> list[list[Any]]:
        """Return the rows of a query."""
        status, answer = self.ask("POST", "/v1/query", json.dumps({"sql": sql}).encode())
        assert status == 200, answer
        rows: list[list[Any]] = json.loads(answer)["rows"]
        return rows

    def status(self) -> dict[str, Any]:
        """Return /v1/status."""
        answer: dict[str, Any] = json.loads(self.ask("GET", "/v1/status")[1])
        return answer

    def post(self, payload: bytes, timeout_s: float = PATIENCE_S) -> int:
        """Send traces; return the HTTP status, 0 when nobody answered."""
        try:
            return self.ask("POST", "/v1/traces", payload, "x-protobuf", timeout_s)[0]
        except (OSError, http.client.HTTPException):
            return 0


class Senders:
    """Threads that each send one request after the other, each until it is acknowledged."""

    def __init__(
        self, process: Process, senders: int, make: Callable[[int, int], bytes] = request,
        pause_s: float = 0.0, retry_s: float = 0.1,
    ) -> None:  # fmt: skip
        self.acknowledged: list[int] = []
        """Numbers of the traces that are stored, so the collector said."""
        self.statuses: dict[int, int] = {}
        self.slowest_s: dict[int, float] = {}
        """By status: how long the slowest answer took."""
        self._process, self._make, self._pause_s, self._retry_s = process, make, pause_s, retry_s
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._send, args=(sender,), daemon=True)
            for sender in range(senders)
        ]
        for thread in self._threads:
            thread.start()

    def finish(self) -> None:
        """Begin no further request, and wait until all are acknowledged."""
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive(), "a request was never acknowledged"

    def _send(self, sender: int) -> None:
        number = 0
        while not self._stop.is_set():
            payload = self._make(sender, number)
            while self._post(payload) != 200:
                time.sleep(self._retry_s)
            self.acknowledged.append(trace_of(sender, number))
            number += 1
            time.sleep(self._pause_s)

    def _post(self, payload: bytes) -> int:
        began = time.monotonic()
        status = self._process.post(payload)
        took = time.monotonic() - began
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.slowest_s[status] = max(self.slowest_s.get(status, 0.0), took)
        assert status not in (400, 413, 415, 500), status
        return status


def free_port() -> int:
    """Return a port that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def stored_spans(process: Process) -> dict[int, list[int]]:
    """Return spans and distinct spans of each trace that is stored, by the trace's number."""
    rows = process.query(
        "select trace_id, count(*), count(distinct span_id) from spans group by trace_id"
    )
    return {int(trace, 16): [spans, distinct] for trace, spans, distinct in rows}
