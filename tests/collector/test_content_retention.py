"""What agents say leaves before the facts, with its file; numbers stay, and no crash in between loses a row."""

from __future__ import annotations

import secrets
import shutil
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.collector.test_migrations import EPOCH, FUTURE, counted, unpack
from tests.patience import wait_until
from tests.serving import collector
from tests.telemetry import Span, Value, body, chat, one, put

from taximeter.settings.settings import StoreSettings
from taximeter_collector.derive.deriver import Deriver
from taximeter_collector.derive.verify import verify_window
from taximeter_collector.ingest.ingest import Ingest
from taximeter_collector.retention import content_retention
from taximeter_collector.retention.retention import Retention
from taximeter_collector.store.store import Store

SECRET = "Canary-7d1f what the customer said"
DERIVED = ("call", "request", "agent_run", "tool_call", "usage_minute")


def later(store: Store, rollups: Deriver, days: int = 8) -> Retention:
    """Return what looks at the store as it will be ``days`` from now."""
    then = datetime.now(UTC) + timedelta(days=days)
    settings = StoreSettings(store.data_dir, "duckdb:", retention_days=30, content_retention_days=7)
    return Retention(store, rollups, settings, grace_s=0, now=lambda: then)


def attempt(id: int, asked: str, *, failed: bool = False) -> Span:
    said: dict[str, Value] = dict(chat(1, id).attributes) | {"gen_ai.input.messages": asked}
    start = id * 1000
    return Span(1, id, 1, start, start + 900, tuple(said.items()), failed=failed)


def take(ingest: Ingest) -> None:
    """Send a run whose second call repeats the first and whose third does not, and a log record."""
    root = Span(1, 1, attributes=(("gen_ai.operation.name", "invoke_agent"),), end=9000)
    calls = [attempt(2, SECRET, failed=True), attempt(3, SECRET), attempt(4, "", failed=True),
             attempt(5, "other" + SECRET)]  # fmt: skip
    message = ExportTraceServiceRequest.FromString(body([root, *calls]))
    event = message.resource_spans[0].scope_spans[0].spans[1].events.add(name="gen_ai.user.message")
    put(event.attributes, {"content": SECRET, "gen_ai.system": "anthropic"})
    ingest.submit("traces", message.SerializeToString()).result(60)
    logs = ExportLogsServiceRequest()
    record = logs.resource_logs.add().scope_logs.add().log_records.add(time_unix_nano=1)
    record.body.string_value = SECRET
    put(record.attributes, {"prompt": SECRET, "level": "info"})
    ingest.submit("logs", logs.SerializeToString()).result(60)


def derived(store: Store) -> dict[str, Any]:
    with store.read() as cursor:
        rows = "select columns(*)::varchar from rollup.{} order by all"
        return {t: cursor.execute(rows.format(t)).fetchall() for t in DERIVED}


def drop(store: Store, rollups: Deriver, folder: Path) -> None:
    with closing(later(store, rollups)):
        wait_until(lambda: not list(folder.glob("spans-*.duckdb")))
    assert len(list(folder.glob("facts-*.duckdb"))) == 1


def has_canary(folder: Path) -> bool:
    return any(b"Canary-7d1f" in file.read_bytes() for file in folder.iterdir() if file.is_file())


def is_right(store: Store) -> bool:
    with store.cursor() as cursor:
        return verify_window(store, cursor, EPOCH, FUTURE).is_right


def test_content_leaves_the_disk_and_every_number_stays(tmp_path: Path) -> None:
    with collector(tmp_path) as (store, rollups, ingest):
        take(ingest)
        wait_until(lambda: one(store, "select count(*) from calls") == (4,))
        retries = "select list(is_retry order by span_id) from calls"
        assert one(store, retries) == ([False, True, False, False],)
        before, shown = (
            derived(store),
            "select attributes['gen_ai.input.messages'] from spans where span_id like '%3'",
        )
        assert one(store, shown) == (SECRET,)
        drop(store, rollups, tmp_path)
        assert derived(store) == before and is_right(store)
        # Derived again from what is left, nothing changes.
        traces = [one(store, "select any_value(trace_id) from calls")[0]]
        rollups.repair(traces, []).result(60)
        assert derived(store) == before
        assert one(store, shown) == (None,)
        gone = "select content_deleted, content_bytes, attributes['gen_ai.request.model'] from spans where span_id like '%3'"
        assert one(store, gone) == (True, len(SECRET), "claude-sonnet-4-5")
        event = "select events[1].attributes, content_bytes from spans where span_id like '%2'"
        assert one(store, event) == ({"gen_ai.system": "anthropic"}, 2 * len(SECRET))
        assert one(store, "select body, attributes, content_bytes from log_record") == (
            None, {"level": "info"}, 2 * len(SECRET))  # fmt: skip
    assert not has_canary(tmp_path)
    with collector(tmp_path) as (store, _, ingest):
        assert derived(store) == before and is_right(store)
        # The day's file is without content now; what comes today is kept with it.
        ingest.submit("traces", body([attempt(6, SECRET)])).result(60)
        assert one(store, "select count(*) from spans") == (6,)


def test_the_space_comes_back_at_once(tmp_path: Path) -> None:
    with collector(tmp_path) as (store, rollups, ingest):
        said = [(("gen_ai.input.messages", secrets.token_hex(10_000)),) for _ in range(400)]
        spans = [Span(n, 1, attributes=text) for n, text in enumerate(said, start=1)]
        ingest.submit("traces", body(spans)).result(60)
        before = store.size_bytes()
        drop(store, rollups, tmp_path)
        assert store.size_bytes() < before / 2 and before > 4_000_000


def test_the_canary_would_be_found(tmp_path: Path) -> None:
    with collector(tmp_path) as (_, _, ingest):
        take(ingest)
    assert has_canary(tmp_path)


def test_within_its_time_content_stays(tmp_path: Path) -> None:
    with collector(tmp_path) as (store, rollups, ingest):
        take(ingest)
        with closing(later(store, rollups, days=7)) as retention:
            retention.look()
        assert len(list(tmp_path.glob("spans-*.duckdb"))) == 1
        assert one(store, "select count(content) from span") == (4,)


def test_content_of_an_older_format_leaves_too(tmp_path: Path) -> None:
    before = counted(unpack("b727628", tmp_path))
    then = datetime(2026, 12, 10, tzinfo=UTC)
    settings = StoreSettings(tmp_path, "duckdb:", content_retention_days=7)
    with collector(tmp_path) as (store, rollups, _):
        wait_until(lambda: one(store, "select count(*) from rollup.to_derive") == (0,))
        calls = derived(store)
        with closing(Retention(store, rollups, settings, grace_s=0, now=lambda: then)):
            wait_until(lambda: not (tmp_path / "spans-2026-11-25.duckdb").exists())
        assert one(store, "select count(*) from spans") == (before["span"],)
        assert one(store, "select count(*) from metric") == (before["metric"],)
        assert derived(store) == calls and is_right(store)
        asked = "select count(*) from spans where attributes['gen_ai.input.messages'] is not null"
        assert one(store, asked) == (0,)
        assert one(store, "select count(*) > 50 from spans where content_deleted") == (True,)


@pytest.mark.parametrize("when", ["while copying", "before the rename", "before the old file left"])
def test_a_crash_in_between_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    live, crashed = tmp_path / "live", tmp_path / "crashed"
    with collector(live) as (store, rollups, ingest):
        take(ingest)
        wait_until(lambda: one(store, "select count(*) from calls") == (4,))
        before = derived(store)
        with store.cursor() as cursor:
            cursor.execute("checkpoint rollup")
            cursor.execute(f"checkpoint {store.files.catalog_of(datetime.now(UTC).date())}")

        def crash(*_: object, **__: object) -> None:
            shutil.copytree(live, crashed)
            raise OSError("the machine stops here")

        place = {"while copying": (content_retention, "read_sql"),
                 "before the rename": (Path, "replace"),
                 "before the old file left": (store.files, "delete_catalog")}[when]  # fmt: skip
        with monkeypatch.context() as patch:
            patch.setattr(*place, crash)
            with closing(later(store, rollups)):
                wait_until(crashed.exists)
    with collector(crashed) as (store, _, _):
        assert one(store, "select count(*) from spans") == (5,)
        assert derived(store) == before and is_right(store)
        assert not list(crashed.glob("*.new*")) and len(store.files.days()) == 1


def test_a_day_that_can_not_be_written_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with collector(tmp_path) as (store, rollups, ingest):
        take(ingest)

        def full(*_: object) -> None:
            raise duckdb.IOException("No space left on device")

        monkeypatch.setattr(content_retention, "run_script", full)
        with closing(later(store, rollups)):
            wait_until(lambda: "next try in an hour: No space left" in caplog.text)
        assert one(store, "select count(content) from span") == (4,)
        assert not list(tmp_path.glob("facts-*"))
