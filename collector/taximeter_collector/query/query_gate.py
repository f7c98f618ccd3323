"""Decide whether a statement may run: one read of the published views, and nothing else.

DuckDB's own parser gives the tree; every node of it must be of a kind on a list. What is not
known is refused. The read-only transaction and the locked instance stand behind this gate.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, Final

import duckdb

from taximeter_collector.query.query_functions import (
    SCALAR_FUNCTIONS,
    SIZED_FUNCTIONS,
    TABLE_FUNCTIONS,
    TEMPLATE_FUNCTIONS,
)
from taximeter_collector.query.query_nodes import (
    Forbidden,
    Malformed,
    Node,
    arguments,
    constant,
    function_name,
    with_clauses,
)
from taximeter_collector.query.query_size import check_sizes

__all__ = ["VIEWS", "Forbidden", "Malformed", "check_statement"]

VIEWS: Final = frozenset(
    [
        "spans",
        "calls",
        "tool_calls",
        "agent_runs",
        "requests",
        "usage_minute",
        "prices",
        "price_drift",
        "repricings",
        "repriced_calls",
        "unpriced_models",
        "metric_definitions",
        "dialect_rules",
        "ingest_status",
    ]
)
MAX_SQL_CHARS: Final = 200_000
MAX_VALUE_SIZE: Final = 10_000

_QUERY_NODES: Final = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}
_TABLE_NODES: Final = {"BASE_TABLE", "TABLE_FUNCTION", "SHOW_REF"}
_OTHER_NODES: Final = {"SUBQUERY", "JOIN", "EXPRESSION_LIST", "EMPTY", "PIVOT"}
_MODIFIERS: Final = re.compile(r"\w+_MODIFIER|ORDER_\w+|ASCENDING|DESCENDING|\w+_TYPE_INFO")
_EXPRESSIONS: Final = frozenset(
    [
        "BETWEEN",
        "CASE",
        "CAST",
        "COLLATE",
        "COLUMN_REF",
        "COMPARISON",
        "CONJUNCTION",
        "CONSTANT",
        "DEFAULT",
        "FUNCTION",
        "LAMBDA",
        "LAMBDA_REF",
        "OPERATOR",
        "PARAMETER",
        "POSITIONAL_REFERENCE",
        "STAR",
        "SUBQUERY",
        "TYPE",
        "WINDOW",
    ]
)
_ONLY_SELECT: Final = "Only one reading statement (SELECT) may be sent."
_PIVOT: Final = (
    "PIVOT needs its values in the statement, as a part of FROM:"
    " from calls pivot (sum(cost_usd) for provider in ('anthropic', 'openai'))."
)
_PLAIN_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_ ]*")
_HOMES: Final = {(), ("main",), ("memory", "main")}

Scope = frozenset[str]


def check_statement(con: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Return if `sql` may run. Raises Forbidden or Malformed."""
    if len(sql) > MAX_SQL_CHARS:
        raise Forbidden(f"The statement is longer than {MAX_SQL_CHARS} characters.")
    tree = _parse(con, sql)
    statements = tree.get("statements", [])
    if not statements:
        raise Malformed("There is no statement in the query.", 0)
    if len(statements) > 1:
        raise Forbidden("Send one statement at a time.")
    waiting: list[tuple[Any, Scope]] = [(statements[0].get("node"), frozenset())]
    while waiting:
        node, scope = waiting.pop()
        if isinstance(node, list):
            waiting.extend((item, scope) for item in node)
        elif isinstance(node, dict):
            waiting.extend(_check(node, scope))
    check_sizes(statements[0].get("node") or {})


def _parse(con: duckdb.DuckDBPyConnection, sql: str) -> Node:
    try:
        # All rows: DuckDB 2 lets a cursor do nothing else while a result is unfinished.
        rows = con.execute("select json_serialize_sql($1::varchar)", [sql]).fetchall()
        tree: Node = json.loads(rows[0][0])
    except (duckdb.Error, RecursionError, ValueError) as error:
        raise Malformed(f"The statement can't be parsed: {_first_line(str(error))}") from error
    if not tree.get("error"):
        return tree
    message = str(tree.get("error_message", "syntax error"))
    if tree.get("error_type") == "not implemented":
        raise Forbidden(_PIVOT if re.search(r"(?i)\bpivot\b", sql) else _ONLY_SELECT)
    position = str(tree.get("position", ""))
    raise Malformed(message, int(position) if position.isdigit() else None)


def _check(node: Node, scope: Scope) -> Iterator[tuple[Any, Scope]]:
    """Check one node; yield its children with the names that are visible to them."""
    category = node.get("class")
    kind = node["type"] if isinstance(node.get("type"), str) else ""
    if category is not None:
        _check_expression(node, category)
    elif kind:
        _check_kind(node, kind, scope)
    if kind in _QUERY_NODES and "cte_map" in node:
        yield from _children_with_names(node, scope)
        return
    for key, child in node.items():
        # The function of a table function is on another list, checked with its table.
        if kind == "TABLE_FUNCTION" and category is None and key == "function":
            yield from ((part, scope) for part in child.values())
        else:
            yield child, scope


def _children_with_names(node: Node, scope: Scope) -> Iterator[tuple[Any, Scope]]:
    for name, query in with_clauses(node):
        if not _PLAIN_NAME.fullmatch(name):
            raise Forbidden(f"{name!r} is not allowed as the name of a WITH clause.")
        recursive = query.get("type") == "RECURSIVE_CTE_NODE"
        yield query, scope | {name.lower()} if recursive else scope
        scope |= {name.lower()}
    own = node.get("cte_name") or node.get("ctename")
    if isinstance(own, str) and _PLAIN_NAME.fullmatch(own):
        scope |= {own.lower()}
    yield from ((child, scope) for key, child in node.items() if key != "cte_map")


def _check_kind(node: Node, kind: str, scope: Scope) -> None:
    if kind == "BASE_TABLE":
        _check_table(node, scope)
    elif kind == "TABLE_FUNCTION":
        name = function_name(node.get("function") or {})
        if name not in TABLE_FUNCTIONS:
            raise Forbidden(f"The table function {name} is not allowed in a query.")
    elif kind == "SHOW_REF":
        if node.get("query") is None:
            raise Forbidden(f"Only DESCRIBE and SUMMARIZE are allowed; {_the_views()}")
    elif kind not in _QUERY_NODES | _OTHER_NODES and not _MODIFIERS.fullmatch(kind):
        raise Forbidden(f"{kind.replace('_', ' ').lower()} is not allowed in a query.")


def _check_table(node: Node, scope: Scope) -> None:
    path = (node.get("qualified_name") or {}).get("path")
    if path is None:
        parts = (node.get("catalog_name"), node.get("schema_name"), node.get("table_name"))
        path = [part for part in parts if part]
    names = [str(part).lower() for part in path]
    if not names:
        raise Forbidden("A table without a name is not allowed.")
    if len(names) == 1 and names[0] in scope:
        return
    if names[-1] in VIEWS and tuple(names[:-1]) in _HOMES:
        return
    shown = ".".join(str(part) for part in path)
    if len(names) > 1 or not _PLAIN_NAME.fullmatch(shown):
        raise Forbidden(f"{shown!r} can't be read; {_the_views()}")
    close = get_close_matches(names[0], VIEWS, n=1)
    hint = f"Did you mean {close[0]}?" if close else f"T{_the_views()[1:]}"
    raise Malformed(f"There is no view {shown}. {hint}", _offset(node))


def _check_expression(node: Node, category: str) -> None:
    if category not in _EXPRESSIONS:
        raise Forbidden(f"The expression {category} is not allowed in a query.")
    if category not in ("FUNCTION", "WINDOW"):
        return
    name = function_name(node)
    if name in SIZED_FUNCTIONS:
        _check_size(name, node)
    elif name in TEMPLATE_FUNCTIONS:
        _check_template(name, node)
    elif name not in SCALAR_FUNCTIONS:
        raise Forbidden(f"The function {name} is not among those that a query may call.")


def _check_size(name: str, node: Node) -> None:
    position = SIZED_FUNCTIONS[name]
    given = arguments(node)
    if len(given) <= position:
        return
    text = constant(given[position])
    if text is None or not text.isdigit() or int(text) > MAX_VALUE_SIZE:
        raise Forbidden(
            f"{name} needs a whole number of at most {MAX_VALUE_SIZE}, written in the statement."
        )


def _check_template(name: str, node: Node) -> None:
    given = arguments(node)
    text = constant(given[0]) if given else ""
    if text is None or re.search(r"\d{4}|\*|\{[^}]*\{", text):
        raise Forbidden(f"{name} needs its template in the statement, with widths below 1000.")


def _offset(node: Node) -> int | None:
    offset = node.get("query_location")
    return offset if isinstance(offset, int) and offset < MAX_SQL_CHARS * 4 else None


def _the_views() -> str:
    return f"there are the views {', '.join(sorted(VIEWS))}."


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else "unknown error"
