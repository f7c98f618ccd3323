"""What each client library calls things, as data: rows in, rule tables in DuckDB out.

A new dialect is lines in these files. Within a file the first line that fits wins.
`detect.csv` dialect by scope, resource or attribute key · `kinds.csv` kind by attribute value ·
`attributes.csv` column by attribute key (and JSON path) · `exclusive.csv` emitters whose input
leaves cached tokens out · `absent_is_zero.csv`, `two_lifetimes.csv`, `distrusted.csv` what a missing or
known-wrong count means · `errors.csv` error class by error type · `preference.csv` whose span of
one call is kept (smaller wins) · `events.csv` which log events tell of a call, a tool or a turn, and
how their request and times are found · `signals.csv` dialects whose log tells more than the span ·
`metrics.csv` which attribute a metric's points stand for · `nested.csv` agents that run a
program which sends telemetry of its own, so that their sums repeat its calls.
"""

from __future__ import annotations

import csv
from functools import cache
from importlib import resources
from typing import Final

import duckdb
import pyarrow as pa

from taximeter.settings import ToolsSettings

RULE_FILES: Final = {
    "detect_rule": "detect.csv",
    "kind_rule": "kinds.csv",
    "attribute_mapping": "attributes.csv",
    "exclusive_rule": "exclusive.csv",
    "absent_is_zero": "absent_is_zero.csv",
    "two_lifetimes": "two_lifetimes.csv",
    "distrusted": "distrusted.csv",
    "error_rule": "errors.csv",
    "dialect_preference": "preference.csv",
    "finish_rule": "finish_reasons.csv",
    "termination_rule": "terminations.csv",
    "span_mark": "span_marks.csv",
    "tool_rule": "tools.csv",
    "input_key": "input_keys.csv",
    "thrash_level": "thrash_levels.csv",
    "event_rule": "events.csv",
    "signal_rule": "signals.csv",
    "metric_rule": "metrics.csv",
    "nested_rule": "nested.csv",
}


def load_rules(con: duckdb.DuckDBPyConnection) -> None:
    """Create the rule tables, each with ``rank`` (smaller wins), in the current catalog."""
    for table, file in RULE_FILES.items():
        rows = read_rules(file)
        arrow = pa.Table.from_pylist([row | {"rank": rank} for rank, row in enumerate(rows)])
        con.register("rule_rows", arrow)
        con.execute(f"create or replace table {table} as select * from rule_rows")
        con.unregister("rule_rows")
    con.execute('alter table attribute_mapping rename column "column" to column_name')


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


def read_rules(file: str) -> list[dict[str, str | None]]:
    """Return the rows of one rule file; an empty cell is None."""
    text = resources.files(__package__).joinpath(file).read_text(encoding="utf-8")
    return [
        {name: value or None for name, value in row.items()}
        for row in csv.DictReader(text.splitlines())
    ]


def mapped_columns() -> list[str]:
    """Return the columns that `attributes.csv` fills, in the file's order."""
    return list(dict.fromkeys(str(row["column"]) for row in read_rules("attributes.csv")))


@cache
def metric_names() -> frozenset[str]:
    """Return the metrics whose points are read."""
    return frozenset(str(row["metric"]) for row in read_rules("metrics.csv"))
