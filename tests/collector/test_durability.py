"""What was acknowledged is on disk: kill -9 under load, retried exports, restarts."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.patience import PATIENCE_S, wait_until

from taximeter.settings.ports import read_ports

SPANS = 20


def body(sender: int, number: int) -> bytes:
    """One request of SPANS spans whose ids tell sender and number."""
    message = ExportTraceServiceRequest()
    scope = message.resource_spans.add().scope_spans.add()
    trace_id = bytes([sender + 1]) * 8 + number.to_bytes(8, "big")
    for at in range(SPANS):
        now = time.time_ns()
        span = scope.spans.add(
            trace_id=trace_id,
            span_id=bytes([1, *(number * SPANS + at).to_bytes(7, "big")]),
            name="step",
            start_time_unix_nano=now,
            end_time_unix_nano=now + 10**6,
        )
        span.attributes.add(key="gen_ai.operation.name").value.string_value = "invoke_agent"
    return message.SerializeToString()


def start(data_dir: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Return a ready collector and its HTTP port."""
    (data_dir / "ports.json").unlink(missing_ok=True)
    ports = {"TAXIMETER_COLLECTOR_HTTP_PORT": "0", "TAXIMETER_COLLECTOR_GRPC_PORT": "0"}
    collector = subprocess.Popen(
        [sys.executable, "-m", "taximeter_collector", "--data-dir", str(data_dir)],
        env=os.environ | ports,
    )
    wait_until(lambda: "collector" in read_ports(data_dir) or collector.poll() is not None)
    assert collector.poll() is None, "the collector ended before it was ready"
    return collector, read_ports(data_dir)["collector"]["http_port"]


def post(port: int, payload: bytes) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request(
            "POST", "/v1/traces", payload, {"Content-Type": "application/x-protobuf"}
        )
        return connection.getresponse().status
    finally:
        connection.close()


def query(port: int, sql: str) -> list[list[object]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    connection.request("POST", "/v1/query", json.dumps({"sql": sql}), headers)
    answer = json.loads(connection.getresponse().read())
    connection.close()
    rows: list[list[object]] = answer["rows"]
    return rows


def wait_for_more(acknowledged: list[tuple[int, int]], than: int) -> None:
    wait_until(lambda: len(acknowledged) > than)


def send_until_dead(port: int, sender: int, acknowledged: list[tuple[int, int]]) -> None:
    for number in range(10_000):
        try:
            if post(port, body(sender, number)) == 200:
                acknowledged.append((sender, number))
        except OSError:
            return
        except http.client.HTTPException:
            return


def test_kill_9_under_load_loses_no_acknowledged_span_and_repeats_none(tmp_path: Path) -> None:
    acknowledged: list[tuple[int, int]] = []
    for round_number in range(3):
        collector, port = start(tmp_path)
        senders = [
            threading.Thread(
                target=send_until_dead, args=(port, round_number * 4 + at, acknowledged)
            )
            for at in range(3)
        ]
        for thread in senders:
            thread.start()
        wait_for_more(acknowledged, 8 * (round_number + 1))
        collector.send_signal(signal.SIGKILL)
        collector.wait()
        for thread in senders:
            thread.join()
    collector, port = start(tmp_path)
    try:
        stored = {
            (str(row[0]), int(str(row[1])))
            for row in query(port, "select trace_id, count(*) from spans group by trace_id")
        }
        resent = [post(port, body(*one)) for one in acknowledged[-5:]]
        wait_until(lambda: query(port, "select count(*) from requests") == [[len(stored)]])
        (derived,) = query(port, "select count(*), sum(span_count) from requests")
    finally:
        collector.terminate()
        collector.wait(30)
    assert len(acknowledged) > 20
    wanted = {
        ((bytes([sender + 1]) * 8 + number.to_bytes(8, "big")).hex(), SPANS)
        for sender, number in acknowledged
    }
    assert wanted <= stored
    assert resent == [200] * 5
    assert derived == [len(stored), len(stored) * SPANS]
