"""The package's SQL: file name in, statements out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources

import duckdb


@cache
def read_sql(name: str) -> str:
    """Return ``sql/<name>.sql`` as text."""
    return (
        resources.files("taximeter_collector")
        .joinpath(f"sql/{name}.sql")
        .read_text(encoding="utf-8")
    )


def sql_names(folder: str) -> list[str]:
    """Return the names below ``sql/<folder>/``, sorted, in the form `read_sql` takes."""
    files = resources.files("taximeter_collector").joinpath(f"sql/{folder}").iterdir()
    return sorted(f"{folder}/{file.name[:-4]}" for file in files if file.name.endswith(".sql"))


@cache
def _statements(script: str) -> Sequence[duckdb.Statement]:
    """Return the parsed statements: reading the text of a roll-up step costs an eighth of running it."""
    with duckdb.connect() as any_instance:
        return any_instance.extract_statements(script)


def run_script(
    cursor: duckdb.DuckDBPyConnection, script: str, params: Mapping[str, object]
) -> duckdb.DuckDBPyConnection:
    """Run statements one by one, each with the parameters that it names; return the last one's answer."""
    for statement in _statements(script):
        named = {name: params[name] for name in statement.named_parameters}
        cursor.execute(statement, named or None)
    return cursor
