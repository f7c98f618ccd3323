"""Rows of the fault matrix that no other file has: stops, refusals, overload, stalls, slow readers, wrong clocks."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import duckdb
import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from tests.faults.sending import SPANS, Process, Senders, request, stored_spans
from tests.patience import PATIENCE_S, wait_until
from tests.serving import collecting
from tests.telemetry import body, chat, follow, one, rows

from taximeter_collector.derive.deriver import Deriver
from taximeter_collector.ingest import writer
from taximeter_collector.ingest.ingest import Ingest, StoreUnavailable, Undecodable
from taximeter_collector.store.incidents import Incidents
from taximeter_collector.store.store import Store

EXIT_S = 30.0
"""Orchestrators kill after so long. docs/operations.md promises half of it, to a machine of its own."""


def has_sent(senders: Senders, wanted: int) -> bool:
    return len(senders.acknowledged) >= wanted


def is_taken(process: Process, data: bytes) -> bool:
    return process.post(data) == 200


def moment(now: datetime) -> datetime:
    return now


def test_sigterm_under_load_loses_nothing_and_ends_in_time(tmp_path: Path) -> None:
    """SIGTERM under load: five rounds; each ends in time, and what was acknowledged is there once."""
    process = Process(tmp_path / "data", module="taximeter_collector")
    process.start()
    senders = Senders(process, 3)
    for _ in range(5):
        wanted = len(senders.acknowledged) + 2
        wait_until(partial(has_sent, senders, wanted), "requests")
        took = process.stop()
        assert process.running is not None and process.running.returncode == 0
        assert took <= EXIT_S
        process.start()
    senders.finish()
    stored = stored_spans(process)
    process.stop()
    assert all(stored.get(trace) == [SPANS, SPANS] for trace in senders.acknowledged)


def test_all_spans_of_a_real_exporter_arrive_while_seven_of_ten_commits_fail(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Backend refuses 70 %: 10,000 spans of OpenTelemetry's exporter, which tries again."""
    real, random, refused = writer.Writer._commit, Random(1), 0

    def refusing(self: writer.Writer, cursor: Any, group: Any) -> Any:
        nonlocal refused
        if random.random() < 0.7:
            refused += 1
            raise StoreUnavailable("as the test wants it")
        return real(self, cursor, group)

    monkeypatch.setattr(writer.Writer, "_commit", refusing)
    with collecting(store, settle_s=600) as collector:
        # Of the exporter's own ten seconds a few tries are left; a batch is given up after them.
        exporter = OTLPSpanExporter(f"{collector.url}/v1/traces", timeout=300)
        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(exporter, 20_000, max_export_batch_size=5_000))  # fmt: skip
        tracer = provider.get_tracer("test")
        for number in range(10_000):
            tracer.start_span(f"span {number}").end()
        provider.force_flush(300_000)
        provider.shutdown()
    assert refused > 0
    assert one(store, "select count(*), count(distinct name) from spans") == (10_000, 10_000)


def test_an_overload_is_refused_with_a_time_to_come_again_and_all_arrives(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Overload: a writer slower than the clients; only 200, 429 and 503, and never more than 4 MiB waits."""
    real = writer.Writer._commit

    def slow(self: writer.Writer, cursor: Any, group: Any) -> Any:
        time.sleep(0.5)
        return real(self, cursor, group)

    monkeypatch.setattr(writer.Writer, "_commit", slow)
    text = "x" * 50_000
    with collecting(store, settle_s=600, queue_bytes=4 << 20) as collector:
        most, refusals = 0, list[tuple[int, str | None]]()

        def refusal(data: bytes) -> tuple[int, str | None] | None:
            sent = Request(f"{collector.url}/v1/traces", data, {"Content-Type": "application/x-protobuf"})  # fmt: skip
            try:
                with urlopen(sent, timeout=PATIENCE_S):
                    return None
            except HTTPError as error:
                return error.code, error.headers["Retry-After"]

        def client(number: int) -> None:
            nonlocal most
            for at in range(2):
                call = chat(number * 100 + at + 1, 1)
                spans = [type(call)(call.trace, n + 1, attributes=(*call.attributes, ("text", text))) for n in range(10)]  # fmt: skip
                while refused := refusal(body(spans)):
                    refusals.append(refused)
                    most = max(most, collector.ingest.queue_bytes)
                    time.sleep(0.1)

        with ThreadPoolExecutor(16) as clients:
            list(clients.map(client, range(16)))
        assert refusals and set(refusals) <= {(429, "1"), (503, "1")}
        assert 0 < most <= 4 << 20
        counts = collector.ingest.counters.snapshot()
    assert counts["traces", "refused", "queue_full"] == 10 * len(refusals)
    assert one(store, "select count(*), count(distinct (trace_id, span_id)) from spans") == (320, 320)  # fmt: skip


def test_a_stalled_writer_is_told_in_time_and_no_threads_pile_up(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writer stalled: who waits hears 503 in the time that clients wait, those after at once."""
    from taximeter_collector.receivers import acceptance

    assert acceptance.ANSWER_WITHIN_S <= 8 and writer.STALLED_S <= 8
    monkeypatch.setattr(acceptance, "ANSWER_WITHIN_S", 0.5)
    monkeypatch.setattr(writer, "STALLED_S", 0.5)
    go_on, real = threading.Event(), writer.Writer._commit

    def stalled(self: writer.Writer, cursor: Any, group: Any) -> Any:
        go_on.wait(60)
        return real(self, cursor, group)

    monkeypatch.setattr(writer.Writer, "_commit", stalled)
    with collecting(store, settle_s=600) as collector:
        process = Process(store.data_dir, port=collector.addresses.http_port)
        sent = [request(1, number) for number in range(10)]
        try:
            assert process.post(sent[0]) == 503
            before = threading.active_count()
            assert {process.post(data) for data in sent} == {503}
            assert threading.active_count() <= before
            counts = collector.ingest.counters.snapshot()
            assert counts["traces", "refused", "stalled"] >= 9 * SPANS
        finally:
            go_on.set()
        for data in sent[:2]:
            wait_until(partial(is_taken, process, data), "an acknowledgement")
    assert one(store, "select count(*), count(distinct (trace_id, span_id)) from spans") == (2 * SPANS,) * 2  # fmt: skip


def test_a_query_that_never_ends_holds_up_no_commit(store: Store) -> None:
    """Reader hung: a query runs for as long as requests are sent, and each is acknowledged meanwhile."""
    endless = "select count(*) from range(1000000000) a, range(1000000000) b"
    asked = json.dumps({"sql": endless, "timeout_ms": 60_000}).encode()
    with ThreadPoolExecutor(1) as reader, collecting(store, settle_s=600) as collector:
        process = Process(store.data_dir, port=collector.addresses.http_port)
        query = reader.submit(process.ask, "POST", "/v1/query", asked)
        for number in range(2):
            wait_until(partial(is_taken, process, request(1, number)), "an acknowledgement")
        assert not query.done()
    assert query.result()[0] in (503, 504)


@pytest.mark.parametrize("years", [-10, 10])
def test_a_clock_ten_years_off_loses_nothing(tmp_path: Path, years: int) -> None:
    """Clock: rows are kept by the day of their receipt, before and after the clock is put right."""
    right = datetime.now(UTC)
    wrong = right + timedelta(days=365 * years)
    with closing(Store(tmp_path)) as store:
        for number, now in enumerate([right, wrong, right], 1):
            with closing(Ingest(store, now=partial(moment, now))) as ingest:
                ingest.submit("traces", body([chat(number, 1)])).result(60)
        follow(store)
        assert one(store, "select count(*) from spans") == (3,)
        assert one(store, "select count(*) from requests") == (3,)
        assert len(store.files.days()) == 2


def test_a_fault_of_the_rows_is_permanent_and_of_the_store_is_not(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Poison: what a request meets alone each time is refused for good, anything else may pass."""
    cases: list[tuple[Exception, type[Exception]]] = [
        (duckdb.ConversionException("no number"), Undecodable),
        (duckdb.InvalidInputException("map keys must be unique"), Undecodable),
        (KeyError("no such field"), Undecodable),
        (OverflowError("too large"), Undecodable),
        (MemoryError(), StoreUnavailable),
        (duckdb.IOException("disk"), StoreUnavailable),
        (duckdb.OutOfMemoryException("memory"), StoreUnavailable),
        (RuntimeError("who knows"), StoreUnavailable),
    ]
    with closing(Ingest(store)) as ingest:
        for number, (error, wanted) in enumerate(cases):
            store.health.worked()

            def failing(*_: object, error: Exception = error) -> None:
                raise error

            with monkeypatch.context() as patch:
                patch.setattr(ingest._writer, "_commit", failing)
                with pytest.raises(wanted):
                    ingest.submit("traces", body([chat(number + 1, 1)])).result(60)
        store.health.worked()
        assert ingest.submit("traces", body([chat(99, 1)])).result(60).accepted == 1


def test_a_follower_that_is_busy_at_the_end_does_not_keep_the_store_open(tmp_path: Path) -> None:
    """Stop while following: it is interrupted, the store closes, and the next start follows the rest."""
    store = Store(tmp_path)
    rollups = Deriver(store, settle_s=0.01, finish_s=0.1)
    busy = "select count(*) from range(1000000000) a, range(1000000000) b"
    task = rollups.run(lambda cursor: cursor.execute(busy).fetchall())
    time.sleep(0.2)
    rollups.close()
    store.close()
    with pytest.raises(duckdb.InterruptException):
        task.result(1)
    with closing(Store(tmp_path)) as again:
        assert rows(again, "select count(*) from spans") == [(0,)]


def test_an_ill_file_does_not_end_the_follower(tmp_path: Path) -> None:
    """Store fault between two steps: what is asked of the follower later is still done."""
    rename = "alter table rollup.{} rename to {}".format
    with closing(Store(tmp_path)) as store, closing(Deriver(store, settle_s=0.01)) as rollups:
        rollups.run(lambda cursor: cursor.execute(rename("repricing", "gone"))).result(60)
        rollups.run(lambda cursor: cursor.execute(rename("gone", "repricing"))).result(60)


def test_a_log_on_a_full_disk_stops_nobody(tmp_path: Path) -> None:
    """Full disk: the line that says so can't be written either; the state is told all the same."""

    with Path("/dev/full").open("w") as full:
        incidents = Incidents(tmp_path, full)
        incidents.report("store_unwritable", "No space left on device.")
        with suppress(OSError):
            full.close()
    assert [event["event"] for event in incidents.recent] == ["store_unwritable"]


def test_a_damaged_block_that_a_query_meets_raises_one_alarm(tmp_path: Path) -> None:
    """Damaged block: the query and the status say to run repair; other columns are served."""
    with closing(Store(tmp_path)) as store, closing(Ingest(store)) as ingest:
        spans = [chat(number + 1, 1, response_id=f"r{number}" * 20) for number in range(3_000)]
        ingest.submit("traces", body(spans)).result(60)
    (file,) = tmp_path.glob("spans-*.duckdb")
    with duckdb.connect() as con:
        con.execute(f"attach '{file}' as day (read_only)")
        (block,) = con.execute(
            "select block_id from pragma_storage_info('day.span') where column_name = 'attributes' and block_id >= 0 limit 1"
        ).fetchall()[0]
    damaged = bytearray(file.read_bytes())
    at = 12288 + block * 262144 + 1000
    damaged[at : at + 8] = b"damage! "
    file.write_bytes(damaged)
    with closing(Store(tmp_path)) as store, collecting(store, settle_s=600) as collector:
        process = Process(store.data_dir, port=collector.addresses.http_port)
        asked = json.dumps(
            {"sql": "select max(attributes['gen_ai.response.id']) from spans"}
        ).encode()
        for _ in range(2):
            status, answer = process.ask("POST", "/v1/query", asked)
            assert status == 500 and b"taximeter repair" in answer, answer
        alarms = [alarm["event"] for alarm in process.status()["store"]["alarms"]]
        assert alarms == ["block_damaged"]
        assert process.post(request(1, 1)) == 200
