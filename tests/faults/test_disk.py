"""A full or unwritable disk: retryable refusals, reads go on, and all of it comes back without a restart."""

from __future__ import annotations

import json
import os
import pwd
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from tests.faults.sending import SPANS, Process, Senders, request, stored_spans
from tests.faults.small_disk import MEBIBYTE, clear, fill, small_disk
from tests.patience import wait_until

from taximeter_collector.store.store import Store

FREE = {"TAXIMETER_STORE_MIN_FREE_BYTES": "0"}


@contextmanager
def collector(data_dir: Path, **environment: str) -> Iterator[Process]:
    process = Process(data_dir, environment, log=data_dir.parent.parent / "collector.log")
    process.start()
    try:
        yield process
    finally:
        process.stop()


def events(process: Process) -> list[str]:
    return [event["event"] for event in process.status()["store"]["events"]]


def all_stored_once(process: Process, senders: Senders) -> None:
    """Assert that what was acknowledged is stored, once, and followed."""
    stored = stored_spans(process)
    assert {trace: stored.get(trace) for trace in senders.acknowledged} == {
        trace: [SPANS, SPANS] for trace in senders.acknowledged
    }
    wait_until(
        lambda: (
            process.query("select count(*), sum(span_count) from requests")
            == [[len(stored), len(stored) * SPANS]]
        ),
        "the roll-ups",
    )


@pytest.mark.parametrize("leave", [0, 150_000], ids=["nothing left", "less than a checkpoint left"])
def test_a_full_disk_refuses_serves_reads_and_recovers(tmp_path: Path, leave: int) -> None:
    """Whether the write-ahead log or a checkpoint meets the end, of the spans or of the roll-ups."""
    environment = FREE | {"TAXIMETER_STORE_CHECKPOINT_THRESHOLD": "200KB"}
    with small_disk(tmp_path / "disk") as disk, collector(disk / "data", **environment) as process:
        senders = Senders(process, 4)
        wait_until(lambda: len(senders.acknowledged) > 20)
        fill(disk, leave)
        wait_until(lambda: senders.statuses.get(503, 0) > 5, "a refusal")
        assert process.query("select count(*) > 0 from spans") == [[True]]
        assert process.query("select count(*) >= 0 from requests") == [[True]]
        fill(disk, 0)
        time.sleep(1)
        clear(disk)
        at = len(senders.acknowledged)
        wait_until(lambda: len(senders.acknowledged) > at + 10, "recovery")
        senders.finish()
        assert set(senders.statuses) <= {200, 429, 503}
        all_stored_once(process, senders)
        seen = events(process)
        assert "store_unwritable" in seen and "store_writable" in seen
        assert process.status()["store"]["state"] == "ok"
        assert process.status()["store"]["alarms"] == []
        process.kill()
        process.start()
        all_stored_once(process, senders)
        assert process.status()["store"]["alarms"] == []


def test_ingest_is_refused_before_the_disk_is_full(tmp_path: Path) -> None:
    least = 20 * MEBIBYTE
    with (
        small_disk(tmp_path / "disk") as disk,
        collector(disk / "data", TAXIMETER_STORE_MIN_FREE_BYTES=str(least)) as process,
    ):
        senders = Senders(process, 2)
        wait_until(lambda: len(senders.acknowledged) > 5)
        fill(disk, least - MEBIBYTE)
        wait_until(lambda: senders.statuses.get(503, 0) > 3, "a refusal")
        status = process.status()
        assert status["store"]["state"] == "disk_low"
        assert "store.min_free_bytes" in status["store"]["message"]
        assert status["refused"]["traces"] >= 3 * SPANS
        assert {r["reason"] for r in status["reasons"] if r["fate"] == "refused"} == {"disk_low"}
        assert process.ask("GET", "/healthz")[1].startswith(b"disk_low: ")
        assert process.ask("GET", "/readyz")[0] == 503
        assert process.query("select count(*) > 0 from spans") == [[True]]
        clear(disk)
        senders.finish()
        all_stored_once(process, senders)
        assert events(process) == ["disk_low", "disk_ok"]
        assert process.ask("GET", "/healthz") == (200, b"ok\n")


# Permissions count for root too once it has given up the right to pass them by.
WITHOUT_PRIVILEGES = (
    () if os.getuid() else ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
)


def test_a_directory_that_becomes_unwritable_is_waited_for(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    environment = FREE | {"TAXIMETER_STORE_CHECKPOINT_THRESHOLD": "100KB"}
    process = Process(data_dir, environment, prefix=WITHOUT_PRIVILEGES)
    process.start()
    try:
        senders = Senders(process, 2)
        wait_until(lambda: len(senders.acknowledged) > 5)
        data_dir.chmod(stat.S_IRUSR | stat.S_IXUSR)
        wait_until(lambda: senders.statuses.get(503, 0) > 3, "a refusal")
        assert process.query("select count(*) > 0 from spans") == [[True]]
        assert process.status()["store"]["state"] == "unwritable"
        data_dir.chmod(0o700)
        senders.finish()
        all_stored_once(process, senders)
    finally:
        data_dir.chmod(0o700)
        process.stop()


def test_a_disk_that_is_back_is_noticed_although_nobody_sends(tmp_path: Path) -> None:
    """A balancer sends nobody to a collector that is not ready: it must find out by itself."""
    with small_disk(tmp_path / "disk") as disk, collector(disk / "data", **FREE) as process:
        assert process.post(request(0, 0)) == 200
        fill(disk, 0)
        wait_until(lambda: process.post(request(0, 1)) == 503, "a refusal")
        assert process.ask("GET", "/readyz")[0] == 503
        clear(disk)
        wait_until(lambda: process.ask("GET", "/readyz")[0] == 200, "readiness")
        assert process.post(request(0, 1)) == 200


def refused_start(data_dir: Path, prefix: tuple[str, ...] = ()) -> tuple[int, str, float]:
    """Return exit code, message and seconds of a collector that must not start."""
    ports = {"TAXIMETER_COLLECTOR_HTTP_PORT": "0", "TAXIMETER_COLLECTOR_GRPC_PORT": "0"}
    began = time.process_time_ns(), os.times()
    done = subprocess.run(
        [*prefix, sys.executable, "-m", "taximeter_collector", "--data-dir", str(data_dir)],
        env=os.environ | ports, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    ended = os.times()
    cpu_s = ended.children_user - began[1].children_user
    cpu_s += ended.children_system - began[1].children_system
    return done.returncode, done.stderr, cpu_s


def test_a_second_collector_ends_at_once_with_a_sentence(tmp_path: Path) -> None:
    with closing(Store(tmp_path)):
        before = {file: file.read_bytes() for file in tmp_path.glob("*.duckdb*")}
        code, said, cpu_s = refused_start(tmp_path)
        assert code == 2
        assert "in use by another collector: stop it" in said and said.count("\n") == 1
        assert cpu_s < 3
        assert {file: file.read_bytes() for file in tmp_path.glob("*.duckdb*")} == before


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "data")):
        pass
    before = sorted((tmp_path / "data").iterdir())
    for path in (tmp_path / "data", *before):
        os.chown(path, pwd.getpwnam("nobody").pw_uid, -1)
    code, said, cpu_s = refused_start(tmp_path / "data", WITHOUT_PRIVILEGES)
    assert code == 2 and cpu_s < 3
    assert "can't be written" in said and said.count("\n") == 1
    assert sorted((tmp_path / "data").iterdir()) == before


def test_a_read_only_disk_is_refused(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        with closing(Store(disk / "data")):
            pass
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        code, said, cpu_s = refused_start(disk / "data")
        assert code == 2 and cpu_s < 3
        assert "Read-only file system" in said and said.count("\n") == 1


def test_a_collector_starts_on_a_full_disk_and_takes_in_when_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        (disk / "data").mkdir()
        with collector(disk / "data", **FREE) as process:
            assert process.post(b"") == 200
            sent = Senders(process, 1)
            wait_until(lambda: len(sent.acknowledged) > 2)
            sent.finish()
        fill(disk, 0)
        with collector(disk / "data", TAXIMETER_TEST_DAYS="1", **FREE) as process:
            assert process.query("select count(*) > 0 from spans") == [[True]]
            more = Senders(process, 1, make=lambda sender, number: request(7, number))
            wait_until(lambda: more.statuses.get(503, 0) > 1, "a refusal")
            assert json.loads(process.ask("GET", "/v1/status")[1])["store"]["state"] == "unwritable"
            clear(disk)
            wait_until(lambda: len(more.acknowledged) > 0, "recovery")
            more.finish()
