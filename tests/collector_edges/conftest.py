"""A collector's edges on real sockets, over an ingest and a store that tests can steer."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import grpc
import pytest
from starlette.applications import Starlette
from tests.patience import PATIENCE_S
from tests.serving import Collector, collecting, serving

from taximeter.settings.settings import CollectorSettings
from taximeter_collector.ingest.counters import Counters
from taximeter_collector.ingest.decode import Signal, parse
from taximeter_collector.ingest.ingest import Outcome
from taximeter_collector.receivers.grpc_receiver import GrpcReceiver
from taximeter_collector.receivers.http_app import build_app
from taximeter_collector.server import Addresses
from taximeter_collector.store.store import Store

from .conformance import Send, export, post


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


class ReadOnly:
    """A store over one connection, lent as the collector's store is read."""

    def __init__(self, con: duckdb.DuckDBPyConnection) -> None:
        self._con = con

    @contextmanager
    def read(self) -> Iterator[duckdb.DuckDBPyConnection]:
        cursor = self._con.cursor()
        cursor.execute("begin transaction read only")
        try:
            yield cursor
        finally:
            cursor.execute("rollback")
            cursor.close()


class SmallStore(ReadOnly):
    """A few rows under the contract's names."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(duckdb.connect(":memory:"))
        self.data_dir = data_dir
        self.price_version = "test-prices"
        self._con.execute(
            "set enable_progress_bar = false; set TimeZone = 'UTC';"
            "create table calls as select * from (values"
            " ('bot', 1.5, 1500000000000::hugeint, timestamptz '2026-11-24 10:00:00+00'),"
            " ('pest', null, null, timestamptz '2026-11-24 11:00:00+00'))"
            " as c(agent_name, cost_usd, cost_pico, start_time);"
            "create table export_request(signal varchar, batch bigint, received_at timestamptz)"
        )

    def size_bytes(self) -> int:
        return 4096

    def note_damage(self, error: BaseException) -> None:
        raise AssertionError(error)

    def report(self) -> dict[str, Any]:
        return {"state": "ok", "message": "", "free_bytes": 1 << 40, "alarms": []}


class NeverAsked:
    def answer(self, body: bytes) -> dict[str, Any]:
        raise AssertionError("no test of the edges verifies")

    def backup(self, asked: Mapping[str, Any]) -> Iterator[bytes]:
        raise AssertionError("no test of the edges takes a backup")

    export = backup


@dataclass
class Rollups:
    data_version: int = 7
    derived: int = 7
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
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.addresses.http_port, timeout=PATIENCE_S
        )
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
    ingest, store = SteeredIngest(), SmallStore(data_dir)

    def build(settings: CollectorSettings) -> tuple[Starlette, GrpcReceiver]:
        app = build_app(
            settings, ingest, store, Rollups(), NeverAsked(), NeverAsked(), NeverAsked()
        )
        limit = settings.max_request_mib << 20
        return app, GrpcReceiver(ingest, limit, settings.ingest_token, settings.tls)

    running = ExitStack()
    addresses = running.enter_context(serving(data_dir, build, **environment))
    return Edges(ingest, store, addresses, running.close)


@pytest.fixture
def collector(store: Store) -> Iterator[Collector]:
    with collecting(store) as running:
        yield running


@pytest.fixture
def channel(collector: Collector) -> Iterator[grpc.Channel]:
    address = f"127.0.0.1:{collector.addresses.grpc_port}"
    with grpc.insecure_channel(address, options=[("grpc.enable_retries", 0)]) as channel:
        yield channel


@pytest.fixture(params=["http", "grpc"])
def send(request: pytest.FixtureRequest, collector: Collector, channel: grpc.Channel) -> Send:
    """Send traces as protobuf by either transport; return the answer's bytes."""

    def by_http(data: bytes) -> bytes:
        status, _, answer = post(collector, data)
        assert status == 200, answer
        return answer

    return by_http if request.param == "http" else lambda data: export(channel, data)
