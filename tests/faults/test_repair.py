"""`taximeter repair` reads every row, saves what it can, and says what it could not; `taximeter status` tells of it."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import duckdb
from tests.faults.sending import Process
from tests.telemetry import Span, commit, one

from taximeter_collector.store.store import Store

SPANS = 40_000


def taximeter(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "taximeter", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def many_spans(data_dir: Path) -> Path:
    """Write a day of SPANS spans in several row groups; return its file."""
    with closing(Store(data_dir)) as store:
        for start in range(0, SPANS, 8_000):
            text = (("text", f"said in {start} " * 20),)
            commit(store, [Span(start + at + 1, 1, attributes=text) for at in range(8_000)])
    (file,) = data_dir.glob("spans-*.duckdb")
    return file


def block_of(file: Path, column: str) -> int:
    """Return where a block with values of a column begins: blocks of 256 KiB follow three headers."""
    with duckdb.connect() as con:
        con.execute(f"attach '{file}' as day (read_only)")
        rows = con.execute(
            "select block_id from pragma_storage_info('day.span') where column_name = $1"
            " and block_id >= 0 and row_group_id = 1 limit 1",
            [column],
        ).fetchall()
    return 12288 + int(rows[0][0]) * 262144


def test_rows_of_whole_blocks_are_saved_and_the_rest_is_counted(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    file = many_spans(data_dir)
    whole = taximeter("repair", "--data-dir", str(data_dir))
    assert (whole.returncode, whole.stdout.splitlines()[-1]) == (0, "Nothing was lost.")
    damaged = bytearray(file.read_bytes())
    block = block_of(file, "attributes")
    damaged[block + 1000 : block + 1008] = b"damage! "
    file.write_bytes(damaged)

    done = taximeter("repair", "--data-dir", str(data_dir))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    (saved,) = [line for line in done.stdout.splitlines() if line.startswith("  span: ")]
    rows, lost = (int(word.replace(",", "")) for word in saved.split() if word[0].isdigit())
    assert rows + lost == SPANS and rows > 0
    (kept,) = (data_dir / "set_aside").glob("*-spans-*.duckdb")
    assert kept.read_bytes() == bytes(damaged)
    with closing(Store(data_dir)) as store:
        assert one(store, "select count(*) from spans") == (rows,)
        assert store.incidents.alarms == []


def test_a_running_collector_keeps_repair_away_and_tells_its_state(tmp_path: Path) -> None:
    process = Process(tmp_path / "data", module="taximeter_collector")
    process.start()
    try:
        refused = taximeter("repair", "--data-dir", str(process.data_dir))
        assert refused.returncode == 2
        assert "in use by another collector" in refused.stderr and refused.stderr.count("\n") == 1
        status = taximeter("status", "--data-dir", str(process.data_dir))
        assert (status.returncode, status.stdout.splitlines()[0]) == (0, "store: ok")
    finally:
        process.kill()
    log = next(process.data_dir.glob("rollup.duckdb.wal"))
    log.write_bytes(log.read_bytes()[:-20] + bytes(20))
    process.start()
    try:
        alarmed = taximeter("status", "--data-dir", str(process.data_dir))
        assert alarmed.returncode == 1
        assert "ALARM" in alarmed.stdout and "write-ahead log" in alarmed.stdout
    finally:
        process.stop()
    assert taximeter("repair", "--data-dir", str(process.data_dir)).returncode == 1
    assert taximeter("repair", "--data-dir", str(process.data_dir)).returncode == 0
