"""What a query may and may not do: attacks are refused, everyday analysis runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import duckdb
import pytest

from taximeter_collector.query_gate import Forbidden, Malformed, check_statement
from taximeter_collector.read_api import QueryFault, QueryRequest, run_query

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


ATTACKS = {
    "two statements": "select 1; select 2",
    "hidden second statement": "select 1; drop table calls",
    "delete": "delete from calls",
    "delete in a with": "with x as (delete from calls returning *) select * from x",
    "insert in a with": "with x as (insert into calls select * from calls returning *) from x",
    "update in a with": "with x as (update calls set cost_pico = 1 returning *) select * from x",
    "delete in a subquery": "select * from (delete from calls returning *)",
    "insert": "insert into calls values (1)",
    "update": "update calls set cost_pico = 0",
    "merge": "merge into calls using requests on true when matched then delete",
    "truncate": "truncate calls",
    "drop": "drop view requests",
    "create": "create table t as select 1",
    "create temporary": "create temp table t as select 1",
    "create macro": "create temp macro m(a) as a + 1",
    "create secret": "create secret s (type http)",
    "alter": "alter table calls add column x int",
    "attach": "attach 'other.duckdb'",
    "detach": "detach memory",
    "use": "use memory",
    "copy out": "copy calls to 'out.csv'",
    "copy a query out": "copy (select 1) to '/tmp/out.parquet'",
    "copy in": "copy calls from 'in.csv'",
    "export": "export database 'dir'",
    "import": "import database 'dir'",
    "install": "install httpfs",
    "load": "load httpfs",
    "set": "set memory_limit = '100GB'",
    "reset": "reset memory_limit",
    "set variable": "set variable x = 1",
    "pragma": "pragma database_list",
    "pragma function": "pragma table_info('calls')",
    "call": "call enable_logging()",
    "call a pragma": "call pragma_version()",
    "checkpoint": "checkpoint",
    "vacuum": "vacuum",
    "analyze": "analyze",
    "prepare": "prepare p as select 1",
    "execute": "execute p",
    "transaction": "begin",
    "commit": "commit",
    "rollback": "rollback",
    "explain analyze a write": "explain analyze delete from calls",
    "show databases": "show databases",
    "show all tables": "show all tables",
    "file by name": "select * from '/etc/passwd'",
    "csv by name": "select * from 'secrets.csv'",
    "parquet by name": 'select * from "x.parquet"',
    "url by name": "select * from 'https://example.org/x.parquet'",
    "read_csv": "select * from read_csv('/etc/passwd')",
    "read_csv_auto": "select * from read_csv_auto('/etc/passwd')",
    "read_text": "select * from read_text('/etc/passwd')",
    "read_blob": "select content from read_blob('/etc/passwd')",
    "read_json": "select * from read_json('/etc/passwd')",
    "read_parquet": "select * from read_parquet('x.parquet')",
    "parquet_metadata": "select * from parquet_metadata('x.parquet')",
    "read_duckdb": "select * from read_duckdb('other.duckdb')",
    "glob": "select * from glob('/*')",
    "sniff_csv": "select * from sniff_csv('/etc/passwd')",
    "read in a subquery": "select (select content from read_text('/etc/passwd'))",
    "read in a with": "with x as (select * from read_text('/etc/passwd')) select * from x",
    "read in a lateral join": "select * from calls, lateral (select * from glob('/*'))",
    "read in a union": "select 1 union all select 2 from glob('*')",
    "read in exists": "select 1 where exists (from glob('*'))",
    "read in order by": "select 1 order by (select count(*) from glob('*'))",
    "read in limit": "select 1 limit (select count(*) from glob('*'))",
    "read in a window": "select sum((select 1 from glob('*'))) over () from calls",
    "read in a lambda": "select list_transform([1], lambda x: (select count(*) from glob('*')))",
    "read in pivot": "from (pivot glob('*') on file in ('a') using count(*))",
    "read in describe": "describe select * from glob('*')",
    "query by text": "select * from query('select 1')",
    "table by text": "select * from query_table('span')",
    "serialized statement": "select * from json_execute_serialized_sql('{}')",
    "settings": "select * from duckdb_settings()",
    "secrets": "select * from duckdb_secrets()",
    "tables": "select * from duckdb_tables()",
    "functions": "select * from duckdb_functions()",
    "information schema": "select * from information_schema.tables",
    "catalog of postgres": "select * from pg_catalog.pg_class",
    "sqlite master": "select * from main.sqlite_master",
    "another catalog": "select * from rollup.request",
    "a view's name in another catalog": "select * from other.main.calls",
    "temp schema": "select * from temp.calls",
    "current_setting": "select current_setting('memory_limit')",
    "current_setting in where": "select 1 from calls where current_setting('threads') = '1'",
    "getenv": "select getenv('HOME')",
    "getenv as a method": "select 'HOME'.getenv()",
    "getenv in upper case": "select GETENV('HOME')",
    "getenv quoted": "select \"getenv\"('HOME')",
    "getenv with a schema": "select system.main.getenv('HOME')",
    "getvariable": "select getvariable('x')",
    "nextval": "select nextval('seq')",
    "write_log": "select write_log('x')",
    "sleep": "select sleep_ms(100000)",
    "sleep of postgres": "select pg_sleep(100)",
    "invoke": "select invoke(lambda x: x, 1)",
    "statement as json": "select json_serialize_sql('select 1')",
    "state from bytes": "select finalize('abc'::blob)",
    "huge repeat": "select repeat('x', 3000000000)",
    "repeat by a column": "select repeat('x', cost_pico) from calls",
    "repeated repeat": "select repeat(repeat('x', 10000), 10000)",
    "repeat through a with": (
        "with a as (select repeat('x', 9999) x) select repeat(x, 9999) from a"
    ),
    "replacement that grows": (
        "select replace(replace(agent_name, 'a', repeat('b', 9000)), 'b', repeat('c', 9000))"
        " from calls"
    ),
    "huge lpad": "select lpad('x', 2000000000, 'y')",
    "huge list": "select list_resize([1], 2000000000)",
    "huge printf": "select printf('%2000000000d', 1)",
    "printf by a column": "select printf(agent_name, 1) from calls",
    "huge format": "select format('{:2000000000}', 1)",
    "format with a width argument": "select format('{:{}}', 1, 2000000000)",
    "with named like a file": 'with "/etc/passwd" as (select 1) from "/etc/passwd"',
    "with out of its scope": ('select * from (with "x.csv" as (select 1) select 1) a, "x.csv" b'),
    "python variable": "select * from con.leak",
    "test vectors": "select * from test_all_types()",
    "checkpoint function": "select * from checkpoint()",
    "logs": "select * from duckdb_logs",
    "arrow scan": "select * from arrow_scan(1, 2, 3)",
    "enable logging": "select * from enable_logging('FileSystem')",
    "nested comment": "select /* harmless */ getenv /* x */ ('HOME')",
}

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


NOT_SQL = {
    "delete in a subquery",
    "format with a width argument",
    "logs",
    # DuckDB 1 knows no writes inside WITH and no method calls on constants.
    "delete in a with",
    "insert in a with",
    "update in a with",
    "getenv as a method",
}
"""Attacks that a DuckDB version does not take as SQL at all, or as an unknown name."""


def test_other_attacks_are_forbidden_and_not_malformed(con: duckdb.DuckDBPyConnection) -> None:
    for name, sql in ATTACKS.items():
        if name not in NOT_SQL:
            with pytest.raises(Forbidden):
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
