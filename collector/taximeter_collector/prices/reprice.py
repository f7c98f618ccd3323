"""History priced again with today's list: first as a difference, then for good, reversibly.

What is counted, and whose call is billed, stays; only prices change. A trace is computed from its
spans again, so that its request, runs and minutes follow (`derive/derive.py`); one whose spans are no
longer kept is left alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import duckdb

from taximeter_collector.derive.derive import (
    STEP_SPANS,
    compute,
    derive_again,
    derived_batch,
    look_at,
    replace_rows,
)
from taximeter_collector.prices.book import PriceBook
from taximeter_collector.prices.calls import price_calls
from taximeter_collector.sql_files import read_sql, run_script
from taximeter_collector.store.lending import transaction
from taximeter_collector.store.store import Store

_PICO: Final = 10**12


class NothingToUndo(Exception):
    """There is no such repricing, or a later one stands on it; the message says which."""


@dataclass(frozen=True, slots=True)
class Window:
    """Calls that started in [start, end); None is open."""

    start: datetime | None = None
    end: datetime | None = None

    @property
    def params(self) -> dict[str, datetime | None]:
        return {"from": self.start, "to": self.end}


def plan(store: Store, cursor: duckdb.DuckDBPyConnection, window: Window) -> dict[str, Any]:
    """Return what pricing the window again would change; writes temporary tables only.

    ``rows`` has one a day and model: day, provider, model, calls, newly_priced, no_longer_priced,
    before_usd, after_usd, difference_usd. Raises PriceFileError.
    """
    book = store.load_prices(cursor, is_trial=True)
    cursor.execute("create or replace temp table d_all_change"
                   " (start_time timestamptz, is_billed boolean, provider varchar, model varchar,"
                   " before_pico hugeint, after_pico hugeint)")  # fmt: skip
    for traces in _pieces(cursor, window):
        _compute(cursor, book, traces, window)
        cursor.execute("insert into d_all_change by name select start_time, is_billed, provider,"
                       " model, before_pico, after_pico from d_change")  # fmt: skip
    rows = _rows(cursor.execute(read_sql("reprice/difference")))
    return _summary(rows) | {
        "price_version": book.version,
        "running_price_version": store.prices.version,
        "from": window.start and window.start.isoformat(),
        "to": window.end and window.end.isoformat(),
    }


def apply(store: Store, window: Window, cursor: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """Price the window again and keep what it was; new calls have the new list too.

    Runs in the follower. Raises PriceFileError.
    """
    book = store.load_prices(cursor)
    (found,) = cursor.execute(
        "select coalesce(max(repricing_id), 0) + 1 from rollup.repricing"
    ).fetchall()
    repricing_id = int(found[0])
    cursor.execute(
        "insert into rollup.repricing (repricing_id, started_at, price_version, window_start,"
        " window_end, calls) values ($1, $2, $3, $4, $5, 0)",
        [repricing_id, datetime.now(UTC), book.version, window.start, window.end],
    )
    for traces in _pieces(cursor, window):
        _compute(cursor, book, traces, window)
        run_script(cursor, read_sql("derive/60_minutes"), {})
        with transaction(cursor):
            run_script(cursor, read_sql("reprice/journal"), {"repricing_id": repricing_id})
            replace_rows(cursor)
    cursor.execute(
        "update rollup.repricing r set finished_at = $2, calls = s.calls,"
        " before_pico = s.before_pico, after_pico = s.after_pico from ("
        " select count(*) as calls, coalesce(sum(before.cost_pico), 0) as before_pico,"
        " coalesce(sum(after_pico), 0) as after_pico from rollup.repriced_call"
        " where repricing_id = $1 and is_billed) s where r.repricing_id = $1",
        [repricing_id, datetime.now(UTC)],
    )
    return _record(cursor, repricing_id)


def undo(
    store: Store, repricing_id: int | None, cursor: duckdb.DuckDBPyConnection
) -> dict[str, Any]:
    """Put back what the last repricing changed, where nothing has changed it since.

    Runs in the follower. Raises NothingToUndo.
    """
    last = cursor.execute(
        "select repricing_id, price_version from rollup.repricing"
        " where undone_at is null order by repricing_id desc limit 1"
    ).fetchone()
    if last is None:
        raise NothingToUndo("No repricing is in force, there is nothing to undo.")
    if repricing_id not in (None, last[0]):
        raise NothingToUndo(f"Repricing {last[0]} is the last in force: undo that first.")
    params = {"repricing_id": last[0], "price_version": last[1]}
    traces = cursor.execute(
        "select j.trace_id, any_value(r.span_count) from rollup.repriced_call j"
        " join rollup.request r on r.request_id = j.trace_id where j.repricing_id = $1"
        " group by j.trace_id order by min(j.start_time), j.trace_id",
        [last[0]],
    ).fetchall()
    for piece in _cut(traces):
        look_at(cursor, piece)
        run_script(cursor, read_sql("reprice/undo"), params)
        derive_again(cursor, store.prices, piece, [], derived_batch(cursor))
    cursor.execute(
        "update rollup.repricing set undone_at = $2 where repricing_id = $1",
        [last[0], datetime.now(UTC)],
    )
    return _record(cursor, last[0])


def _compute(
    cursor: duckdb.DuckDBPyConnection, book: PriceBook, traces: list[str], window: Window
) -> None:
    look_at(cursor, traces)
    compute(cursor, book, 0, derived_batch(cursor), price=partial(_price, window))


def _price(window: Window, cursor: duckdb.DuckDBPyConnection, book: PriceBook) -> None:
    """Price the calls anew; those outside the window, or that cost the same, stay as stored."""
    price_calls(cursor, book, keep_stored=False)
    run_script(cursor, read_sql("reprice/changes"), window.params)
    run_script(cursor, read_sql("derive/37_restore_price"), {"price_version": book.version})
    run_script(cursor, read_sql("reprice/first"), {})


def _pieces(cursor: duckdb.DuckDBPyConnection, window: Window) -> Iterator[list[str]]:
    return _cut(cursor.execute(read_sql("reprice/traces"), window.params).fetchall())


def _cut(traces: list[tuple[str, int]]) -> Iterator[list[str]]:
    """Yield trace ids in pieces of about so many spans as the follower takes at once."""
    piece: list[str] = []
    spans = 0
    for trace_id, count in traces:
        if piece and spans + count > STEP_SPANS:
            yield piece
            piece, spans = [], 0
        piece.append(trace_id)
        spans += count
    if piece:
        yield piece


def _summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    before, after = (sum(int(row[f"{when}_pico"]) for row in rows) for when in ("before", "after"))
    for row in rows:
        first, last = int(row.pop("before_pico")), int(row.pop("after_pico"))
        row |= _usd(first, last)
    return {"calls": sum(row["calls"] for row in rows), **_usd(before, after), "rows": rows}


def _usd(before: int, after: int) -> dict[str, float]:
    return {
        "before_usd": before / _PICO,
        "after_usd": after / _PICO,
        "difference_usd": (after - before) / _PICO,
    }


def _record(cursor: duckdb.DuckDBPyConnection, repricing_id: int) -> dict[str, Any]:
    (row,) = _rows(
        cursor.execute(
            "select repricing_id, price_version, calls, before_pico, after_pico,"
            " undone_at is not null as is_undone from rollup.repricing where repricing_id = $1",
            [repricing_id],
        )
    )
    return row | _usd(int(row.pop("before_pico") or 0), int(row.pop("after_pico") or 0))


def _rows(found: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    names = [column[0] for column in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]
