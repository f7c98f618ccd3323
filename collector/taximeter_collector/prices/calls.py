"""The calls of the traces at hand, `d_call`, → `d_priced`: the steps of pricing in their order."""

from __future__ import annotations

import duckdb

from taximeter_collector.prices.book import PriceBook
from taximeter_collector.prices.other_models import price_other_models
from taximeter_collector.sql_files import read_sql, run_script


def price_calls(
    cursor: duckdb.DuckDBPyConnection, book: PriceBook, *, keep_stored: bool = True
) -> None:
    """Make the temporary table ``d_priced``: ``d_call`` with costs.

    With ``keep_stored`` a call that an earlier price list has priced keeps that price.
    """
    version = {"price_version": book.version}
    run_script(cursor, read_sql("derive/27_terms"), {})
    book.resolve(cursor, cursor.execute(read_sql("derive/new_models")).fetchall())
    run_script(cursor, read_sql("derive/28_output_bounds"), {})
    run_script(cursor, read_sql("derive/30_price"), version)
    price_other_models(cursor, book.catalog)
    run_script(cursor, read_sql("derive/35_stated_cost"), {})
    if keep_stored and _is_stored(cursor):
        run_script(cursor, read_sql("derive/36_keep_price"), version)
        run_script(cursor, read_sql("derive/37_restore_price"), version)


def _is_stored(cursor: duckdb.DuckDBPyConnection) -> bool:
    """Return whether any of the traces was derived before (derive/01_times.sql)."""
    found = cursor.execute("select getvariable('stored_time').first < 'infinity'").fetchone()
    return bool(found and found[0])
