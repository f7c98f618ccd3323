"""An export gives another store the same rows, calls, requests and costs, each once, however often it comes."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.serving import collector
from tests.telemetry import body, chat, one
from tests.transfer.stored import DERIVED, RECEIVED, content, fill, is_right

from taximeter.settings.settings import StoreSettings
from taximeter_collector.derive.deriver import Deriver
from taximeter_collector.retention.retention import Retention
from taximeter_collector.store.store import Store
from taximeter_collector.transfer import load
from taximeter_collector.transfer.__main__ import main
from taximeter_collector.transfer.load import import_parquet
from taximeter_collector.transfer.parquet import export_parquet


def run(*words: object) -> int:
    return main([str(word) for word in words])


def exported(data: Path, name: str = "out", since: datetime | None = None) -> Path:
    folder = data / name
    folder.mkdir()
    with closing(Store(data)) as store:
        export_parquet(store, folder, since)
    return folder


def test_an_empty_store_becomes_the_same_and_a_second_time_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "a")
    with closing(Store(tmp_path / "a")) as store:
        before = content(store)
    assert all(before[table] for table in RECEIVED) and len(before["call"]) == 12
    assert run("export", tmp_path / "out", "--data-dir", tmp_path / "a") == 0
    monkeypatch.setattr(load, "_ROWS_AT_ONCE", 2)  # so that each file comes in several pieces
    for _ in range(2):
        assert run("import", tmp_path / "out", "--data-dir", tmp_path / "b") == 0
        with closing(Store(tmp_path / "b")) as store:
            assert content(store) == before and is_right(store)
    with collector(tmp_path / "b") as (store, _, ingest):
        again = ingest.submit("traces", body([chat(10, 1, start=500_000)])).result(60)
        assert again.duplicate  # the digests came along


def test_stores_that_share_something_are_joined(tmp_path: Path) -> None:
    fill(tmp_path / "a", first=10, count=8)
    fill(tmp_path / "b", first=14, count=8)  # the run, and traces 14 to 17, are in both
    costs = "select count(*), count(distinct trace_id), sum(cost_pico) from calls where is_billed"
    with closing(Store(tmp_path / "b")) as store:
        each = one(store, costs)[2] - one(store, costs + " and trace_id like '%1' and span_id not like '%1'")[2]  # fmt: skip
        import_parquet(store, exported(tmp_path / "a"))
        calls, traces, cost = one(store, costs)
        assert is_right(store)
        assert one(store, "select sum(calls) from usage_minute where calls > 0")[0] == calls
    assert each > 0 and traces == 13 and calls == 12 + 4
    fill(tmp_path / "whole", first=10, count=12)
    with closing(Store(tmp_path / "whole")) as store:
        assert one(store, costs) == (calls, traces, cost)


def test_costs_stay_those_of_the_day_under_another_price_list(tmp_path: Path) -> None:
    fill(tmp_path / "a", count=4)
    with closing(Store(tmp_path / "a")) as store:
        before = content(store, ("call", "request"))
    prices = tmp_path / "prices.toml"
    prices.write_text('[[price]]\nprovider = "anthropic"\nmodel = "claude-sonnet-4-5"\n'
                      'input = 1000\noutput = 1000\n')  # fmt: skip
    with closing(Store(tmp_path / "b", prices)) as store:
        import_parquet(store, exported(tmp_path / "a"))
        assert content(store, ("call", "request")) == before
        assert store.price_version != one(store, "select any_value(price_version) from calls")[0]


def test_roll_ups_of_spans_that_are_gone_travel_and_stay(tmp_path: Path) -> None:
    fill(tmp_path / "a")
    later = datetime.now(UTC) + timedelta(days=40)
    settings = StoreSettings(tmp_path / "a", "duckdb:", retention_days=30)
    with closing(Store(tmp_path / "a")) as store, closing(Deriver(store)) as rollups:
        before = content(store, DERIVED)
        store.files.day_for(later)
        with closing(Retention(store, rollups, settings, grace_s=0, now=lambda: later)) as looks:
            looks.look()
        assert one(store, "select count(*) from span") == (0,)
    out = exported(tmp_path / "a")
    with closing(Store(tmp_path / "b")) as store:
        assert import_parquet(store, out).traces == 9
        assert content(store, DERIVED) == before and is_right(store)
    with collector(tmp_path / "b") as (store, _, ingest):
        # A late span of such a trace is stored and changes nothing; one of another trace counts.
        ingest.submit("traces", body([chat(10, 2, 1, start=500_000), chat(99, 1)])).result(60)
    with closing(Store(tmp_path / "b")) as store:
        assert one(store, "select count(*) from calls") == (13,) and is_right(store)


def test_a_day_that_came_and_leaves_again_is_over(tmp_path: Path) -> None:
    fill(tmp_path / "a", count=3)
    out = exported(tmp_path / "a")
    later = datetime.now(UTC) + timedelta(days=40)
    settings = StoreSettings(tmp_path / "b", "duckdb:", retention_days=30)
    with collector(tmp_path / "b") as (store, _, ingest):
        store.files.day_for(later)
        ingest._writer._now = lambda: (
            later
        )  # the other store is of a later day, with smaller numbers
        ingest.submit("traces", body([chat(99, 1, start=5_000_000)])).result(60)
    with closing(Store(tmp_path / "b")) as store, closing(Deriver(store)) as rollups:
        import_parquet(store, out)
        before = content(store, DERIVED)
        with closing(Retention(store, rollups, settings, grace_s=0, now=lambda: later)) as looks:
            looks.look()
        assert one(store, "select count(*) from span") == (1,)
        assert content(store, DERIVED) == before and is_right(store)


def test_a_range_takes_what_was_received_in_it(tmp_path: Path) -> None:
    fill(tmp_path / "a", count=3)
    with closing(Store(tmp_path / "a")) as store:
        (since,) = one(store, "select max(epoch_us(received_at)) from span")
    start = datetime.fromtimestamp(since / 1e6, UTC)
    out = exported(tmp_path / "a", since=start)
    manifest = json.loads((out / "manifest.json").read_text())["rows"]
    assert manifest["call.parquet"] == {"call": 1}
    with closing(Store(tmp_path / "b")) as store:
        import_parquet(store, out)
        assert one(store, "select count(*) from span") == (1,) and is_right(store)


def test_an_import_that_breaks_off_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "a", count=3)
    with closing(Store(tmp_path / "a")) as store:
        before = content(store)
    out = exported(tmp_path / "a")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    for place in ("_add_received", "_minutes"):  # before the first row, and after the last
        data = tmp_path / place
        with closing(Store(data)) as store, monkeypatch.context() as patch:
            patch.setattr(f"taximeter_collector.transfer.load.{place}", stop)
            with pytest.raises(KeyboardInterrupt):
                import_parquet(store, out)
        with closing(Store(data)) as store:
            import_parquet(store, out)
            assert content(store) == before and is_right(store)


@pytest.mark.parametrize("kind", ["no such directory", "a backup"])
def test_what_is_no_export_is_refused(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "x"
    if kind == "a backup":
        fill(tmp_path / "a", count=1)
        assert run("backup", source, "--data-dir", tmp_path / "a") == 0
    assert run("import", source, "--data-dir", tmp_path / "b") == 2
    error = capsys.readouterr().err
    assert error.startswith("taximeter import: ") and error.count("\n") == 1
