"""What a query may and may not do: attacks are refused, everyday analysis runs."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import duckdb
import pytest

from taximeter_collector.query.query_gate import Forbidden, Malformed, check_statement
from taximeter_collector.query.read_api import QueryFault, QueryRequest, run_query

from .conftest import ReadOnly


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    con = duckdb.connect(":memory:")
    con.execute("set enable_progress_bar = false; set TimeZone = 'UTC'")
    con.execute(
        "create table calls as select 'bot' as agent_name, 5 as cost_pico, now() as start_time,"
        " map {'a': 'b'} as attributes, ['x'] as tags, 1.5 as cost_usd"
    )
    con.execute("create view requests as from calls")
    con.execute("create table span as select 'internal' as secret")
    yield con
    con.close()


with Path(__file__).with_name("attacks.csv").open(encoding="utf-8", newline="") as file:
    ATTACKS = {attack["name"]: attack["sql"] for attack in csv.DictReader(file)}

READS = [
    "select 1",
    "select 1;",
    "select 1 -- comment; with a semicolon",
    "from calls",
    "table calls",
    "values (1), (2)",
    "describe calls",
    "summarize calls",
    "select * exclude (tags) replace (1 as cost_pico) from calls",
    "select agent_name, count(*), sum(cost_usd), avg(cost_pico) from requests group by 1",
    "select * from main.calls",
    "select * from memory.main.calls",
    "with a as (select * from calls), b as (from a) select * from b join a using (agent_name)",
    "with recursive r as (select 1 as n union all select n + 1 from r where n < 5) from r",
    "with a as materialized (from calls) select (select count(*) from a)",
    "select time_bucket(to_seconds(60), start_time) as bucket, count(*) from calls group by all",
    "select row_number() over (partition by agent_name order by start_time desc) from calls",
    "select quantile_cont(cost_usd, 0.95), median(cost_usd), mode(agent_name) from calls",
    "select list_transform([1, 2], lambda x: x + 1), [x * 2 for x in [1, 2]], tags[1] from calls",
    "select attributes['a'], map_keys(attributes), unnest(tags), len(tags) from calls",
    "select * from range(3) r, unnest([1, 2]) u, generate_series(1, 2)",
    "select key, value from json_each('{\"a\": 1}')",
    "select agent_name.upper(), upper(agent_name), agent_name || 'x', agent_name like 'b%' from calls",
    "select case when cost_usd > 1 then 'high' end, cost_usd between 1 and 2 from calls",
    "select coalesce(agent_name, '?'), try(1 / 0), cost_usd::int, extract(hour from now())",
    "select count(*) filter (where cost_usd > 1), bool_or(true) from calls having count(*) > 0",
    "from (pivot calls on agent_name in ('bot') using sum(cost_pico))",
    "select * from calls asof join requests using (start_time)",
    "select * from calls where agent_name in (select agent_name from requests) limit 10 offset 1",
    "select 1 union by name select 2 as b order by all",
    "select repeat('█', 20), lpad('x', 5, ' '), format('{:.2f}', 1.5), printf('%08.3f', 1.5)",
    "select replace(agent_name, 'a', 'bb'), regexp_replace(agent_name, '[0-9]+', '#') from calls",
    "select columns('cost.*') from calls tablesample 50%",
    "select histogram(cost_pico), approx_quantile(cost_usd, 0.5) from calls",
    "select $a + $b, list_contains($c, agent_name) from calls",
    "select 'it''s; drop table calls'",
    "select date_trunc('hour', start_time) at time zone 'Europe/Rome' from calls",
    "select start_time - interval 1 day, start_time::date from calls",
]


@pytest.mark.parametrize("sql", ATTACKS.values(), ids=ATTACKS.keys())
def test_an_attack_is_refused(con: duckdb.DuckDBPyConnection, sql: str) -> None:
    with pytest.raises((Forbidden, Malformed)):
        check_statement(con, sql)


@pytest.mark.parametrize("sql", READS)
def test_a_read_passes(con: duckdb.DuckDBPyConnection, sql: str) -> None:
    check_statement(con, sql)
    if "$" not in sql and "agent_name.upper" not in sql and "coalesce" not in sql:
        con.sql(sql).to_arrow_table()


def test_an_unknown_view_says_which_was_meant(con: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(Malformed, match="There is no view cals. Did you mean calls?") as caught:
        check_statement(con, "select *\nfrom cals")
    assert caught.value.offset == 14


def test_an_internal_table_is_not_a_view(con: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(Malformed, match="no view span. Did you mean spans"):
        check_statement(con, "select * from span")


def test_a_syntax_error_has_its_offset(con: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(Malformed) as caught:
        check_statement(con, "select * frm calls")
    assert caught.value.offset is not None


@pytest.mark.parametrize(
    ("sql", "hint"),
    [
        (
            "pivot calls on agent_name using sum(cost_usd)",
            r"from calls pivot \(sum\(cost_usd\) for provider in",
        ),
        (
            "select unnest(range(1000000))",
            r"one list of 1,000,000 values.* write `from range\(…\)`",
        ),
        ("select generate_series(1, 1000000)", r"write `from generate_series\(…\)`"),
        ("update calls set cost_usd = 0", r"Only one reading statement \(SELECT\) may be sent\.$"),
        (
            "select left(agent_name, -1) || " + " || ".join(["agent_name"] * 40) + " from calls",
            "build shorter ones",
        ),
    ],
    ids=["pivot", "unnest", "series", "write", "cut of unknown length"],
)
def test_a_refusal_says_what_to_write(con: duckdb.DuckDBPyConnection, sql: str, hint: str) -> None:
    with pytest.raises(Forbidden, match=hint) as caught:
        check_statement(con, sql)
    assert "serialized" not in str(caught.value)


@pytest.mark.parametrize("sql", ["", "   ", "-- nothing", ";"])
def test_nothing_is_no_statement(con: duckdb.DuckDBPyConnection, sql: str) -> None:
    with pytest.raises(Malformed):
        check_statement(con, sql)


def test_deep_nesting_is_no_crash(con: duckdb.DuckDBPyConnection) -> None:
    with suppress(Forbidden, Malformed):
        check_statement(con, "select " + "(" * 5000 + "1" + ")" * 5000)
    check_statement(con, "select " + " + ".join(["1"] * 200))


def test_writes_fail_behind_the_gate_too(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    """The read-only transaction holds even if the gate had a hole."""
    with ReadOnly(con).read() as cursor, pytest.raises(duckdb.Error):
        cursor.execute("with x as (delete from calls returning *) select * from x")


def fault(con: duckdb.DuckDBPyConnection, sql: str, **limits: int) -> QueryFault:
    with pytest.raises(QueryFault) as caught:
        run_query(ReadOnly(con), QueryRequest(sql, {}, **limits), "json")
    return caught.value


def test_an_endless_query_is_stopped_in_time(con: duckdb.DuckDBPyConnection) -> None:
    sql = (
        "select count(*) from range(1000000) a, range(1000000) b where hash(a.range + b.range) = 5"
    )
    assert fault(con, sql, timeout_ms=200).status == 504


def test_an_endless_stream_is_stopped_at_its_row_limit(con: duckdb.DuckDBPyConnection) -> None:
    stopped = fault(con, "select * from range(100000000000)", max_rows=1000)
    assert (stopped.status, stopped.type) == (413, "too_many_rows")


def test_a_wrong_column_has_its_position(con: duckdb.DuckDBPyConnection) -> None:
    wrong = fault(con, "select agent_name,\n  nope\nfrom calls")
    assert (wrong.status, wrong.type, wrong.position) == (400, "binder", (2, 3))
    assert "nope" in wrong.message and "LINE" not in wrong.message


def test_an_error_inside_the_stream_is_a_400(con: duckdb.DuckDBPyConnection) -> None:
    sql = "select cast(case when range = 90000 then 'x' else '1' end as int) from range(100000)"
    assert fault(con, sql).type == "conversion"
