"""A store with a long history, made fast: one real hour, copied by SQL with other ids and times.

`python bench/history.py DIR --spans 10000000` sends an hour of traffic (bench/traffic.py) through the
real way (decode, ingest, roll-ups), then copies its rows over the days before now, into every table
as the collector would have stored them. Copies differ in ids, times, tenant and agent name.
"""

from __future__ import annotations

import argparse
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import duckdb
from traffic import request_body

from taximeter_collector.derive.derive import derive_step
from taximeter_collector.ingest.decode import flatten, parse
from taximeter_collector.ingest.normalise import store_spans
from taximeter_collector.store.store import Store

TEMPLATE_SPANS: Final = 20_480
DAYS: Final = 30
_IDS: Final = {"call": "trace_id", "call_link": "trace_id", "tool_call": "trace_id",
               "agent_run": "trace_id", "request": "request_id"}  # fmt: skip
_TIMES: Final = ("start_time", "end_time", "minute", "received_at", "first_received_at",
                 "last_received_at", "first_time", "last_time")  # fmt: skip


def main() -> None:
    """Make the store and say how large it became."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dir", type=Path)
    parser.add_argument("--spans", type=int, default=1_000_000)
    asked = parser.parse_args()
    started = time.perf_counter()
    with closing(Store(asked.dir, memory="4GB")) as store:
        spans = make(store, asked.spans)
        print(f"{spans:,} spans in {time.perf_counter() - started:.0f} s")
    size = sum(file.stat().st_size for file in asked.dir.glob("*.duckdb*"))
    print(f"{size / 1e9:.2f} GB, {size / spans:.0f} bytes a span")


def make(store: Store, spans: int) -> int:
    """Fill ``store`` with about ``spans`` spans over the last `DAYS` days; return how many."""
    copies = max(spans // TEMPLATE_SPANS, 1)
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    with store.cursor() as cursor:
        day = _template(store, cursor)
        per_day = [copies * (at + 1) // DAYS - copies * at // DAYS for at in range(DAYS)]
        done = 0
        for at, number in enumerate(per_day):
            if number:
                start = now - timedelta(days=DAYS - at)
                _copy(store, cursor, day, start, done, number)
                done += number
        cursor.execute("update rollup.progress set derived_batch = $1", [done + 2])
    return (done + 1) * TEMPLATE_SPANS


def _template(store: Store, cursor: duckdb.DuckDBPyConnection) -> str:
    """Send one hour of traffic the real way; return the catalog of the day that holds it."""
    now = datetime.now(UTC)
    day = store.files.day_for(now)
    bodies = [
        request_body(512, spread=timedelta(hours=1)) for _ in range(TEMPLATE_SPANS // 512)
    ]  # fmt: skip
    cursor.execute("begin")
    rows = flatten("traces", [parse("traces", body) for body in bodies])
    store_spans(cursor, rows, day, 1, now)
    cursor.execute("commit")
    derive_step(cursor, store.prices, 0)
    for name in (*_IDS, "usage_minute"):
        cursor.execute(f"create temp table t_{name} as from rollup.{name}")
    cursor.execute(f"create temp table t_span as from {day}.span")
    return day


def _copy(
    store: Store,
    cursor: duckdb.DuckDBPyConnection,
    day: str,
    start: datetime,
    first: int,
    number: int,
) -> None:
    """Write ``number`` copies of the hour, evenly over the day from ``start``."""
    cursor.execute(
        "create or replace temp table t_copy as select range as copy,"
        " (range - $first) * (24 * 3600e6 / $number)::bigint + epoch_us($start::timestamptz)"
        " - (select epoch_us(min(start_time)) from t_span) as shift_us"
        " from range($first, $first + $number)",
        {"first": first, "number": number, "start": start},
    )
    into = store.files.day_for(start + timedelta(hours=12))
    _insert(cursor, "span", f"{into}.span", "trace_id")
    for name, ids in _IDS.items():
        _insert(cursor, name, f"rollup.{name}", ids)
    _insert(cursor, "usage_minute", "rollup.usage_minute", None)


def _insert(cursor: duckdb.DuckDBPyConnection, name: str, into: str, ids: str | None) -> None:
    columns = [row[0] for row in cursor.execute(f"describe t_{name}").fetchall()]
    changed = [f"{c} + to_microseconds(shift_us) as {c}" for c in _TIMES if c in columns]
    changed += [f"({c}::hugeint + shift_us * 1000)::ubigint as {c}"
                for c in ("start_unix_nano", "end_unix_nano") if c in columns]  # fmt: skip
    changed += [f"copy + 2 as {c}" for c in ("batch", "first_batch") if c in columns]
    if ids:
        changed.append(f"md5({ids} || copy) as {ids}")
    if "response_id" in columns:
        changed.append("response_id || copy as response_id")
    if "agent_name" in columns:
        changed.append("agent_name || '-' || (copy % 7) as agent_name")
    if "tenant" in columns:
        changed.append("'tenant-' || (copy % 5) as tenant")
    cursor.execute(
        f"insert into {into} by name select t.* replace ({', '.join(changed)})"
        f" from t_copy c join t_{name} t on true"
        + (" order by shift_us, start_time" if name != "usage_minute" else "")
    )


if __name__ == "__main__":
    main()
