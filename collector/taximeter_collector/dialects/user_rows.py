"""A user's rows for the rule tables in, the same rows checked out, ready to stand above the shipped.

A fault is one sentence with file, line, column and what is allowed.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from typing import NoReturn

import duckdb

from taximeter.settings.rule_rows import SECTION, RuleRow
from taximeter.settings.settings import SettingsError
from taximeter_collector.dialects.columns import TABLES, TOGETHER, Cell
from taximeter_collector.dialects.shipped import Row, known_dialects, mapped_columns


def check_rows(con: duckdb.DuckDBPyConnection, rows: Sequence[RuleRow]) -> dict[str, list[Row]]:
    """Return the rows by table, each with its ``source`` (file and line). Raises SettingsError."""
    own = [row.values.get("dialect") for row in rows if row.table == "detect"]
    dialects = [*(name for name in own if isinstance(name, str)), *known_dialects()]
    checked: dict[str, list[Row]] = {}
    for row in rows:
        if row.table not in TABLES:
            _fail(row, "", f"unknown table {SECTION}.{row.table}", row.table, TABLES)
        found = _checked(row, dialects)
        _check_path(con, row, found.get("path"))
        checked.setdefault(row.table, []).append(found)
    return checked


def _checked(row: RuleRow, dialects: Collection[str]) -> Row:
    cells = TABLES[row.table]
    for name in row.values:
        if name not in cells:
            _fail(row, name, f"unknown column {name} in {SECTION}.{row.table}", name, cells)
    found: Row = {name: _value(row, name, cell) for name, cell in cells.items()}
    for name, other in TOGETHER.get(row.table, {}).items():
        if found[name] is not None and found[other] is None:
            _fault(row, name, f"{name} needs {other} beside it")
    allowed = mapped_columns() + (("status",) if row.table == "distrusted" else ())
    if row.table in ("attributes", "distrusted") and found["column"] not in allowed:
        _fail(row, "column", f"unknown column = {found['column']!r}", found["column"], allowed)
    for name in ("dialect", "inner"):
        if found.get(name) not in (None, "*", *dialects):
            said = f"unknown {name} = {found[name]!r}; a row of {SECTION}.detect makes a new one"
            _fail(row, name, said, found[name], dialects)
    _check_meaning(row, found)
    return found | {"source": row.where()}


def _value(row: RuleRow, name: str, cell: Cell) -> str | None:
    if name not in row.values:
        if cell.required:
            _fault(row, "", f"{name} is missing; it must be {cell.must_be}")
        return cell.default
    value = row.values[name]
    text = str(value).lower() if isinstance(value, bool) else str(value)
    try:
        if not isinstance(value, bool | int | str):
            raise TypeError(text)
        return cell.read(text)
    except (TypeError, ValueError):
        near = difflib.get_close_matches(text, cell.allowed, 1)
        meant = f"did you mean {near[0]!r}? " if near else ""
        _fault(row, name, f"{name} = {value!r} is not allowed; {meant}it must be {cell.must_be}")


def _check_meaning(row: RuleRow, found: Row) -> None:
    """Refuse what could never fit."""
    if row.table == "detect" and found["place"] == "resource" and "=" not in str(found["pattern"]):
        _fault(row, "pattern", 'a pattern for resource has key and value: "service.name=acme-*"')
    if row.table == "span_marks":
        if found["key"] == "span.name":
            found["pattern"] = str(found["pattern"]).lower()
        elif found["dialect"] == "*":
            _fault(row, "dialect", "dialect * is for the key span.name only; name the dialect")


def _check_path(con: duckdb.DuckDBPyConnection, row: RuleRow, path: str | None) -> None:
    """Refuse a path that would fail on the first span."""
    if path is None:
        return
    try:
        con.execute("select json_extract_string('{}', p) from (select ? as p)", [path]).fetchall()
    except duckdb.Error:
        _fault(row, "path", f"path = {path!r} is not a path inside a JSON such as $.usage.input")


def _fail(
    row: RuleRow, key: str, said: str, given: str | None, allowed: Collection[str]
) -> NoReturn:
    near = difflib.get_close_matches(given or "", allowed, 1)
    meant = f"did you mean {near[0]}? " if near else ""
    _fault(row, key, f"{said}; {meant}allowed are {', '.join(dict.fromkeys(allowed))}")


def _fault(row: RuleRow, key: str, said: str) -> NoReturn:
    raise SettingsError(f"{row.where(key)}: {SECTION}.{row.table}: {said}.")
