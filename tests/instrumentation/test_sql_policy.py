"""What a tool may ask a database: statements that read."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from taximeter.policies import Denied, ReadOnlySql

SQL_ATTACKS = [
    "drop table t",
    "select 1; drop table t",
    "select 1;;drop table t",
    "insert into t values (1)",
    "WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x",
    "with x as (update t set a = 1 returning a) select * from x",
    "select * into copy from t",
    "select * from t for update",
    "select 1 drop table t",
    "select 1 exec xp_cmdshell 'dir'",
    "select 'a' into outfile '/tmp/x'",
    "explain analyze delete from t",
    "/*! drop table t */",
    "select 1 /* ; */ ; drop table t",
    "select 1 --1; drop table t",
    "select 1 # '\n; drop table t; -- '",
    "select '\\'; drop table t; -- '",
    'select "a\\"; drop table t',
    "select $$a$$; drop table t",
    "select $tag$'$tag$",
    "select 'open",
    'select "open',
    "select pg_read_file('/etc/passwd')",
    "select \"pg_read_file\"('/etc/passwd')",
    "select PG_SLEEP (1000)",
    "select lo_import('/etc/passwd')",
    "select * from dblink('host=x', 'drop table t') as t(a int)",
    "select set_config('role', 'admin', false)",
    "select nextval('s')",
    "select pg_terminate_backend(1)",
    "select query_to_xml('delete from t', true, true, '')",
    "select load_extension('x.so')",
    "select writefile('x', 'y')",
    "select load_file('/etc/passwd')",
    "select benchmark(1e9, md5('x'))",
    "select * from read_csv('/etc/passwd')",
    "select * from read_text('/etc/passwd')",
    "select * from '/etc/passwd'",
    "select * from 'secrets.csv'",
    'select * from "x.parquet"',
    "select * from t, 'x.csv'",
    "select * from (select 1) join '/data/x.json' on true",
    "from 'x.csv'",
    "attach 'x.db'",
    "pragma writable_schema = 1",
    "copy t to '/tmp/x'",
    "copy (select 1) to program 'sh'",
    "call p()",
    "do $$ begin end $$",
    "set role admin",
    "begin",
    "vacuum into 'x'",
    "truncate t",
    "grant all on t to public",
    "select * from openrowset('x', 'y', 'z')",
    "select 1 waitfor delay '1:00'",
    "select 1\0",
    ";",
    "",
    None,
]


@pytest.mark.parametrize("sql", SQL_ATTACKS, ids=repr)
def test_sql_that_may_write_is_refused(sql: Any) -> None:
    with pytest.raises(Denied):
        ReadOnlySql().check(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "select * from t where a = 'it''s; drop table t -- no'",
        "SELECT replace(name, '/', '-') FROM t ORDER BY 1;",
        'select "delete" from "order"',
        "with x as (select 1 as a) select a from x union all values (2)",
        "(select 1)",
        "select start, comment, end_at, call, set_by from t where lock is null",
        "select count(*) from a join b on a.id = b.id where path = '/x.csv'",
        "explain select 1",
        "select deleted, updated_at from t",
        "select a from t where note in ('x.csv', '/y')",
        "select sum(a) from (select a from t where p = '/x') as s, u where u.p = 'y.csv'",
    ],
)
def test_sql_that_reads_passes(sql: str) -> None:
    assert ReadOnlySql().check(sql) == sql


def test_a_risky_function_is_for_whoever_says_so() -> None:
    assert ReadOnlySql(functions=["nextval"]).check("select nextval('s')")


def test_honest_sql_really_runs() -> None:
    con = sqlite3.connect(":memory:")
    con.execute("create table t (a text)")
    sql = ReadOnlySql().check("select replace(a, 'x', 'y') from t where a <> ';'")
    assert con.execute(sql).fetchall() == []
