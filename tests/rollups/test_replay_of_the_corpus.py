"""Real telemetry, however it arrives, gives the same tables, and `verify` finds no difference."""

from __future__ import annotations

import asyncio
import http.client
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager
from datetime import UTC, datetime

import grpc
import pytest
from tests.corpus.archive import Export, scenarios
from tests.rollups.arrival import as_json, disordered, merged
from tests.rollups.telemetry import Tables, follow, tables, wipe

from taximeter.settings import load_settings
from taximeter_collector.derive import Deriver
from taximeter_collector.grpc_receiver import GrpcReceiver
from taximeter_collector.http_app import build_app
from taximeter_collector.ingest import Ingest
from taximeter_collector.otlp_json import json_to_protobuf
from taximeter_collector.prices.reprice_api import Repricer
from taximeter_collector.server import Addresses, serve
from taximeter_collector.store import Store
from taximeter_collector.verify import Report, verify_window
from taximeter_collector.verify_api import Verifier

PATIENCE_S = 120.0
SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"
COMMITS = 5
ON_THE_WIRE = ("anthropic-sdk-native", "otel-genai-anthropic", "langsmith-langchain", "vercel-ai-v6",
               "traceloop-sdk-anthropic", "litellm-otel-anthropic")  # fmt: skip


def protobuf(export: Export) -> bytes:
    return json_to_protobuf(export.signal, export.body) if export.is_json else export.body


def take(store: Store, groups: Sequence[Sequence[bytes]], others: Sequence[Export] = ()) -> None:
    """Store the trace requests group by group and follow after each; log events and metrics come first."""
    ingest = Ingest(store)
    try:
        for future in [ingest.submit(export.signal, protobuf(export)) for export in others]:
            future.result(60)
        for group in groups:
            for future in [ingest.submit("traces", body) for body in group]:
                future.result(60)
            follow(store)
    finally:
        ingest.close()


def whole(store: Store) -> Report:
    with store.cursor() as cursor:
        row = cursor.execute(
            "select epoch(min(start_time)), epoch(max(start_time)) from span"
        ).fetchone()
        assert row is not None
        start, end = (datetime.fromtimestamp(at, UTC) for at in row)
        return verify_window(store, cursor, start, end.replace(year=end.year + 1))


def same(found: Tables, expected: Tables) -> None:
    for name, rows in expected.items():
        assert len(found[name]) == len(rows), name
        assert found[name] == rows, name


def test_the_whole_corpus_shuffled_cut_and_repeated_gives_the_same_tables(store: Store) -> None:
    exports = [export for scenario in scenarios().values() for export in scenario.exports]
    bodies = [protobuf(export) for export in exports if export.signal == "traces"]
    others = [export for export in exports if export.signal != "traces"]
    take(store, [bodies], others)
    expected = tables(store)
    assert whole(store).is_right
    wipe(store)

    chance = random.Random(20261125)
    chance.shuffle(others)
    late = disordered(bodies, chance)
    take(store, [late[at::COMMITS] for at in range(COMMITS)], others)
    same(tables(store), expected)
    report = whole(store)
    assert report.differences == []
    assert (report.is_right, report.repriced_calls, report.incomplete_traces) == (True, 0, 0)
    assert report.traces > 400


@contextmanager
def collecting(store: Store) -> Iterator[tuple[Addresses, Ingest, Deriver]]:
    """Serve a real collector over ``store``."""
    settings = load_settings(
        None,
        {
            "TAXIMETER_STORE_DATA_DIR": str(store.data_dir),
            "TAXIMETER_COLLECTOR_HTTP_PORT": "0",
            "TAXIMETER_COLLECTOR_GRPC_PORT": "0",
        },
    ).collector
    loop, stopping, ready = asyncio.new_event_loop(), asyncio.Event(), Future[Addresses]()
    with (
        closing(Deriver(store, settle_s=0.01)) as rollups,
        closing(Ingest(store, on_commit=rollups.notify)) as ingest,
    ):

        async def until() -> None:
            await stopping.wait()

        async def run() -> None:
            app = build_app(
                settings, ingest, store, rollups, Verifier(store, rollups), Repricer(store, rollups)
            )
            grpc_side = GrpcReceiver(ingest, settings.max_request_mib << 20, None)
            await serve(
                settings, store.data_dir, app, grpc_side, until=until, ready=ready.set_result
            )

        thread = threading.Thread(target=loop.run_until_complete, args=(run(),), daemon=True)
        thread.start()
        try:
            yield ready.result(timeout=30), ingest, rollups
        finally:
            loop.call_soon_threadsafe(stopping.set)
            thread.join(timeout=30)
            loop.close()


def over_grpc(addresses: Addresses, bodies: Sequence[bytes]) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{addresses.grpc_port}") as channel:
        export = channel.unary_unary(f"/{SERVICE}/Export", bytes, bytes)
        for body in bodies:
            export(body, timeout=60)


def over_http(
    content_type: str, encode: Callable[[bytes], bytes]
) -> Callable[[Addresses, Sequence[bytes]], None]:
    def send(addresses: Addresses, bodies: Sequence[bytes]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", addresses.http_port, timeout=60)
        for body in bodies:
            connection.request("POST", "/v1/traces", encode(body), {"Content-Type": content_type})
            response = connection.getresponse()
            response.read()
            assert response.status == 200
        connection.close()

    return send


WAYS = {
    "grpc": over_grpc,
    "json": over_http("application/json", as_json),
    "protobuf": over_http("application/x-protobuf", bytes),
}


@pytest.fixture(scope="module")
def sent() -> list[bytes]:
    """Return the requests of some clients; the ways of one call being in two traces are among them."""
    return [
        protobuf(export)
        for client in ON_THE_WIRE
        for scenario in ("agent_loop", "concurrent")
        for export in getattr(scenarios().get(f"{client}/{scenario}"), "exports", [])
        if export.signal == "traces"
    ]


def test_grpc_json_and_protobuf_give_the_same_tables(store: Store, sent: list[bytes]) -> None:
    assert len(sent) >= 2 * len(ON_THE_WIRE) - 2
    take(store, [sent])
    expected = tables(store)
    for seed, (way, send) in enumerate(WAYS.items()):
        wipe(store)
        chance = random.Random(seed)
        bodies = disordered(sent, chance)
        with collecting(store) as (addresses, ingest, rollups):
            half = len(bodies) // 2
            send(addresses, bodies[:half])
            send(addresses, merged(bodies[half:], 10))
            send(addresses, chance.sample(bodies[:half], half // 4))
            deadline = time.monotonic() + PATIENCE_S
            while rollups.data_version < ingest.counters.commits and time.monotonic() < deadline:
                time.sleep(0.05)
        assert rollups.last_error is None, way
        same(tables(store), expected)
