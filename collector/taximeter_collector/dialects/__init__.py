"""What each client library calls things, as data: rows in, rule tables in DuckDB out.

A new dialect is lines in these files, or rows of a user's taximeter.toml, which stand above them.
Within a table the first row that fits wins.
`detect.csv` dialect by scope, resource or attribute key · `kinds.csv` kind by attribute value ·
`attributes.csv` column by attribute key (and JSON path) · `exclusive.csv` emitters whose input
leaves cached tokens out · `absent_is_zero.csv`, `two_lifetimes.csv`, `distrusted.csv` what a missing or
known-wrong count means · `errors.csv` error class by error type · `messages.csv` what only the text
of an error says · `preference.csv` whose span of one call is kept (smaller wins) · `events.csv` which log events tell of a call, a tool or a turn, and
how their request and times are found · `signals.csv` dialects whose log tells more than the span ·
`metrics.csv` which attribute a metric's points stand for · `nested.csv` agents that run a
program which sends telemetry of its own, so that their sums repeat its calls · `content_keys.csv` which
attributes hold what agents say.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import duckdb
import pyarrow as pa

from taximeter.settings.rule_rows import RuleRow
from taximeter.settings.settings import ToolsSettings
from taximeter_collector.dialects.columns import REPLACES
from taximeter_collector.dialects.shipped import RULE_FILES, Row, mapped_columns, read_rules
from taximeter_collector.dialects.user_rows import check_rows

__all__ = ["RULE_FILES", "load_rules", "load_tool_rules", "mapped_columns", "metric_names",
           "read_rules", "rules_table"]  # fmt: skip


def load_rules(con: duckdb.DuckDBPyConnection, user: Sequence[RuleRow] = ()) -> None:
    """Create the rule tables in the current catalog: the rows of ``user``, then the shipped ones.

    Each row has its ``rank`` (smaller wins; a user's is negative) and its ``source``, file and
    line. Raises SettingsError for a row that is not allowed.
    """
    own = check_rows(con, user)
    for table, file in RULE_FILES.items():
        name = file.removesuffix(".csv")
        first = own.get(name, [])
        rows = _with_user_rows(file, name, first) if first else _shipped_table(file, name)
        con.register("rule_rows", rows)
        con.execute(f"create or replace table {table} as select * from rule_rows")
        con.unregister("rule_rows")
    con.execute('alter table attribute_mapping rename column "column" to column_name')


@cache
def _shipped_table(file: str, name: str) -> pa.Table:
    return _with_user_rows(file, name, ())


def _with_user_rows(file: str, name: str, first: Sequence[Row]) -> pa.Table:
    return rules_table(_ranked(first, _shipped(file, name, first)))


def rules_table(rows: Sequence[dict[str, str | int | None]]) -> pa.Table:
    """Return rows of a rule table as Arrow: text but for the rank, also where all is empty."""
    kinds = {name: pa.int64() if name == "rank" else pa.string() for name in rows[0]}
    return pa.Table.from_pylist(list(rows), pa.schema(kinds.items()))


def _shipped(file: str, name: str, first: Sequence[Row]) -> list[Row]:
    key = REPLACES.get(name, ())
    taken = {tuple(row[part] for part in key) for row in first} if key else set()
    return [
        row | {"source": f"dialects/{file}:{line}"}
        for line, row in enumerate(read_rules(file), start=2)
        if tuple(row[part] for part in key) not in taken
    ]


def _ranked(first: Sequence[Row], shipped: Sequence[Row]) -> list[dict[str, str | int | None]]:
    rows = enumerate([*first, *shipped], start=-len(first))
    # A table with a rank of its own keeps it.
    return [{**row, "rank": int(row.get("rank") or rank)} for rank, row in rows]


def load_tool_rules(con: duckdb.DuckDBPyConnection, tools: ToolsSettings) -> None:
    """Add the user's polling and mutating tools, and the arguments that do not tell calls apart."""
    roles = [(tool, "polling") for tool in tools.polling]
    roles += [(tool, "mutating") for tool in tools.mutating]
    for tool, role in roles:
        con.execute("insert into tool_rule (scope, tool, role) values ('*', ?, ?)", [tool, role])
    con.execute("create or replace table volatile_argument (tool varchar, name varchar)")
    for argument in tools.volatile_arguments:
        tool, _, name = argument.rpartition(".")
        con.execute("insert into volatile_argument values (?, ?)", [tool or None, name])


def metric_names(con: duckdb.DuckDBPyConnection) -> frozenset[str]:
    """Return the metrics whose points are read."""
    return frozenset(
        name for (name,) in con.execute("select distinct metric from metric_rule").fetchall()
    )
