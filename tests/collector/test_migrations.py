"""Data of older releases (`tests/data/store-<commit>.tar.xz`) opens, complete and right; of newer ones it is refused."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.patience import wait_until
from tests.telemetry import body, chat, one

from taximeter_collector.derive import derive
from taximeter_collector.derive.deriver import Deriver
from taximeter_collector.derive.verify import verify_window
from taximeter_collector.ingest.ingest import Ingest
from taximeter_collector.store.data_files import DAY_TABLES
from taximeter_collector.store.migrations import FORMAT, NewerFormat
from taximeter_collector.store.store import Store

DATA = Path(__file__).parents[1] / "data"
OLD = ("791cff4", "b727628")
EPOCH, FUTURE = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


def unpack(commit: str, folder: Path) -> Path:
    with tarfile.open(DATA / f"store-{commit}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


def counted(folder: Path) -> Mapping[str, int]:
    """Return the rows of each table in the files, read without any of our code."""
    found: dict[str, int] = {}
    for file in folder.glob("*.duckdb"):
        with duckdb.connect() as con:
            con.execute(f"attach '{file}' as f (read_only)")
            for (table,) in con.execute(
                "select table_name from duckdb_tables() where database_name = 'f'"
            ).fetchall():
                rows = con.execute(f"select count(*) from f.{table}").fetchall()[0][0]
                found[table] = found.get(table, 0) + rows
    return found


@pytest.mark.parametrize("commit", OLD)
def test_an_older_store_opens_complete_and_verifies(tmp_path: Path, commit: str) -> None:
    before = counted(unpack(commit, tmp_path))
    assert before["span"] > 200 and before["metric"] and before["log_record"]
    with closing(Store(tmp_path)) as store, closing(Deriver(store, settle_s=0.01)):
        wait_until(lambda: one(store, "select count(*) from rollup.to_derive") == (0,))
        for table in DAY_TABLES:
            assert one(store, f"select count(*) from {table}") == (before[table],), table
        with store.cursor() as cursor:
            report = verify_window(store, cursor, EPOCH, FUTURE)
    assert report.traces > 40 and report.differences == [] and report.is_right


def test_nothing_changes_where_only_the_layout_did(tmp_path: Path) -> None:
    before = counted(unpack("b727628", tmp_path))
    sums = "select count(*), sum(cost_pico), sum(prompt_tokens), count(*) filter (is_retry) from {}call"
    with duckdb.connect(str(tmp_path / "rollup.duckdb"), read_only=True) as con:
        told = con.execute(sums.format("")).fetchall()[0]
    with closing(Store(tmp_path)) as store, closing(Deriver(store, settle_s=0.01)):
        wait_until(lambda: one(store, "select count(*) from rollup.to_derive") == (0,))
        assert one(store, sums.format("rollup.")) == told
        for table in ("call", "request", "agent_run", "tool_call", "usage_minute"):
            assert one(store, f"select count(*) from rollup.{table}") == (before[table],), table
        # Content that came before stays where it was, and shows.
        asked = "select count(*) from spans where attributes['gen_ai.input.messages'] is not null"
        assert one(store, asked)[0] > 0
        read_out = "select count(input_hash) > 50, count(max_output_tokens) > 0, count(marks) > 0 from span"
        assert one(store, read_out) == (True, True, True)


def test_a_migrated_store_takes_more_and_is_migrated_once(tmp_path: Path) -> None:
    spans = counted(unpack("b727628", tmp_path))["span"]
    for again in range(2):
        with (
            closing(Store(tmp_path)) as store,
            closing(Deriver(store, settle_s=0.01)) as rollups,
            closing(Ingest(store, on_commit=rollups.notify)) as ingest,
        ):
            waiting = one(store, "select count(*) from rollup.to_derive")[0]
            assert again == 0 or waiting == 0
            wait_until(lambda: one(store, "select count(*) from rollup.to_derive") == (0,))
            ingest.submit("traces", body([chat(70 + again, 1)])).result(60)
            assert one(store, "select count(*) from spans") == (spans + again + 1,)
            assert one(store, "select min(version) from rollup.file_format") == (FORMAT,)


def test_a_migration_that_fails_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = counted(unpack("b727628", tmp_path))

    def fail(*_: object) -> None:
        raise duckdb.OutOfMemoryException("no room")

    with monkeypatch.context() as patch:
        patch.setattr("taximeter_collector.store.migrations._run_step", fail)
        with pytest.raises(duckdb.OutOfMemoryException):
            Store(tmp_path)
    assert counted(tmp_path) == before
    with closing(Store(tmp_path)) as store:
        assert one(store, "select count(*) from spans") == (before["span"],)


def test_one_trace_that_can_not_be_derived_again_keeps_its_rows_and_no_other_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    unpack("b727628", tmp_path)
    with closing(Store(tmp_path)) as store:
        (bad,) = one(store, "select min(trace_id) from rollup.to_derive")
        again, derived = derive.derive_again, list[str]()

        def fail_for_one(cursor: Any, prices: Any, traces: list[str], *rest: Any) -> None:
            if bad in traces:
                raise duckdb.InvalidInputException("this one")
            derived.extend(traces)
            again(cursor, prices, traces, *rest)

        monkeypatch.setattr(derive, "derive_again", fail_for_one)
        (waiting,) = one(store, "select count(*) from rollup.to_derive")
        with closing(Deriver(store, settle_s=0.01)):
            wait_until(lambda: one(store, "select count(*) from rollup.to_derive") == (0,))
        assert len(set(derived)) == waiting - 1
    assert [r.getMessage() for r in caplog.records if bad in r.getMessage()] != []


@pytest.mark.parametrize("name", ["rollup", "day"])
def test_a_newer_file_is_refused_and_nothing_is_touched(tmp_path: Path, name: str) -> None:
    unpack("791cff4", tmp_path)
    (day,) = tmp_path.glob("spans-*.duckdb")
    with duckdb.connect(str(day if name == "day" else tmp_path / "rollup.duckdb")) as con:
        con.execute("create table file_format as select 99 as version")
    files = {file: file.read_bytes() for file in tmp_path.glob("*.duckdb")}
    with pytest.raises(NewerFormat, match=f"has format 99, this release reads up to {FORMAT}"):
        Store(tmp_path)
    assert {file: file.read_bytes() for file in files} == files


def test_the_collector_says_so_in_one_line_and_ends_with_2(tmp_path: Path) -> None:
    with closing(Store(tmp_path)):
        pass
    with duckdb.connect(str(tmp_path / "rollup.duckdb")) as con:
        con.execute("update file_format set version = 99")
    command = [sys.executable, "-m", "taximeter_collector", "--data-dir", str(tmp_path)]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert ended.stderr.startswith("taximeter collector: ") and ended.stderr.count("\n") == 1
    assert "start the release that wrote it" in ended.stderr
