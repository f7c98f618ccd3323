"""A backup under load has all that was acknowledged before it, and restores into a right store."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import threading
from contextlib import closing
from pathlib import Path

import pytest
from tests.patience import wait_until
from tests.serving import collector
from tests.telemetry import body, chat, one
from tests.transfer.stored import content, fill, is_right

from taximeter_collector.query.read_api import QueryFault
from taximeter_collector.store.migrations import FORMAT
from taximeter_collector.store.store import Store
from taximeter_collector.transfer.__main__ import main
from taximeter_collector.transfer.manifest import NotUsable
from taximeter_collector.transfer.restore import restore
from taximeter_collector.transfer.snapshot import take_backup
from taximeter_collector.transfer.stream import Sender


def run(*words: object) -> int:
    return main([str(word) for word in words])


def test_under_load_acknowledged_rows_are_in_it_and_nobody_waits(tmp_path: Path) -> None:
    data = tmp_path / "data"
    stop, acknowledged = threading.Event(), [0]

    with collector(data) as (store, _, ingest):

        def load() -> None:
            n = 100
            while not stop.is_set():
                ingest.submit("traces", body([chat(n, 1, start=n * 9)])).result(60)
                acknowledged[0], n = acknowledged[0] + 1, n + 1

        sender = threading.Thread(target=load)
        sender.start()
        try:
            wait_until(lambda: acknowledged[0] > 30)
            for number in range(20):  # until one is taken while a commit comes in
                copy = data / f"copy{number}"
                copy.mkdir()
                before = acknowledged[0]
                manifest = take_backup(store, copy)
                after = acknowledged[0]
                assert before <= manifest.total["span"] <= after + 1
                if after > before:
                    break
        finally:
            stop.set()
            sender.join()
    assert after > before  # commits went on
    restore(copy, tmp_path / "other")
    with collector(tmp_path / "other") as (store, _, _):
        assert one(store, "select count(*) from spans") == (manifest.total["span"],)
        wait_until(lambda: one(store, "select count(*) from calls") == (manifest.total["span"],))
        assert is_right(store)


def test_the_commands_take_it_back_exactly(tmp_path: Path) -> None:
    fill(tmp_path / "data")
    with closing(Store(tmp_path / "data")) as store:
        before = content(store)
    assert run("backup", tmp_path / "copy", "--data-dir", tmp_path / "data") == 0
    assert run("restore", tmp_path / "copy", "--data-dir", tmp_path / "other") == 0
    with collector(tmp_path / "other") as (store, _, ingest):
        assert content(store) == before and is_right(store)
        # A request that was stored before the backup is still known.
        first = ingest.submit("traces", body([chat(10, 1, start=500_000)])).result(60)
        assert first.duplicate
    assert not [file for file in (tmp_path / "data").iterdir() if file.name.startswith("sending")]


def test_a_running_collector_sends_it(tmp_path: Path) -> None:
    fill(tmp_path / "data", count=3)
    ports = ["TAXIMETER_COLLECTOR_HTTP_PORT=0", "TAXIMETER_COLLECTOR_GRPC_PORT=0"]
    command = ["env", *ports, sys.executable, "-m", "taximeter_collector"]
    with subprocess.Popen(
        [*command, "--data-dir", str(tmp_path / "data")], stdout=subprocess.PIPE, text=True
    ) as running:
        try:
            assert running.stdout is not None and "OTLP/HTTP" in running.stdout.readline()
            for kind in ("backup", "export"):
                assert run(kind, tmp_path / kind, "--data-dir", tmp_path / "data") == 0
            assert run("export", tmp_path / "no", "--since", "never") == 2
            assert run("restore", tmp_path / "backup", "--data-dir", tmp_path / "data", "--force") == 2  # fmt: skip
            assert run("import", tmp_path / "export", "--data-dir", tmp_path / "data") == 2
        finally:
            running.terminate()
    manifest = json.loads((tmp_path / "backup" / "manifest.json").read_text())
    assert sum(rows.get("span", 0) for rows in manifest["rows"].values()) == 8
    restore(tmp_path / "backup", tmp_path / "other")
    with closing(Store(tmp_path / "other")) as store:
        assert one(store, "select count(*) from spans") == (8,)


def test_a_client_that_goes_before_the_first_piece_blocks_no_other(tmp_path: Path) -> None:
    fill(tmp_path / "data", count=1)
    with closing(Store(tmp_path / "data")) as store:
        sender = Sender(store)
        for _ in range(2):
            pieces = sender.backup({})
            assert list((tmp_path / "data").glob("sending-*"))
            with pytest.raises(QueryFault, match="Another backup"):
                sender.export({})
            del pieces
            assert not list((tmp_path / "data").glob("sending-*"))


def test_data_that_is_there_is_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path / "data", count=2)
    fill(tmp_path / "mine", first=60, count=5)
    assert run("backup", tmp_path / "copy", "--data-dir", tmp_path / "data") == 0
    target = ("restore", tmp_path / "copy", "--data-dir", tmp_path / "mine")
    assert run(*target) == 2
    assert "add --force to set that data aside" in capsys.readouterr().err
    assert run(*target, "--force") == 0
    with closing(Store(tmp_path / "mine")) as store:
        assert one(store, "select count(*) from spans") == (7,)
        assert not list(store.incidents.recent)
    (aside,) = (tmp_path / "mine").glob("replaced-*")
    with closing(Store(aside)) as store:
        assert one(store, "select count(*) from spans") == (10,)
    assert run("backup", tmp_path / "copy", "--data-dir", tmp_path / "data") == 2


@pytest.mark.parametrize("damage", ["file gone", "file cut", "rows gone", "manifest gone", "newer"])
def test_a_backup_that_is_not_whole_is_refused_before_anything_changes(
    tmp_path: Path, damage: str
) -> None:
    fill(tmp_path / "data", count=2)
    copy, target = tmp_path / "copy", tmp_path / "other"
    assert run("backup", copy, "--data-dir", tmp_path / "data") == 0
    manifest, rollup = copy / "manifest.json", copy / "rollup.duckdb"
    document = json.loads(manifest.read_text())
    if damage == "file gone":
        rollup.unlink()
    elif damage == "file cut":
        rollup.write_bytes(rollup.read_bytes()[:5000])
    elif damage == "rows gone":
        document["rows"]["rollup.duckdb"]["call"] += 1
        manifest.write_text(json.dumps(document))
    elif damage == "manifest gone":
        manifest.unlink()
    else:
        manifest.write_text(json.dumps(document | {"format": FORMAT + 1}))
    with pytest.raises(NotUsable):
        restore(copy, target)
    assert not list(target.glob("*.duckdb*"))


def test_a_connection_that_breaks_leaves_no_backup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "data", count=2)
    extract = tarfile.TarFile.extractall

    def broken(self: tarfile.TarFile, *given: object, **named: object) -> None:
        extract(self, *given, **named)  # type: ignore[arg-type]
        raise ConnectionResetError("gone")

    monkeypatch.setattr(tarfile.TarFile, "extractall", broken)
    assert run("backup", tmp_path / "copy", "--data-dir", tmp_path / "data") == 1
    assert not list(tmp_path.glob("copy*"))


@pytest.mark.parametrize("command", ["backup", "export"])
def test_a_data_directory_that_is_not_there_is_said_and_not_made(
    tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command, tmp_path / "out", "--data-dir", tmp_path / "typo") == 2
    assert f"there is no data directory {tmp_path / 'typo'}" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
