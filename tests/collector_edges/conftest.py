"""A collector's edges on real sockets, over an ingest and a store that tests can steer."""

from __future__ import annotations

import asyncio
import http.client
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pytest

from taximeter.settings import load_settings
from taximeter_collector.counters import Counters
from taximeter_collector.decode import Signal, parse
from taximeter_collector.grpc_receiver import GrpcReceiver
from taximeter_collector.http_app import build_app
from taximeter_collector.ingest import Outcome
from taximeter_collector.server import Addresses, serve


@dataclass
class SteeredIngest:
    """Takes what the receivers submit; a test sets the answer or the error."""

    submitted: list[tuple[Signal, bytes]] = field(default_factory=list)
    outcome: Outcome = field(default_factory=lambda: Outcome(1))
    error: Exception | None = None
    is_silent: bool = False
    """Take the request and never answer."""
    pending: list[Future[Outcome]] = field(default_factory=list)
    counters: Counters = field(default_factory=Counters)
    queue_depth: int = 0
    queue_bytes: int = 0

    def submit(self, signal: Signal, body: bytes) -> Future[Outcome]:
        if self.error is not None:
            raise self.error
        parse(signal, body)
        self.submitted.append((signal, body))
        future: Future[Outcome] = Future()
        self.pending.append(future)
        if not self.is_silent:
            future.set_result(self.outcome)
        return future


class SmallStore:
    """A few rows under the contract's names, read as the collector's store is read."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.price_version = "test-prices"
        self._con = duckdb.connect(":memory:")
        self._con.execute(
            "set enable_progress_bar = false; set TimeZone = 'UTC';"
            "create table calls as select * from (values"
            " ('bot', 1.5, 1500000000000::hugeint, timestamptz '2026-11-24 10:00:00+00'),"
            " ('pest', null, null, timestamptz '2026-11-24 11:00:00+00'))"
            " as c(agent_name, cost_usd, cost_pico, start_time);"
            "create table export_request(signal varchar, batch bigint, received_at timestamptz)"
        )

    @contextmanager
    def read(self) -> Iterator[duckdb.DuckDBPyConnection]:
        cursor = self._con.cursor()
        cursor.execute("begin transaction read only")
        try:
            yield cursor
        finally:
            cursor.execute("rollback")
            cursor.close()

    def size_bytes(self) -> int:
        return 4096


class NeverAsked:
    def answer(self, body: bytes) -> dict[str, Any]:
        raise AssertionError("no test of the edges verifies")


@dataclass
class Rollups:
    data_version: int = 7
    last_error: str | None = None


@dataclass
class Edges:
    """A running server and what stands behind it."""

    ingest: SteeredIngest
    store: SmallStore
    addresses: Addresses
    stop: Callable[[], None]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.addresses.http_port}"

    @property
    def grpc_address(self) -> str:
        return f"127.0.0.1:{self.addresses.grpc_port}"

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers with lower-case names, and body of one request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.addresses.http_port, timeout=15)
        try:
            connection.request(method, path, body=body, headers=dict(headers or {}))
            response = connection.getresponse()
            answer = response.read()
            return response.status, {k.lower(): v for k, v in response.getheaders()}, answer
        finally:
            connection.close()


Start = Callable[..., Edges]


@pytest.fixture
def start_edges(tmp_path: Path) -> Iterator[Start]:
    """Start edges with the given environment; all are stopped when the test ends."""
    running: list[Edges] = []

    def start(**environment: str) -> Edges:
        edges = _start(tmp_path / str(len(running)), environment)
        running.append(edges)
        return edges

    yield start
    for edges in running:
        edges.stop()


@pytest.fixture
def edges(start_edges: Start) -> Edges:
    return start_edges()


def _start(data_dir: Path, environment: dict[str, str]) -> Edges:
    ports = {"TAXIMETER_COLLECTOR_HTTP_PORT": "0", "TAXIMETER_COLLECTOR_GRPC_PORT": "0"}
    settings = load_settings(environ={**ports, **environment}, data_dir=data_dir)
    ingest, store = SteeredIngest(), SmallStore(data_dir)
    ready: Future[Addresses] = Future()
    loop = asyncio.new_event_loop()
    stopping = asyncio.Event()

    async def run() -> None:
        limit = settings.collector.max_request_mib << 20
        app = build_app(settings.collector, ingest, store, Rollups(), NeverAsked(), NeverAsked())
        grpc = GrpcReceiver(ingest, limit, settings.collector.ingest_token)

        async def until() -> None:
            await stopping.wait()

        await serve(settings.collector, data_dir, app, grpc, until=until, ready=ready.set_result)

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),), daemon=True)
    thread.start()
    addresses = ready.result(timeout=15)

    def stop() -> None:
        if thread.is_alive():
            loop.call_soon_threadsafe(stopping.set)
            thread.join(timeout=20)
            assert not thread.is_alive()
            loop.close()

    return Edges(ingest, store, addresses, stop)
