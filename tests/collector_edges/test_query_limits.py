"""Time, rows, memory and clients that go away: limits of POST /v1/query over real sockets."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from typing import Any, Final

import pytest
from tests.patience import PATIENCE_S, wait_until
from tests.serving import Collector, collecting
from tests.telemetry import body, chat

from taximeter_collector.query.query_watch import WATCH
from taximeter_collector.receivers.http_app import QUERIES_AT_ONCE
from taximeter_collector.server import DRAIN_S
from taximeter_collector.store.store import Store

JSON: Final = {"Content-Type": "application/json", "Accept": "application/json"}
ENDLESS: Final = (
    "with recursive r as (select 1 n union all select n + 1 from r) select count(*) from r"
)


@pytest.fixture
def collector(store: Store) -> Iterator[Collector]:
    with collecting(store) as running:
        yield running


def send(collector: Collector, sql: str, **more: Any) -> http.client.HTTPConnection:
    """Send a query and do not wait for its answer."""
    connection = http.client.HTTPConnection(
        "127.0.0.1", collector.addresses.http_port, timeout=PATIENCE_S
    )
    connection.request("POST", "/v1/query", json.dumps({"sql": sql} | more).encode(), JSON)
    return connection


def ask(collector: Collector, sql: str, **more: Any) -> tuple[int, dict[str, Any]]:
    connection = send(collector, sql, **more)
    try:
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def running() -> int:
    return WATCH.running


def test_a_closed_socket_stops_its_query(collector: Collector) -> None:
    connection = send(collector, ENDLESS, timeout_ms=300_000)
    wait_until(lambda: running() == 1, "the query")
    connection.close()
    wait_until(lambda: running() == 0, "the end of the query")
    assert ask(collector, "select 1")[0] == 200


def test_clients_that_leave_do_not_use_up_the_places(collector: Collector) -> None:
    """More clients than places ask, wait or run, and leave: the next one is served at once."""
    connections = [send(collector, ENDLESS, timeout_ms=300_000) for _ in range(QUERIES_AT_ONCE * 3)]
    wait_until(lambda: running() == QUERIES_AT_ONCE, "all places taken")
    for connection in connections:
        connection.close()
    assert ask(collector, "select 1")[0] == 200
    wait_until(lambda: running() == 0, "the end of the queries")


def test_who_finds_no_place_in_time_hears_busy(collector: Collector) -> None:
    connections = [send(collector, ENDLESS, timeout_ms=300_000) for _ in range(QUERIES_AT_ONCE)]
    wait_until(lambda: running() == QUERIES_AT_ONCE, "all places taken")
    status, answer = ask(collector, "select 1", timeout_ms=200)
    assert (status, answer["error"]["type"]) == (503, "busy")
    for connection in connections:
        connection.close()


def test_an_answer_has_at_most_the_rows_asked_for(collector: Collector) -> None:
    status, answer = ask(collector, "from range(100000000000)", max_rows=1000)
    assert (status, answer["error"]["type"]) == (413, "too_many_rows")


def test_an_answer_has_at_most_so_many_bytes(collector: Collector) -> None:
    status, answer = ask(collector, "select repeat('x', 9000) || range from range(1000000)")
    assert (status, answer["error"]["type"]) == (413, "too_large")


def test_waiting_and_running_share_the_time_of_a_query(collector: Collector) -> None:
    """Who waits for a place most of its time has the rest of it to run, not its time again."""
    connections = [send(collector, ENDLESS, timeout_ms=4_000) for _ in range(QUERIES_AT_ONCE)]
    wait_until(lambda: running() == QUERIES_AT_ONCE, "all places taken")
    began = time.monotonic()
    status, answer = ask(collector, ENDLESS, timeout_ms=8_000)
    took = time.monotonic() - began
    assert (status, answer["error"]["type"]) == (504, "timeout")
    assert took < 11, "it waited nearly 4 s, and then ran for 8 s more"
    for connection in connections:
        connection.close()


def test_readers_do_not_hold_up_the_writer(collector: Collector) -> None:
    """Every place is taken by a scan without end, and all exports are acknowledged meanwhile."""
    collector.ingest.submit("traces", body([chat(1, 1)])).result(PATIENCE_S)
    scan = "select count(*) from spans a, range(1000000) b, range(1000000) c where a.name <> c.range::varchar"
    connections = [send(collector, scan, timeout_ms=300_000) for _ in range(QUERIES_AT_ONCE)]
    wait_until(lambda: running() == QUERIES_AT_ONCE, "readers")
    for trace in range(100, 112):
        collector.ingest.submit("traces", body([chat(trace, trace)])).result(PATIENCE_S)
    assert running() == QUERIES_AT_ONCE, "the readers went first"
    for connection in connections:
        connection.close()
    assert ask(collector, "select count(*) from spans")[1]["rows"] == [[13]]


def test_a_running_query_does_not_hold_up_the_end(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """The query is stopped and says why; the server does not wait until it would cancel it."""
    with collecting(store) as collector:
        connections = [
            send(collector, ENDLESS, timeout_ms=300_000) for _ in range(QUERIES_AT_ONCE + 1)
        ]
        wait_until(lambda: running() == QUERIES_AT_ONCE, "the queries")
        began = time.monotonic()
    assert time.monotonic() - began < DRAIN_S
    for connection in connections:
        response = connection.getresponse()
        assert response.status == 503
        assert json.loads(response.read())["error"]["type"] == "stopping"
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
