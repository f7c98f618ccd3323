"""Ingest end to end: real HTTP, durable, acknowledged; beside the limit and the CPU it cost.

`python bench/ingest.py` starts a collector on free ports and a fresh data directory, sends
requests from 16 connections, and prints spans per second. The limit is the same rows inserted
into the same table from ready Arrow, committed in groups of the same size.

`--url http://127.0.0.1:6006/v1/traces --pid PID` sends the same requests to another receiver that runs already.
"""

from __future__ import annotations

import argparse
import http.client
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import duckdb
import pyarrow as pa
from traffic import request_body

from taximeter.settings.ports import read_ports

CONNECTIONS = 16


def main() -> None:
    """Run both sizes of request and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spans", type=int, default=61_440)
    parser.add_argument("--url", help="another OTLP/HTTP receiver, instead of a collector")
    parser.add_argument("--pid", type=int, help="its process")
    asked = parser.parse_args()
    if asked.url and not asked.pid:
        parser.error("--url needs the --pid of what listens there: its CPU is measured too")
    print(f"{'request':>10} {'spans/s':>9} {'per CPU-s':>10} {'ack p50':>9} {'ack max':>9} "
          f"{'limit/s':>9} {'of limit':>9}")  # fmt: skip
    for size in (512, 10):
        spans = asked.spans if size == 512 else asked.spans // 6
        if asked.url:
            print(line(size, measure(asked.url, asked.pid, spans, size)))
        else:
            run(spans, size)


def run(spans: int, size: int) -> None:
    """Send ``spans`` spans in requests of ``size`` to a collector of our own and print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder)
        collector = start(data_dir)
        try:
            port = read_ports(data_dir)["collector"]["http_port"]
            taken = measure(f"http://127.0.0.1:{port}/v1/traces", collector.pid, spans, size)
        finally:
            collector.terminate()
            collector.wait(60)
        limit = insert_ready_rows(data_dir)
    print(f"{line(size, taken)} {limit:>9,.0f} {taken.rate / limit:>9.2f}")


@dataclass(frozen=True, slots=True)
class Taken:
    """Spans a second and a CPU-second of the receiver, and the seconds until a request was acknowledged."""

    rate: float
    per_cpu: float
    ack_p50: float
    ack_max: float


def measure(url: str, pid: int, spans: int, size: int) -> Taken:
    """Send ``spans`` spans in requests of ``size`` to ``url``, served by process ``pid``."""
    bodies = [request_body(size) for _ in range(spans // size)]
    cpu, started = cpu_seconds(pid), time.perf_counter()
    waits = sorted(send_all(url, bodies))
    seconds, cpu = time.perf_counter() - started, cpu_seconds(pid) - cpu
    return Taken(spans / seconds, spans / cpu, waits[len(waits) // 2], waits[-1])


def line(size: int, taken: Taken) -> str:
    """Return the figures as the header names them."""
    return (f"{size:>10} {taken.rate:>9,.0f} {taken.per_cpu:>10,.0f} {taken.ack_p50:>8.3f}s "
            f"{taken.ack_max:>8.3f}s")  # fmt: skip


def start(data_dir: Path) -> subprocess.Popen[bytes]:
    """Return a running collector."""
    ports = {"TAXIMETER_COLLECTOR_HTTP_PORT": "0", "TAXIMETER_COLLECTOR_GRPC_PORT": "0"}
    collector = subprocess.Popen(
        [sys.executable, "-m", "taximeter_collector", "--data-dir", str(data_dir)],
        env=os.environ | ports,
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and "collector" not in read_ports(data_dir):
        time.sleep(0.05)
    return collector


def send_all(url: str, bodies: list[bytes]) -> list[float]:
    """Send every body once, again when asked to; return the seconds each waited for its 200."""
    waits: list[float] = []
    where = urlsplit(url)
    todo = iter(bodies)
    lock = threading.Lock()

    def client() -> None:
        connection = http.client.HTTPConnection(str(where.hostname), where.port)
        while True:
            with lock:
                body = next(todo, None)
            if body is None:
                return
            started = time.perf_counter()
            while post(connection, where.path, body) != 200:
                time.sleep(0.1)
            waits.append(time.perf_counter() - started)

    clients = [threading.Thread(target=client) for _ in range(CONNECTIONS)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    return waits


def post(connection: http.client.HTTPConnection, path: str, body: bytes) -> int:
    """Return the status of one export."""
    connection.request("POST", path, body, {"Content-Type": "application/x-protobuf"})
    answer = connection.getresponse()
    answer.read()
    return answer.status


def cpu_seconds(pid: int) -> float:
    """Return user and system seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def insert_ready_rows(data_dir: Path) -> float:
    """Return rows per second of inserting the stored rows again from Arrow, durably."""
    day = next(data_dir.glob("spans-*.duckdb"))
    con = duckdb.connect(":memory:")
    con.execute(f"attach '{day}' as source (read_only)")
    con.execute(f"attach '{data_dir}/limit.duckdb' as target (row_group_size 16384)")
    con.execute("create table target.span as select * from source.span limit 0")
    stored: pa.Table = con.sql("select * from source.span").to_arrow_table()
    groups = [stored.slice(at, 8192) for at in range(0, stored.num_rows, 8192)]
    started, rows = time.perf_counter(), 0
    for group in groups:
        con.register("ready", group)
        con.execute("begin; insert into target.span select * from ready; commit")
        rows += group.num_rows
    seconds = time.perf_counter() - started
    con.close()
    return rows / seconds


if __name__ == "__main__":
    main()
