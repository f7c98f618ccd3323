"""The collector's price tables: one box a point, the same box as in the shim, ready at once."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from taximeter.pricing import FIELDS
from taximeter_collector.prices import PriceBook

POINTS = 4_000
_HITS = """
select p.n, count(b.price_key), any_value([{prices}]) from points p
left join price_band b on b.price_key = p.price_key
    and epoch(p.moment) >= b.valid_from and epoch(p.moment) < b.valid_to
    and p.prompt > b.gt_prompt and p.prompt <= b.le_prompt
    and (b.all_day or ((b.dow_mask >> (isodow(p.moment) - 1)::integer) & 1 = 1
        and hour(p.moment) * 3600 + minute(p.moment) * 60 >= b.tod_from
        and hour(p.moment) * 3600 + minute(p.moment) * 60 < b.tod_to))
group by p.n order by p.n
""".format(prices=", ".join(f"p_{name}" for name in FIELDS))


@pytest.fixture(scope="module")
def con() -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    con.execute("set timezone = 'UTC'")
    return con


@pytest.fixture(scope="module")
def book(con: duckdb.DuckDBPyConnection) -> PriceBook:
    return PriceBook(con)


def test_every_point_falls_into_one_box_and_it_is_the_shims(
    con: duckdb.DuckDBPyConnection, book: PriceBook
) -> None:
    chance = random.Random(7)
    entries = book.catalog.standard_entries()
    dated = [entry for entry in entries if len(book.catalog.bands(entry)) > 2]
    keys = dict(
        con.execute(
            "select provider_id || '|' || model_id || '|' || context, price_key from price_key"
        ).fetchall()
    )
    rows, boxes = [], []
    for n in range(POINTS):
        entry = chance.choice(chance.choice([entries, dated]))
        at = datetime(2025, 6, 1, tzinfo=UTC) + timedelta(minutes=chance.randrange(900_000))
        prompt = chance.choice([0, 99_999, 100_000, 100_001, 200_000, 200_001, 272_000, 272_001])
        key = keys[f"{entry.provider}|{entry.model}|{entry.context}"]
        rows.append((n, key, at, prompt))
        boxes.append([b for b in book.catalog.bands(entry) if b.holds(at, prompt)])
    con.execute("create table points (n int, price_key int, moment timestamptz, prompt bigint)")
    con.executemany("insert into points values (?, ?, ?, ?)", rows)
    for (n, hits, prices), held in zip(con.execute(_HITS).fetchall(), boxes, strict=True):
        assert hits == len(held) <= 1, rows[n]
        if held:
            assert tuple(prices) == held[0].prices


def test_the_users_file_reaches_the_tables(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text("[[price]]\nmodel = 'mine'\ninput = '3'\noutput = '4'\n")
    own = duckdb.connect()
    book = PriceBook(own, file)
    book.resolve(own, [("acme", "mine", "standard", False, None, None)])
    found = own.execute(
        "select p_input, p_output, source from model_alias join price_band using (price_key)"
    ).fetchall()
    assert found == [(3_000_000, 4_000_000, f"{file}:1, undated")]
    assert book.version != PriceBook(duckdb.connect()).version


def test_the_tables_are_ready_within_seconds() -> None:
    """Loaded, not derived; 0.3 s on the machine this was written on."""
    started = time.process_time()
    PriceBook(duckdb.connect())
    assert time.process_time() - started < 3
