"""The OTLP conformance list on a real collector, both transports: requests and answers. C7 is row 7 of the list."""

from __future__ import annotations

import gzip
import http.client
import json
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import duckdb
import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceResponse,
)
from tests.patience import PATIENCE_S, wait_until
from tests.serving import Collector
from tests.telemetry import body, chat

from taximeter_collector.receivers import acceptance
from taximeter_collector.receivers.slow_clients import PatientProtocol

from .conformance import JSON, PROTOBUF, Send, export, post, spans, stored
from .test_grpc_receiver import failure, trailers_of


def test_c1_c12_each_signal_succeeds_with_nothing_set(
    collector: Collector, channel: grpc.Channel
) -> None:
    """C1, C3, C4, C12, C15: three paths and services, both encodings; success leaves partial_success unset."""
    for signal in ("traces", "logs", "metrics"):
        assert export(channel, b"", signal) == b""
        status, headers, answer = post(collector, b"", PROTOBUF, signal)
        assert (status, headers["content-type"], answer) == (200, PROTOBUF["Content-Type"], b"")
        mixed = {"Content-Type": "Application/JSON; charset=UTF-8"}
        status, headers, answer = post(collector, b"{}", mixed, signal)
        assert (status, headers["content-type"], json.loads(answer)) == (
            200,
            "application/json",
            {},
        )


def test_c2_c8_compression(collector: Collector, channel: grpc.Channel) -> None:
    """C2, C8: gzip on both transports, several members; false gzip is 400."""
    assert export(channel, spans(50), compression=grpc.Compression.Gzip) == b""
    coded = {**PROTOBUF, "Content-Encoding": "gzip"}
    data = spans(3, name="members")
    assert post(collector, gzip.compress(data[:20]) + gzip.compress(data[20:]), coded)[0] == 200
    assert post(collector, data, coded)[0] == 400


def test_c6_the_answer_to_50_000_bad_spans_is_short(send: Send) -> None:
    """C6, C13: rejected_spans is exact, the message short."""
    answer = send(spans(50_000, trace_id=b"\0" * 16))
    partial = ExportTraceServiceResponse.FromString(answer).partial_success
    assert partial.rejected_spans == 50_000 and partial.error_message
    assert len(answer) < 4096


def test_c7_chunked_bodies(collector: Collector) -> None:
    """C7: what exporters of JavaScript send."""
    data = spans(5)
    with socket.create_connection(("127.0.0.1", collector.addresses.http_port), timeout=30) as sock:
        sock.sendall(b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n"
                     b"Transfer-Encoding: chunked\r\n\r\n")  # fmt: skip
        for at in range(0, len(data), 40):
            part = data[at : at + 40]
            sock.sendall(b"%x\r\n%s\r\n" % (len(part), part))
        sock.sendall(b"0\r\n\r\n")
        response = http.client.HTTPResponse(sock)
        response.begin()
        assert response.status == 200
    assert stored(collector, "select count(*) from spans") == [(5,)]


def test_c7_expect_100_continue(collector: Collector) -> None:
    """C7: the body comes after the interim answer."""
    data = spans(1)
    with socket.create_connection(("127.0.0.1", collector.addresses.http_port), timeout=30) as sock:
        sock.sendall(b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n"
                     b"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n" % len(data))  # fmt: skip
        assert sock.recv(200).startswith(b"HTTP/1.1 100")
        sock.sendall(data)
        assert b" 200 " in sock.recv(400)


def test_c7_a_connection_outlives_an_error(collector: Collector) -> None:
    """C7: keep-alive over a 400."""
    connection = http.client.HTTPConnection("127.0.0.1", collector.addresses.http_port, timeout=30)
    sockets, statuses = set(), []
    for data in (spans(1), b"\x0a\xff", spans(2), b"\x0a\xff\xff", spans(3)):
        connection.request("POST", "/v1/traces", data, PROTOBUF)
        response = connection.getresponse()
        response.read()
        statuses.append(response.status)
        sockets.add(connection.sock)
    connection.close()
    assert statuses == [200, 400, 200, 400, 200] and len(sockets) == 1


def test_c9_keepalive_pings_are_no_offence(collector: Collector) -> None:
    """C9: pings without calls; a stock server answers them with GOAWAY."""
    often = [("grpc.keepalive_time_ms", 1000), ("grpc.keepalive_permit_without_calls", 1),
             ("grpc.http2.max_pings_without_data", 0), ("grpc.enable_retries", 0)]  # fmt: skip
    ready, stock = grpc.ChannelConnectivity.READY, grpc.server(ThreadPoolExecutor(1))
    port = stock.add_insecure_port("127.0.0.1:0")
    stock.start()
    ours: list[grpc.ChannelConnectivity] = []
    theirs: list[grpc.ChannelConnectivity] = []
    with (
        grpc.insecure_channel(
            f"127.0.0.1:{collector.addresses.grpc_port}", options=often
        ) as channel,
        grpc.insecure_channel(f"127.0.0.1:{port}", options=often) as other,
    ):
        channel.subscribe(ours.append)
        export(channel, spans(1))
        other.subscribe(theirs.append, try_to_connect=True)
        # The pings began here first: when the stock server has had enough of them, ours has had as many.
        wait_until(lambda: ready in theirs and theirs[-1] != ready, "the stock server's GOAWAY")
        export(channel, spans(2))
        assert ours.count(ready) == 1 and ours[-1] == ready
        channel.unsubscribe(ours.append)
        other.unsubscribe(theirs.append)
    stock.stop(None)


def test_c11_64_at_once(collector: Collector, channel: grpc.Channel) -> None:
    """C11: 64 connections and 64 streams at once, all acknowledged."""

    def one(i: int) -> None:
        data = body([chat(i + 1, 1000 + i)])
        if i % 2:
            assert post(collector, data)[0] == 200
        else:
            export(channel, data)

    with ThreadPoolExecutor(128) as pool:
        list(pool.map(one, range(128)))
    assert stored(collector, "select count(distinct span_id) from spans") == [(128,)]


def test_c11_200_slow_sockets_delay_nobody(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C11: slowloris; 200 sockets that never end their headers: others are heard, then they are closed."""
    where = ("127.0.0.1", collector.addresses.http_port)
    head = b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nX-Slow: "

    def open_slow(stack: ExitStack) -> list[socket.socket]:
        slow = [
            stack.enter_context(socket.create_connection(where, timeout=PATIENCE_S))
            for _ in range(200)
        ]
        for sock in slow:
            sock.sendall(head)
        return slow

    def is_closed(sock: socket.socket) -> bool:
        sock.settimeout(0.01)
        try:
            return sock.recv(1) == b""
        except TimeoutError:
            return False
        except OSError:
            return True

    with ExitStack() as stack:
        monkeypatch.setattr(PatientProtocol, "headers_within_s", 10 * PATIENCE_S)
        waiting = open_slow(stack)
        for _ in range(3):
            connection = http.client.HTTPConnection(*where, timeout=PATIENCE_S)
            connection.request("GET", "/healthz")
            assert connection.getresponse().status == 200
            connection.close()
        assert not any(is_closed(sock) for sock in waiting), "nobody had to be sent away for that"
        monkeypatch.setattr(PatientProtocol, "headers_within_s", 1.0)
        late = open_slow(stack)
        wait_until(lambda: all(is_closed(sock) for sock in late), "closing the slow sockets")


def test_c25_c26_undecodable_is_400_in_its_encoding(
    collector: Collector, channel: grpc.Channel
) -> None:
    """C23, C25, C26, C30: never a 5xx, never INTERNAL."""
    for data in (b"\x0a\xff\xff\xff\xff\x0f", b"\xff" * 50):
        status, headers, answer = post(collector, data)
        assert (status, headers["content-type"]) == (400, PROTOBUF["Content-Type"])
        assert Status.FromString(answer).message
        assert failure(channel, data).code().name == "INVALID_ARGUMENT"
    deep = b'{"resourceSpans":' + b"[" * 5000 + b"]" * 5000 + b"}"
    infinite = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [{"attributes": [
        {"key": "a", "value": {"intValue": float("inf")}}]}]}]}]}).encode()  # fmt: skip
    for data in (b"[]", b"5", b"null", b'{"resourceSpans":"x"}', deep, infinite):
        status, headers, answer = post(collector, data, JSON)
        assert (status, headers["content-type"]) == (400, "application/json"), data[:40]
        assert json.loads(answer)["message"]


def test_c28_c29_a_writer_that_fails_asks_to_come_again(
    collector: Collector, channel: grpc.Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C28, C29: a fault of the store is 503 / UNAVAILABLE with both hints of a second; then all arrives."""

    def broken(*_: object) -> None:
        raise duckdb.IOException("no space left on device")

    data = body([chat(1, 1)])
    with monkeypatch.context() as patch:
        patch.setattr(collector.ingest._writer, "_commit", broken)
        status, headers, answer = post(collector, data)
        assert (status, headers["retry-after"]) == (503, "1") and Status.FromString(answer).message
        failed = failure(channel, data)
        trailers = trailers_of(failed)
        assert failed.code().name == "UNAVAILABLE"
        assert RetryInfo.FromString(trailers["google.rpc.retryinfo-bin"]).retry_delay.seconds == 1
        assert (
            Status.FromString(trailers["grpc-status-details-bin"])
            .details[0]
            .Is(RetryInfo.DESCRIPTOR)
        )
    # The store is tried again by itself; until then the answer stays the same.
    wait_until(lambda: post(collector, data)[0] == 200, "the store's return")
    assert stored(collector, "select count(*) from spans") == [(1,)]


def test_c14_a_rejection_is_logged_and_counted_here(
    collector: Collector, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C14: exporters of Python never read a partial success."""
    monkeypatch.setattr(acceptance, "_said", {})
    post(collector, spans(4, trace_id=b"\0" * 16))
    assert "rejected 4 of traces" in caplog.text
    assert collector.ingest.counters.snapshot()["traces", "rejected", "invalid_id"] == 4


def test_every_row_of_the_list_is_cited_by_a_test() -> None:
    """The list has 30 rows, C1 to C30."""
    text = "".join(
        file.read_text(encoding="utf-8") for file in Path(__file__).parent.glob("test_*.py")
    )
    cited = {int(row) for row in re.findall(r"\bC(\d+)\b", text)}
    assert cited >= set(range(1, 31))
