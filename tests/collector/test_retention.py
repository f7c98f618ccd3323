"""Old days leave as whole files; what was derived from them stays, and a late span does not undo it."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.patience import wait_until
from tests.serving import collector
from tests.telemetry import BEGINNING_NS, Span, body, chat, one

from taximeter.settings.settings import StoreSettings
from taximeter_collector.derive.deriver import Deriver
from taximeter_collector.derive.verify import verify_window
from taximeter_collector.ingest.ingest import Ingest
from taximeter_collector.retention.retention import Retention
from taximeter_collector.store.store import Store

BEGINNING = datetime.fromtimestamp(BEGINNING_NS / 1e9, UTC)


def take(ingest: Ingest, *spans: Span) -> None:
    ingest.submit("traces", body(spans)).result(60)


def age(
    store: Store,
    rollups: Deriver,
    days: int,
    retention_days: int = 0,
    rollup_retention_days: int = 0,
) -> Retention:
    """Return what looks at the store as it will be ``days`` from now."""
    later = datetime.now(UTC) + timedelta(days=days)
    store.files.day_for(later)
    settings = StoreSettings(
        store.data_dir,
        "duckdb:",
        retention_days=retention_days,
        rollup_retention_days=rollup_retention_days,
    )
    return Retention(store, rollups, settings, grace_s=0, now=lambda: later)


def drop_today(store: Store, rollups: Deriver) -> None:
    today = store.data_dir / f"spans-{datetime.now(UTC).date().isoformat()}.duckdb"
    assert today.exists()
    with closing(age(store, rollups, 31, retention_days=30)):
        wait_until(lambda: not today.exists())
    assert not today.with_name(f"{today.name}.wal").exists()


def followed(store: Store, requests: int) -> None:
    wait_until(lambda: one(store, "select count(*) from requests") == (requests,))


def test_a_days_file_leaves_and_its_roll_ups_stay(tmp_path: Path) -> None:
    with collector(tmp_path) as (store, rollups, ingest):
        take(ingest, chat(1, 1), chat(2, 1, tokens=70))
        followed(store, 2)
        before = one(store, "select count(*), sum(prompt_tokens), sum(cost_pico) from calls")
        drop_today(store, rollups)
        # A span of an old trace, and a new trace: the one changes nothing, the other counts.
        take(ingest, chat(1, 2, 1, tokens=5), chat(3, 1, tokens=40))
        followed(store, 3)
        assert one(store, "select count(*) from spans") == (2,)
        assert one(store, "select prompt_tokens from calls where trace_id like '%1'") == (100,)
        count, tokens, cost = one(
            store, "select count(*), sum(prompt_tokens), sum(cost_pico) from calls"
        )
        assert (count, tokens) == (before[0] + 1, before[1] + 40) and cost > before[2]
        assert one(store, "select sum(calls) from usage_minute") == (3,)


def test_commits_count_on_when_no_span_is_left(tmp_path: Path) -> None:
    with collector(tmp_path) as (store, rollups, ingest):
        take(ingest, chat(1, 1))
        followed(store, 1)
        drop_today(store, rollups)
    with collector(tmp_path) as (store, _, ingest):
        take(ingest, chat(2, 1))
        followed(store, 2)
        with store.cursor() as cursor:
            report = verify_window(store, cursor, BEGINNING, BEGINNING + timedelta(minutes=2))
        assert (report.is_right, report.incomplete_traces) == (True, 1)


def test_days_within_the_time_and_for_ever_stay(tmp_path: Path) -> None:
    with collector(tmp_path) as (store, rollups, ingest):
        take(ingest, chat(1, 1))
        followed(store, 1)
        for days, keep in ((4000, ()), (30, (30, 400))):
            with closing(age(store, rollups, days, *keep)) as retention:
                assert retention.look() == []
        assert one(store, "select count(*) from spans") == (1,)


def test_roll_ups_leave_by_their_own_time(tmp_path: Path) -> None:
    with collector(tmp_path) as (store, rollups, ingest):
        take(ingest, chat(1, 1))
        followed(store, 1)
        ages = (datetime.now(UTC) - BEGINNING).days
        with closing(age(store, rollups, 401 - ages, rollup_retention_days=400)) as retention:
            retention.look()
        for view in ("calls", "requests", "usage_minute"):
            assert one(store, f"select count(*) from {view}") == (0,)
        assert one(store, "select count(*) from spans") == (1,)
