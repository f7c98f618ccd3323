"""Damaged requests of real clients: refused or stored, never a crash, and what is stored is what was counted."""

from __future__ import annotations

import http.client
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat

from tests.faults.fuzz import corpus, try_seeds
from tests.faults.mutations import Mutant, mutant
from tests.patience import PATIENCE_S, wait_until
from tests.serving import Collector, collecting
from tests.telemetry import one, rows

from taximeter_collector.ingest.decode import METRIC_DATA, SIGNALS, read_messages
from taximeter_collector.store.store import Store


def stored_points(store: Store) -> int:
    found = rows(store, "select metric_kind, data from metric where data is not null")
    data = [read_messages(METRIC_DATA[kind], [sent]).column("data_points") for kind, sent in found]
    return sum(len(points[0]) for points in data)


def test_three_thousand_are_read_or_refused() -> None:
    statuses, _, findings = try_seeds(0, 3_000)
    assert findings == []
    assert set(statuses) == {200, 400, 415} and statuses.total() == 3_000


def answered(collector: Collector, sent: Mutant) -> int:
    """Return what becomes of a request whose client sends again while the collector is busy."""
    statuses: list[int] = []

    def is_settled() -> bool:
        statuses.append(post(collector, sent))
        return statuses[-1] != 503

    wait_until(is_settled)
    return statuses[-1]


def post(collector: Collector, sent: Mutant) -> int:
    """Send until it is no longer asked to come again; return the status."""
    while (status := post_once(collector, sent)) == 503:
        time.sleep(0.1)
    return status


def post_once(collector: Collector, sent: Mutant) -> int:
    connection = http.client.HTTPConnection(
        "127.0.0.1", collector.addresses.http_port, timeout=PATIENCE_S
    )
    headers = {"Content-Type": f"application/{'json' if sent.is_json else 'x-protobuf'}"}
    if sent.encoding:
        headers["Content-Encoding"] = sent.encoding
    try:
        connection.request("POST", f"/v1/{sent.signal}", sent.body, headers)
        return connection.getresponse().status
    finally:
        connection.close()


def test_over_http_the_store_holds_what_was_counted(store: Store) -> None:
    bodies = corpus()
    with collecting(store) as collector, ThreadPoolExecutor(16) as clients:
        sent = [mutant(bodies, seed) for seed in range(400)]
        statuses = Counter(clients.map(answered, repeat(collector), sent))
        assert set(statuses) == {200, 400, 415}, statuses
        counts = collector.ingest.counters.snapshot()
    assert one(store, "select count(*) from log_record") == (counts["logs", "stored", ""],)
    assert stored_points(store) == counts["metrics", "stored", ""]
    spans = "select count(*) from span where signal = 'span'"
    assert one(store, spans) == (counts["traces", "stored", ""],)
    for signal in SIGNALS:
        fates = Counter[str]()
        for (of, fate, _), items in counts.items():
            fates[fate] += items if of == signal else 0
        assert fates["received"] == fates["stored"] + fates["rejected"] + fates["duplicate"], signal
