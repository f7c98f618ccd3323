"""Damaged files at start: what is whole is served, what is not lies aside, and the status tells both."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random

import duckdb
import pytest
from tests.faults import killed
from tests.patience import wait_until
from tests.telemetry import Tables, one, rows, tables

from taximeter_collector.derive.deriver import Deriver
from taximeter_collector.ingest.ingest import Ingest
from taximeter_collector.store.directory_lock import StoreError
from taximeter_collector.store.high_water import Mark
from taximeter_collector.store.incidents import FILE_NAME, Incidents
from taximeter_collector.store.recovery import Recovery
from taximeter_collector.store.store import Store

ALL = killed.COMMITS * killed.SPANS_EACH


@pytest.fixture(scope="module")
def after_kill(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data_dir = tmp_path_factory.mktemp("killed")
    killed.make(data_dir)
    return data_dir


@pytest.fixture
def data_dir(after_kill: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "data"
    shutil.copytree(after_kill, copy)
    return copy


def day_file(data_dir: Path) -> Path:
    (file,) = data_dir.glob("spans-*.duckdb")
    return file


def day_log(data_dir: Path) -> Path:
    file = day_file(data_dir)
    return file.with_name(f"{file.name}.wal")


@contextmanager
def opened(data_dir: Path) -> Iterator[Store]:
    with closing(Store(data_dir)) as store:
        yield store


def events(store: Store) -> list[str]:
    return [alarm["event"] for alarm in store.incidents.alarms]


def kept_commits(store: Store) -> list[int]:
    """Return the numbers of the commits that are there; each must be there as a whole."""
    found = rows(store, "select batch, count(*) from span group by batch order by batch")
    assert all(count == killed.SPANS_EACH for _, count in found)
    return [batch for batch, _ in found]


def follow_all(store: Store) -> Tables:
    with closing(Deriver(store, settle_s=0.01)) as rollups:
        wait_until(
            lambda: (
                rollups.data_version >= one(store, "select coalesce(max(batch), 0) from span")[0]
            )
        )
    return tables(store)


def test_a_whole_directory_opens_without_an_alarm(data_dir: Path) -> None:
    with opened(data_dir) as store:
        assert one(store, "select count(*) from spans") == (ALL,)
        assert store.report()["state"] == "ok"
        assert events(store) == []
    assert not (data_dir / "set_aside").exists()


def flip(log: bytes, at: int) -> bytes:
    return log[:at] + bytes([log[at] ^ 8]) + log[at + 1 :]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    "damage",
    [flip, lambda log, at: log[:at] + bytes(len(log) - at)],
    ids=["a flipped bit", "a tail of zeros"],
)
def test_a_damaged_log_is_cut_to_whole_commits(
    data_dir: Path, damage: Callable[[bytes, int], bytes], seed: int
) -> None:
    log = day_log(data_dir)
    whole = log.read_bytes()
    at = Random(seed).randrange(200, len(whole))
    log.write_bytes(damage(whole, at))
    with opened(data_dir) as store:
        commits = kept_commits(store)
        assert commits == list(range(1, len(commits) + 1))
        assert len(commits) < killed.COMMITS
        assert events(store) == ["wal_cut", "file_behind"]
        cut, behind = store.report()["alarms"]
        assert behind["lost_items"] == ALL - one(store, "select count(*) from spans")[0]
        assert Path(cut["kept"]).read_bytes() == damage(whole, at)
        assert 0 < cut["cut_bytes"] <= len(whole)
        with closing(
            Ingest(store)
        ) as ingest:  # a client that still has what was cut sends it again
            for commit in range(killed.COMMITS):
                ingest.submit("traces", killed.request(commit)).result(60)
        assert one(store, "select count(*), count(distinct trace_id) from spans") == (ALL, ALL)


def test_a_log_that_was_cut_short_loses_its_last_commits_only(data_dir: Path) -> None:
    log = day_log(data_dir)
    log.write_bytes(log.read_bytes()[:-1000])
    with opened(data_dir) as store:
        commits = kept_commits(store)
        assert commits == list(range(1, killed.COMMITS))
        assert events(store) == ["file_behind"]


@pytest.mark.parametrize("at", [0, 5, 14, 30])
def test_a_damaged_header_of_a_log_costs_no_commit(data_dir: Path, at: int) -> None:
    """DuckDB passes by such a log without a word, and empties it at the next write."""
    log = day_log(data_dir)
    log.write_bytes(flip(log.read_bytes(), at))
    with opened(data_dir) as store:
        assert kept_commits(store) == list(range(1, killed.COMMITS + 1))
        assert set(events(store)) <= {"wal_header_replaced"}
    with opened(data_dir) as store:
        assert one(store, "select count(*) from spans") == (ALL,)


def test_a_missing_log_raises_an_alarm_until_somebody_has_looked(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    day_log(data_dir).unlink()
    for _ in range(2):
        with opened(data_dir) as store:
            assert events(store) == ["file_behind"]
            (alarm,) = store.report()["alarms"]
            assert (alarm["lost_items"], alarm["high_water"]) == (ALL, killed.COMMITS)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["event"] for line in lines] == ["file_behind"]
    with opened(data_dir) as store:
        store.incidents.acknowledge()
    with opened(data_dir) as store:
        assert events(store) == []
    assert "file_behind" in (data_dir / FILE_NAME).read_text()


def test_an_older_copy_of_a_file_raises_an_alarm(data_dir: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    with opened(data_dir) as store:
        day = day_file(data_dir)
    shutil.copy(day, old)
    with opened(data_dir) as store, closing(Ingest(store)) as ingest:
        ingest.submit("traces", killed.request(50)).result(60)
    shutil.copy(old, day)
    with opened(data_dir) as store:
        assert events(store) == ["file_behind"]
        assert store.report()["alarms"][0]["lost_items"] == killed.SPANS_EACH


def test_a_missing_file_raises_an_alarm(data_dir: Path) -> None:
    with opened(data_dir):
        day = day_file(data_dir)
    day.unlink()
    with opened(data_dir) as store:
        assert events(store) == ["file_missing"]
        assert store.report()["alarms"][0]["lost_items"] == ALL


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: whole[:8] + b"damage! " * 8 + whole[72:],
        lambda whole: whole[:4200] + b"damage! " * 900 + whole[11400:],
        lambda whole: whole[:5000],
    ],
    ids=["no DuckDB file", "both headers", "cut short"],
)
def test_a_damaged_day_is_set_aside_and_the_others_are_served(
    data_dir: Path, damage: Callable[[bytes], bytes]
) -> None:
    with opened(data_dir) as store:
        derived = follow_all(store)
        day = day_file(data_dir)
    other = day.with_name("spans-2026-01-02.duckdb")
    other.write_bytes(damage(day.read_bytes()))
    with opened(data_dir) as store:
        assert one(store, "select count(*) from spans") == (ALL,)
        assert tables(store) == derived
        (alarm,) = store.incidents.alarms
        assert alarm["event"] == "file_set_aside"
        assert Path(alarm["kept"][0]).read_bytes() == damage(day.read_bytes())


@pytest.mark.parametrize("damage", ["damaged", "deleted"])
def test_roll_ups_of_a_damaged_file_are_derived_again(data_dir: Path, damage: str) -> None:
    with opened(data_dir) as store:
        before = follow_all(store)
    file = data_dir / "rollup.duckdb"
    if damage == "deleted":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:5000])
    with opened(data_dir) as store:
        after = follow_all(store)
        assert after == before
        assert len(after["request"]) == ALL
        wanted = ["file_set_aside", "rollup_rebuilt"] if damage == "damaged" else ["rollup_rebuilt"]
        assert events(store) == wanted


class NewerFile:
    """A connection that meets a file of a later DuckDB."""

    def execute(self, sql: str) -> None:
        raise duckdb.IOException(
            "IO Error: Trying to read a database file with version number 999, but we can only read"
            " versions between 64 and 68."
        )


def test_a_file_of_a_newer_duckdb_is_no_damage(tmp_path: Path) -> None:
    file = tmp_path / "spans-2026-01-02.duckdb"
    file.write_bytes(b"what a later version wrote")
    recovery = Recovery(tmp_path, Incidents(tmp_path))
    with pytest.raises(StoreError, match="version number 999"):
        recovery.attach(NewerFile(), "day", file, Mark(0))  # type: ignore[arg-type]
    assert file.read_bytes() == b"what a later version wrote"
