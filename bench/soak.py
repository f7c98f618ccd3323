"""A collector under a steady load for a while, with readers, retention and checkpoints: does anything grow or stall?

`python bench/soak.py --minutes 30 --rate 5000` sends over HTTP at a fixed pace, so a slow acknowledgement delays no
later request and its wait counts from when it was due. Beside it three readers ask what pages ask, a probe waits until
its own call is visible in `calls`, and old days are deleted and lose their content.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import tempfile
import threading
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from ingest import cpu_seconds, start
from traffic import request_body

from taximeter.settings.ports import read_ports
from taximeter_collector.derive.deriver import Deriver
from taximeter_collector.ingest.ingest import Ingest
from taximeter_collector.store.store import Store

OLD_DAYS = 6
READERS = (
    "select minute, sum(requests), sum(cost_pico) from usage_minute group by all order by minute desc limit 60",
    "select request_id, cost_usd from requests order by start_time desc limit 50",
    "select model, count(*), sum(cost_pico) from calls group by all",
)
AGAIN = (429, 503)


@dataclass
class Seen:
    """What the threads saw."""

    acks_s: list[float] = field(default_factory=list)
    visible_s: list[float] = field(default_factory=list)
    rss_mb: list[tuple[float, float]] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    reads: Counter[int] = field(default_factory=Counter)
    wal_bytes: int = 0
    done: threading.Event = field(default_factory=threading.Event)


def main() -> None:
    """Run the load and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--rate", type=int, default=500, help="spans a second")
    parser.add_argument("--request", type=int, default=50, help="spans a request")
    parser.add_argument("--connections", type=int, default=100, help="processes of the fleet: each waits for one answer at a time")  # fmt: skip
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder)
        make_old_days(data_dir)
        collector = start(data_dir)
        try:
            port, seen = read_ports(data_dir)["collector"]["http_port"], Seen()
            cpu = cpu_seconds(collector.pid)
            run(port, collector.pid, data_dir, seen, asked)
            cpu = cpu_seconds(collector.pid) - cpu
        finally:
            collector.terminate()
            collector.wait(60)
        report(seen, asked, cpu, len(list(data_dir.glob("spans-*.duckdb"))))


def make_old_days(data_dir: Path) -> None:
    """Write days that retention deletes or takes the content of as soon as the collector runs."""
    with closing(Store(data_dir)) as store, closing(Deriver(store)) as rollups:
        for back in range(OLD_DAYS):
            day = datetime.now(UTC) - timedelta(days=25 + back)
            with closing(
                Ingest(store, on_commit=rollups.notify, now=partial(moment, day))
            ) as ingest:
                ingest.submit("traces", request_body(512)).result(60)


def moment(day: datetime) -> datetime:
    """Return the day itself: a clock that stands still."""
    return day


def run(port: int, pid: int, data_dir: Path, seen: Seen, asked: argparse.Namespace) -> None:
    """Let all threads work for the time that was asked."""
    numbers, lock, began = itertools.count(), threading.Lock(), time.monotonic()
    ends = began + asked.minutes * 60

    def send() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while True:
            with lock:
                due = began + next(numbers) * asked.request / asked.rate
            if due >= ends:
                return
            body = request_body(asked.request)
            time.sleep(max(due - time.monotonic(), 0))
            deliver(connection, body, seen)
            seen.acks_s.append(time.monotonic() - due)

    senders = [threading.Thread(target=send) for _ in range(asked.connections)]
    others = [threading.Thread(target=read, args=(port, sql, seen)) for sql in READERS]
    others += [threading.Thread(target=probe, args=(port, seen))]
    others += [threading.Thread(target=watch, args=(pid, data_dir, seen))]
    for thread in (*senders, *others):
        thread.start()
    for thread in senders:
        thread.join()
    seen.done.set()
    for thread in others:
        thread.join()


def deliver(connection: http.client.HTTPConnection, body: bytes, seen: Seen) -> None:
    """Send until it is acknowledged; a refusal says to come again in a second."""
    while (status := ask(connection, "/v1/traces", body, "application/x-protobuf")[0]) in AGAIN:
        seen.statuses[status] += 1
        time.sleep(1)
    seen.statuses[status] += 1


def ask(
    connection: http.client.HTTPConnection, path: str, body: bytes, type: str
) -> tuple[int, bytes]:
    """Return status and body of one POST."""
    connection.request("POST", path, body, {"Content-Type": type, "Accept": "application/json"})
    response = connection.getresponse()
    return response.status, response.read()


def query(connection: http.client.HTTPConnection, sql: str) -> tuple[int, Any]:
    """Return status and rows of a query."""
    asked = json.dumps({"sql": sql}).encode()
    status, answer = ask(connection, "/v1/query", asked, "application/json")
    return status, json.loads(answer).get("rows")


def read(port: int, sql: str, seen: Seen) -> None:
    """Ask as a page does that is refreshed every two seconds."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    while not seen.done.wait(2):
        seen.reads[query(connection, sql)[0]] += 1


def probe(port: int, seen: Seen) -> None:
    """Send a call of its own and wait until `calls` shows it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    while not seen.done.wait(0.5):
        body = request_body(10)
        began = time.monotonic()
        deliver(connection, body, Seen())
        sql = f"select 1 from calls where trace_id = '{trace_of(body)}' limit 1"
        while not query(connection, sql)[1] and not seen.done.is_set():
            time.sleep(0.1)
        if not seen.done.is_set():
            seen.visible_s.append(time.monotonic() - began)


def trace_of(body: bytes) -> str:
    """Return the id of the request's first trace."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    message = ExportTraceServiceRequest.FromString(body)
    return message.resource_spans[0].scope_spans[0].spans[0].trace_id.hex()


def watch(pid: int, data_dir: Path, seen: Seen) -> None:
    """Note resident memory and the write-ahead logs every second."""
    began = time.monotonic()
    while not seen.done.wait(1):
        seen.rss_mb.append((time.monotonic() - began, resident_mb(pid)))
        sizes = []
        for file in data_dir.glob("*.wal"):
            try:
                sizes.append(file.stat().st_size)
            except FileNotFoundError:  # a checkpoint removes it
                continue
        seen.wal_bytes = max(seen.wal_bytes, *sizes, 0)


def resident_mb(pid: int) -> float:
    """Return a process's resident memory in MB."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) / 1024


def slope(points: list[tuple[float, float]]) -> float:
    """Return the growth a minute of the second half, by least squares.

    >>> slope([(0, 9.0), (30, 9.0), (60, 1.0), (90, 2.0), (120, 3.0)])
    2.0
    """
    half = [(at, value) for at, value in points if at >= points[-1][0] / 2]
    mean_at, mean = (sum(column) / len(half) for column in zip(*half, strict=True))
    below = sum((at - mean_at) ** 2 for at, _ in half)
    return 60 * sum((at - mean_at) * (value - mean) for at, value in half) / below if below else 0.0


def report(seen: Seen, asked: argparse.Namespace, cpu: float, days: int) -> None:
    """Print what was seen."""
    acks, visible = sorted(seen.acks_s), sorted(seen.visible_s)
    spans = len(acks) * asked.request
    print(
        f"{asked.minutes:g} minutes at {asked.rate:,} spans/s: {spans:,} spans acknowledged, {cpu:,.0f} CPU-s of the collector"
    )
    print(
        f"ack p50 {at(acks, 0.5):.3f} s, p99 {at(acks, 0.99):.3f} s, max {acks[-1]:.3f} s, from when a request was due"
    )
    print(
        f"visible in calls p50 {at(visible, 0.5):.2f} s, p99 {at(visible, 0.99):.2f} s of {len(visible)} probes"
    )
    print(
        f"RSS {seen.rss_mb[0][1]:,.0f} to {seen.rss_mb[-1][1]:,.0f} MB, peak {max(v for _, v in seen.rss_mb):,.0f}, slope {slope(seen.rss_mb):+.2f} MB/min"
    )
    print(
        f"largest write-ahead log {seen.wal_bytes / 2**20:,.1f} MiB; day files that still have content: {days}"
    )
    print(f"answers to senders {dict(seen.statuses)}, to readers {dict(seen.reads)}")


def at(ordered: list[float], q: float) -> float:
    """Return the value at a quantile."""
    return ordered[min(int(len(ordered) * q), len(ordered) - 1)] if ordered else float("nan")


if __name__ == "__main__":
    main()
