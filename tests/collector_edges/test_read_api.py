"""POST /v1/query, /v1/status and /metrics over real sockets, by hand and by the client."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from taximeter_collector.client import QueryError, ReadClient

from .conftest import Edges, Start

JSON = {"Content-Type": "application/json", "Accept": "application/json"}


def query(edges: Edges, **request: Any) -> tuple[int, dict[str, Any]]:
    status, _, body = edges.ask("POST", "/v1/query", json.dumps(request).encode(), JSON)
    return status, json.loads(body)


def test_json_has_columns_rows_count_and_time(edges: Edges) -> None:
    status, answer = query(edges, sql="select * from calls order by start_time")
    assert status == 200
    assert answer["columns"] == [
        {"name": "agent_name", "type": "VARCHAR"},
        {"name": "cost_usd", "type": "DECIMAL(2,1)"},
        {"name": "cost_pico", "type": "HUGEINT"},
        {"name": "start_time", "type": "TIMESTAMP WITH TIME ZONE"},
    ]
    assert answer["rows"] == [
        ["bot", 1.5, 1_500_000_000_000, "2026-11-24T10:00:00.000000Z"],
        ["pest", None, None, "2026-11-24T11:00:00.000000Z"],
    ]
    assert answer["row_count"] == 2 and answer["elapsed_ms"] >= 0


def test_json_carries_every_kind_of_value(edges: Edges) -> None:
    sql = """select map {'a': 'b'} as m, [1, 2] as l, {'x': 1} as s, 'nan'::double as n,
        'ab'::blob as b, date '2026-01-01' as d, 1000000000000000000000000000000::hugeint as h,
        timestamp '20000-01-01' as late, null as nothing, true as t, interval 1 day as i"""
    status, answer = query(edges, sql=sql)
    assert status == 200
    row = dict(zip((c["name"] for c in answer["columns"]), answer["rows"][0], strict=True))
    assert (row["m"], row["l"], row["s"], row["n"]) == ({"a": "b"}, [1, 2], {"x": 1}, None)
    assert (row["b"], row["d"], row["t"], row["nothing"]) == ("6162", "2026-01-01", True, None)
    assert row["late"].startswith("20000-01-01T") and row["h"] == 10**30


def test_parameters_are_bound_by_name_and_by_place(edges: Edges) -> None:
    named = query(
        edges, sql="select agent_name from calls where cost_usd > $least", params={"least": 1}
    )
    placed = query(edges, sql="select agent_name from calls where agent_name = ?", params=["bot"])
    assert named[1]["rows"] == placed[1]["rows"] == [["bot"]]


@pytest.mark.parametrize(
    ("request_", "status", "kind"),
    [
        ({"sql": "delete from calls"}, 403, "forbidden"),
        ({"sql": "select 1; select 2"}, 403, "forbidden"),
        ({"sql": "select * frm calls"}, 400, "syntax"),
        ({"sql": "select nope from calls"}, 400, "binder"),
        ({"sql": "select * from range(100)", "max_rows": 10}, 413, "too_many_rows"),
        ({"sql": 5}, 400, "request"),
        ({}, 400, "request"),
        ({"sql": "select 1", "max_rows": 0}, 400, "request"),
        ({"sql": "select 1", "params": 5}, 400, "request"),
        ({"sql": "select $t", "params": {"t": {"$timestamp": "soon"}}}, 400, "request"),
    ],
)
def test_a_fault_has_its_status_and_its_type(
    edges: Edges, request_: dict[str, Any], status: int, kind: str
) -> None:
    answered, body = query(edges, **request_)
    assert (answered, body["error"]["type"]) == (status, kind)
    assert body["error"]["message"]


def test_a_missing_parameter_is_a_400(edges: Edges) -> None:
    status, body = query(edges, sql="select $x")
    assert status == 400 and "x" in body["error"]["message"]


def test_a_syntax_error_has_its_position(edges: Edges) -> None:
    _, body = query(edges, sql="select *\nfrom calls wher cost_usd > 1 and")
    assert body["error"]["position"]["line"] == 2


def test_a_slow_query_is_a_504(edges: Edges) -> None:
    slow = "select count(*) from range(1000000) a, range(1000000) b where hash(a.range+b.range) = 5"
    status, body = query(edges, sql=slow, timeout_ms=100)
    assert (status, body["error"]["type"]) == (504, "timeout")
    assert query(edges, sql="select 1")[0] == 200


def test_a_form_from_a_web_page_is_refused(edges: Edges) -> None:
    """text/plain needs no permission across origins, so it must not run a query."""
    body = json.dumps({"sql": "select 1"}).encode()
    assert edges.ask("POST", "/v1/query", body, {"Content-Type": "text/plain"})[0] == 200
    from_a_page = {"Content-Type": "text/plain", "Origin": "http://elsewhere.example"}
    assert edges.ask("POST", "/v1/query", body, from_a_page)[0] == 415
    assert edges.ask("POST", "/v1/query", body, {**JSON, "Host": "evil.example"})[0] == 403


def test_reading_needs_the_query_token_and_not_the_other(start_edges: Start) -> None:
    edges = start_edges(TAXIMETER_QUERY_TOKEN="read", TAXIMETER_INGEST_TOKEN="write")
    body = json.dumps({"sql": "select 1"}).encode()
    for path in ("/v1/status", "/metrics"):
        assert edges.ask("GET", path)[0] == 401
    assert edges.ask("POST", "/v1/query", body, JSON)[0] == 401
    wrong = {**JSON, "Authorization": "Bearer write"}
    assert edges.ask("POST", "/v1/query", body, wrong)[0] == 401
    with ReadClient(edges.url, token="read") as client:
        assert client.query("select 1 as x").to_pydict() == {"x": [1]}
        assert client.status()["price_version"] == "test-prices"


def test_the_client_gets_a_table_with_its_types(edges: Edges) -> None:
    with ReadClient(edges.url) as client:
        table = client.query("select * from calls where start_time < $t", {"t": datetime.now(UTC)})
        assert table.num_rows == 2
        assert table.column("start_time")[0].as_py() == datetime(2026, 11, 24, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [datetime(2026, 1, 2, tzinfo=UTC), Decimal("1.25"), "text", 5, 1.5, None, True, ["a", "b"]],
    ids=repr,
)
def test_a_parameter_keeps_its_type(edges: Edges, value: object) -> None:
    with ReadClient(edges.url) as client:
        assert client.query("select $v as v", {"v": value}).column("v")[0].as_py() == value


def test_the_client_tells_the_fault(edges: Edges) -> None:
    with ReadClient(edges.url) as client:
        with pytest.raises(QueryError) as caught:
            client.query("drop table calls")
        assert (caught.value.type, caught.value.status) == ("forbidden", 403)
        assert client.query("select 1 as x").num_rows == 1


def test_the_client_says_when_nobody_answers() -> None:
    with pytest.raises(QueryError, match="taximeter up") as caught:
        ReadClient("http://127.0.0.1:9", timeout_s=1).status()
    assert caught.value.type == "unreachable"


def test_the_client_outlives_a_restart(start_edges: Start) -> None:
    first = start_edges()
    with ReadClient(first.url) as client:
        client.query("select 1")
        port = str(first.addresses.http_port)
        first.stop()
        start_edges(TAXIMETER_COLLECTOR_HTTP_PORT=port)
        assert client.query("select 1 as x").num_rows == 1


def test_the_client_serves_many_threads(edges: Edges) -> None:
    with ReadClient(edges.url) as client, ThreadPoolExecutor(8) as pool:
        answers = pool.map(
            lambda i: client.query(f"select {i} as i").column("i")[0].as_py(), range(60)
        )
        assert list(answers) == list(range(60))


def test_the_status_counts_by_signal(edges: Edges) -> None:
    edges.ingest.counters.committed([("traces", 8, 2)], 0.01)
    with ReadClient(edges.url) as client:
        status = client.status()
    assert status["received"] == {"traces": 10, "logs": 0, "metrics": 0}
    assert status["stored"]["traces"] == 8 and status["rejected"]["traces"] == 2
    assert status["reasons"] == [
        {"signal": "traces", "fate": "rejected", "reason": "invalid_id", "items": 2}
    ]
    assert (status["data_version"], status["lag_s"], status["queue_depth"]) == (7, 0.0, 0)


def test_the_metrics_are_prometheus_text(edges: Edges) -> None:
    edges.ingest.counters.committed([("traces", 8, 2)], 0.01)
    status, headers, body = edges.ask("GET", "/metrics")
    text = body.decode()
    assert status == 200 and headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'taximeter_items_total{signal="traces",fate="rejected",reason="invalid_id"} 2' in text
    assert "# TYPE taximeter_store_bytes gauge\ntaximeter_store_bytes 4096\n" in text


def test_many_slow_queries_do_not_stop_the_receiver(edges: Edges) -> None:
    slow = "select count(*) from range(1000000) a, range(1000000) b where hash(a.range+b.range) = 5"
    threads = [
        threading.Thread(target=query, args=(edges,), kwargs={"sql": slow, "timeout_ms": 500})
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    assert (
        edges.ask("POST", "/v1/traces", b"", {"Content-Type": "application/x-protobuf"})[0] == 200
    )
    for thread in threads:
        thread.join()


def test_an_answer_does_not_wait_for_the_network_to_acknowledge(edges: Edges) -> None:
    """Without TCP_NODELAY every answer on a kept connection takes 40 ms."""
    took = []
    with ReadClient(edges.url) as client:
        for _ in range(20):
            started = time.perf_counter()
            client.query("select 1")
            took.append(time.perf_counter() - started)
    assert min(took[10:]) < 0.035
