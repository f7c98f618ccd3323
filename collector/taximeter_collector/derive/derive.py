"""Stored spans → calls, runs, requests, minutes: a step derives the traces that its commits touch.

Everything here is derived and can be made again. Who takes the steps: `deriver.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

import duckdb

from taximeter_collector.prices import PriceBook, price_calls
from taximeter_collector.sql_files import read_sql, run_script
from taximeter_collector.store.health import is_store_fault
from taximeter_collector.store.lending import transaction

logger: Final = logging.getLogger(__name__)
STEP_BATCHES: Final = 512
STEP_SPANS: Final = 16_000
"""About so many group commits and spans are followed in one step."""
WAITING_TRACES: Final = 1_000
"""So many traces that wait to be derived again are one step."""
_STEPS: Final = (
    "05_once", "05_told", "06_log_parents", "07_signals", "07_aside", "08_models", "09_metrics", "10_trace", "18_late", "20_billed",
    "21_twins", "22_unsure", "25_keep_touched", "30_price", "35_loops", "40_tools", "45_thrash", "50_runs", "55_requests",
)  # fmt: skip
_ONLY_FOR: Final = {
    "05_once": "repeated_spans", "06_log_parents": "logs", "07_signals": "tellers", "08_models": "nameless_calls",
    "09_metrics": "metrics", "18_late": "twins", "21_twins": "twins", "25_keep_touched": "context",
}  # fmt: skip
"""Steps that have something to do only when the spans hold this (sql/derive/holds.sql)."""

SpansSince = Callable[[int], str]


def _all_spans(_batch: int) -> str:
    return "span"


def _count(cursor: duckdb.DuckDBPyConnection, sql: str) -> int:
    row = cursor.execute(sql).fetchone()
    return int(row[0]) if row else 0


def spans_at_hand(cursor: duckdb.DuckDBPyConnection) -> int:
    """Return how many spans the last step read."""
    return _count(cursor, "select count(*) from d_span")


def derived_batch(cursor: duckdb.DuckDBPyConnection) -> int:
    """Return the last group commit that the roll-ups contain."""
    return _count(cursor, "select derived_batch from rollup.progress")


def revision(cursor: duckdb.DuckDBPyConnection) -> int:
    """Return how often history was priced again, or that undone."""
    return _count(cursor, "select count(*) + count(undone_at) from rollup.repricing")


def next_batch(
    cursor: duckdb.DuckDBPyConnection, after: int, batches: int, spans: str = "span"
) -> int:
    """Return up to which commit in view ``spans`` a step should go; ``after`` when there is nothing new."""
    row = cursor.execute(
        "select coalesce(max(batch) filter (spans_before < $spans), min(batch), $after) from ("
        " select batch, sum(count(*)) over (order by batch) - count(*) as spans_before"
        f" from {spans} where batch > $after and batch <= $batches"
        f" + (select min(batch) from {spans} where batch > $after) group by batch)",
        {"after": after, "batches": batches, "spans": STEP_SPANS},
    ).fetchone()
    return int(row[0]) if row else after


def derive_step(
    cursor: duckdb.DuckDBPyConnection,
    prices: PriceBook,
    after: int,
    batches: int = STEP_BATCHES,
    spans_since: SpansSince = _all_spans,
) -> int:
    """Derive the traces touched by the next commits; return the batch that is now contained.

    ``spans_since`` names a view that holds all spans of the commits from a number on.
    """
    spans = spans_since(after + 1)
    last = _touch(cursor, after, batches, spans)
    # A commit went into an older file meanwhile, or a day began: the newest files are others.
    if (wider := spans_since(after + 1)) != spans:
        last = _touch(cursor, after, batches, wider)
    if last > after:
        if _count(cursor, "select count(*) from d_linked"):
            run_script(cursor, read_sql("derive/00_context"), {})
        _derive_touched(cursor, prices, after, last, spans_since)
    return last


def _touch(cursor: duckdb.DuckDBPyConnection, after: int, batches: int, spans: str) -> int:
    """Find the traces of the next commits in view ``spans``; return the last of these commits."""
    last = next_batch(cursor, after, batches, spans)
    if last > after:
        touched = read_sql("derive/00_touched").replace("{span}", spans)
        run_script(cursor, touched, {"after": after, "last_batch": last})
    return last


def _derive_touched(
    cursor: duckdb.DuckDBPyConnection,
    prices: PriceBook,
    after: int,
    last: int,
    spans_since: SpansSince,
) -> None:
    earlier = cursor.execute(
        "select first_batch from stored_times('d_context', 'rollup.request', 'rollup.aside')"
    ).fetchone()
    first = min(after + 1, int(earlier[0])) if earlier and earlier[0] is not None else after + 1
    spans = spans_since(first)
    compute(cursor, prices, first, last, spans=spans)
    if (wider := spans_since(first)) != spans:
        compute(cursor, prices, first, last, spans=wider)
    run_script(cursor, read_sql("derive/60_minutes"), {})
    with transaction(cursor):
        replace_rows(cursor)
        run_script(cursor, read_sql("derive/72_reused"), {})
        cursor.execute("update rollup.progress set derived_batch = $last", {"last": last})


def derive_again(
    cursor: duckdb.DuckDBPyConnection,
    prices: PriceBook,
    traces: Sequence[str],
    minutes: Sequence[datetime],
    last: int,
) -> None:
    """Derive these traces and minutes from all their spans up to batch ``last``."""
    look_at(cursor, traces)
    compute(cursor, prices, 0, last)
    run_script(cursor, read_sql("derive/60_minutes"), {})
    cursor.execute("insert into d_minute select unnest($1::timestamptz[])", [list(minutes)])
    with transaction(cursor):
        replace_rows(cursor)


def derive_waiting(cursor: duckdb.DuckDBPyConnection, prices: PriceBook, last: int) -> bool:
    """Derive the next traces of ``to_derive`` again; return whether there were any."""
    found = cursor.execute(
        f"select trace_id from rollup.to_derive limit {WAITING_TRACES}"
    ).fetchall()
    if not found:
        return False
    traces = [trace for (trace,) in found]
    _derive_each(cursor, prices, traces, last)
    cursor.execute("delete from rollup.to_derive where trace_id in (select unnest($1))", [traces])
    return True


def _derive_each(
    cursor: duckdb.DuckDBPyConnection, prices: PriceBook, traces: list[str], last: int
) -> None:
    """Derive traces again; of those that fail together, the one that fails alone keeps its rows."""
    try:
        derive_again(cursor, prices, traces, [], last)
    except duckdb.Error as error:
        if is_store_fault(error):
            raise
        if len(traces) == 1:
            logger.error("trace %s keeps what an older release derived: %s", traces[0], error)
            return
        middle = len(traces) // 2
        for half in (traces[:middle], traces[middle:]):
            _derive_each(cursor, prices, half, last)


def look_at(cursor: duckdb.DuckDBPyConnection, traces: Sequence[str]) -> None:
    """Make ``traces`` the touched ones; what holds another view of their calls is found in the spans."""
    cursor.execute(
        "create or replace temp table d_touched as select unnest($1::varchar[]) as trace_id",
        [list(traces)],
    )
    run_script(cursor, read_sql("derive/context"), {})


def compute(
    cursor: duckdb.DuckDBPyConnection,
    prices: PriceBook,
    first: int,
    last: int,
    price: Callable[[duckdb.DuckDBPyConnection, PriceBook], None] = price_calls,
    spans: str = "span",
) -> None:
    """Fill the ``d_`` tables of the touched traces from their spans in batches ``first`` to ``last``.

    ``spans`` is a view that holds these.
    """
    batches = {"first_batch": first, "last_batch": last}
    for step in ("01_times", "02_beyond", "05_spans"):
        run_script(cursor, read_sql(f"derive/{step}").replace("{span}", spans), batches)
    held = _held(cursor)
    for step in _STEPS:
        if step in _ONLY_FOR and not held[_ONLY_FOR[step]]:
            continue
        if step == "30_price":
            price(cursor, prices)
        else:
            run_script(cursor, read_sql(f"derive/{step}"), {})


def _held(cursor: duckdb.DuckDBPyConnection) -> dict[str, bool]:
    """Return what the spans at hand hold that not all do."""
    found = cursor.execute(read_sql("derive/holds"))
    names = [column[0] for column in found.description]
    return dict(zip(names, *found.fetchall(), strict=True))


def replace_rows(cursor: duckdb.DuckDBPyConnection, into: str = "rollup.") -> None:
    """Put the computed rows in place of the touched traces' and recompute the minutes in ``d_minute``.

    ``into`` is the prefix of the tables that are written, and read for the minutes.
    """
    for script in ("derive/70_store", "derive/80_usage_minute"):
        text = _with_columns(cursor, read_sql(script)).replace("rollup.", into)
        run_script(cursor, text, {})


def _with_columns(cursor: duckdb.DuckDBPyConnection, script: str) -> str:
    """Fill in the column lists of our own tables, which the steps' wider results are cut to."""
    for table in ("call", "tool_call", "agent_run", "request"):
        columns = [row[0] for row in cursor.execute(f"describe rollup.{table}").fetchall()]
        script = script.replace(f"{{{table}_columns}}", ", ".join(columns))
    return script
