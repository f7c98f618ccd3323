"""Real telemetry, however it arrives, gives the same tables, and `verify` finds no difference."""

from __future__ import annotations

import http.client
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import grpc
import pytest
from tests.corpus.archive import Export, scenarios
from tests.corpus.replay import as_protobuf
from tests.patience import wait_until
from tests.rollups.arrival import as_json, disordered, merged
from tests.serving import collecting
from tests.telemetry import Tables, follow, receive, tables, wipe

from taximeter_collector.derive.verify import Report, verify_window
from taximeter_collector.server import Addresses
from taximeter_collector.store.store import Store

SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"
COMMITS = 5
ON_THE_WIRE = ("anthropic-sdk-native", "otel-genai-anthropic", "langsmith-langchain", "vercel-ai-v6",
               "traceloop-sdk-anthropic", "litellm-otel-anthropic")  # fmt: skip


def take(store: Store, groups: Sequence[Sequence[bytes]], others: Sequence[Export] = ()) -> None:
    """Store the trace requests group by group and follow after each; log events and metrics come first."""
    receive(store, [(export.signal, as_protobuf(export)) for export in others])
    for group in groups:
        receive(store, [("traces", body) for body in group])
        follow(store)


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
    bodies = [as_protobuf(export) for export in exports if export.signal == "traces"]
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
        as_protobuf(export)
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
        with collecting(store) as collector:
            half = len(bodies) // 2
            send(collector.addresses, bodies[:half])
            send(collector.addresses, merged(bodies[half:], 10))
            send(collector.addresses, chance.sample(bodies[:half], half // 4))
            wait_until(lambda: collector.rollups.data_version >= collector.ingest.counters.commits)
        assert collector.rollups.last_error is None, way
        same(tables(store), expected)
