"""Are the stored roll-ups what the spans say? Computes a window again from spans alone and compares.

All traces of the window are computed at once, in temporary tables, whatever commits their spans
came in. What the follower did step by step has no part in it but the definitions (`sql/derive/`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

import duckdb

from taximeter_collector.derive.derive import compute, look_at, replace_rows
from taximeter_collector.derive.verify_compare import KEYS, comparison
from taximeter_collector.prices import PriceBook, price_calls
from taximeter_collector.sql_files import read_sql, run_script
from taximeter_collector.store.store import Store

MAX_SPANS: Final = 2_000_000
"""A longer window is refused: ask for it in pieces."""
MAX_SHOWN: Final = 1_000
MAX_FAILURES: Final = 20


class WindowTooLong(Exception):
    """The window holds more spans than are computed at once."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One stored value that is not what the spans say. ``column`` is empty for a whole row."""

    table: str
    key: dict[str, str | None]
    column: str
    stored: str | None
    recomputed: str | None


@dataclass(frozen=True, slots=True)
class Failure:
    """A trace that can't be derived at all, and why."""

    trace_id: str
    error: str


@dataclass(slots=True)
class Report:
    """The comparison of one window; counts are of traces, spans, calls, minutes and values."""

    start: datetime
    end: datetime
    data_version: int
    traces: int = 0
    spans: int = 0
    repriced_calls: int = 0
    """Stored with another price list than today's: their money is not compared."""
    incomplete_traces: int = 0
    """Their first spans are no longer kept: not compared."""
    unsure_minutes: int = 0
    """Minutes that contain such a call or trace: not compared."""
    differences: list[Difference] = field(default_factory=list)
    """The first `MAX_SHOWN` of them."""
    difference_count: int = 0
    failures: list[Failure] = field(default_factory=list)
    wrong_traces: list[str] = field(default_factory=list)
    wrong_minutes: list[datetime] = field(default_factory=list)

    @property
    def is_right(self) -> bool:
        """Whether all that could be compared is equal."""
        return not self.difference_count and not self.failures

    def as_dict(self) -> dict[str, Any]:
        """Return the report for JSON."""
        document = asdict(self) | {"is_right": self.is_right}
        for name in ("start", "end"):
            document[name] = document[name].isoformat()
        document["wrong_minutes"] = [minute.isoformat() for minute in self.wrong_minutes]
        return document


def verify_window(
    store: Store, cursor: duckdb.DuckDBPyConnection, start: datetime, end: datetime
) -> Report:
    """Compare all requests, calls, tools and minutes with a span in the window, whole minutes.

    Writes nothing but temporary tables of ``cursor``. Raises WindowTooLong or duckdb.Error.
    """
    start = start.astimezone(UTC).replace(second=0, microsecond=0)
    end = (end.astimezone(UTC) + timedelta(minutes=1, microseconds=-1)).replace(
        second=0, microsecond=0
    )
    report = _copy_stored(cursor, start, end)
    traces = [row[0] for row in cursor.execute("select trace_id from v_trace").fetchall()]
    for table in (*KEYS, "aside"):
        cursor.execute(f"create or replace temp table v_{table} as from rollup.{table} limit 0")
    _recompute(cursor, store.prices, traces, report)
    run_script(cursor, read_sql("verify/minutes"), {"from": start, "to": end})
    run_script(cursor, read_sql("derive/80_usage_minute").replace("rollup.", "v_"), {})
    for column, table in (("repriced_calls", "repriced"), ("unsure_minutes", "unsure_minute")):
        setattr(report, column, _count(cursor, f"select count(*) from v_{table}"))
    for table in KEYS:
        _compare(cursor, table, report)
    return report


def _copy_stored(cursor: duckdb.DuckDBPyConnection, start: datetime, end: datetime) -> Report:
    """Copy what is stored, all at one moment; leave out what can't be computed again."""
    window: dict[str, Any] = {"from": start, "to": end}
    cursor.execute("begin transaction read only")
    try:
        derived = _count(cursor, "select derived_batch from rollup.progress")
        spans = _count(
            cursor,
            "select count(*) from span where start_time >= $from and start_time < $to",
            window,
        )
        if spans > MAX_SPANS:
            raise WindowTooLong(
                f"{spans:,} spans started between {start:%Y-%m-%d %H:%M} and {end:%Y-%m-%d %H:%M}:"
                f" at most {MAX_SPANS:,} are computed at once, ask for a shorter time"
            )
        run_script(cursor, read_sql("verify/stored"), window | {"last_batch": derived})
        cursor.execute("commit")
    except BaseException:
        cursor.execute("rollback")
        raise
    beyond = _count(cursor, "select count(*) from v_beyond")
    for table, key in (("trace", "trace_id"), *((f"stored_{t}", k[0]) for t, k in KEYS.items())):
        if beyond and key != "minute":
            cursor.execute(f"delete from v_{table} where {key} in (select trace_id from v_beyond)")
    traces = _count(cursor, "select count(*) from v_trace")
    return Report(start, end, derived, traces, spans, incomplete_traces=beyond)


def _recompute(
    cursor: duckdb.DuckDBPyConnection, prices: PriceBook, traces: Sequence[str], report: Report
) -> None:
    """Add the traces' rows to the ``v_`` tables; when that fails, halve until it is known which."""
    try:
        look_at(cursor, traces)
        compute(cursor, prices, 0, report.data_version, partial(price_calls, keep_stored=False))
        cursor.execute("create or replace temp table d_minute (minute timestamptz)")
        replace_rows(cursor, "v_")
    except duckdb.InterruptException:
        raise
    except duckdb.Error as error:
        if len(report.failures) >= MAX_FAILURES:
            raise
        if len(traces) <= 1:
            report.failures += [Failure(trace, str(error).partition("\n")[0]) for trace in traces]
            return
        middle = len(traces) // 2
        _recompute(cursor, prices, traces[:middle], report)
        _recompute(cursor, prices, traces[middle:], report)


def _compare(cursor: duckdb.DuckDBPyConnection, table: str, report: Report) -> None:
    columns = cursor.execute(f"describe rollup.{table}").fetchall()
    cursor.execute(comparison(table, [(name, type) for name, type, *_ in columns]))
    report.difference_count += _count(cursor, "select count(*) from v_difference")
    room = MAX_SHOWN - len(report.differences)
    rows = cursor.execute(
        f"select key, c, s, r from v_difference order by all limit {room}"
    ).fetchall()
    report.differences += [Difference(table, *row) for row in rows]
    wrong = f"select distinct key.{KEYS[table][0]} from v_difference order by 1"
    found = [row[0] for row in cursor.execute(wrong).fetchall()]
    if table == "usage_minute":
        report.wrong_minutes = [datetime.fromisoformat(minute) for minute in found]
    else:
        report.wrong_traces = sorted({*report.wrong_traces, *found})


def _count(
    cursor: duckdb.DuckDBPyConnection, sql: str, params: dict[str, Any] | None = None
) -> int:
    row = cursor.execute(sql, params).fetchone()
    return int(row[0]) if row else 0
