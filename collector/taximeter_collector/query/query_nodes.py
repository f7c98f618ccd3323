"""The nodes of a parsed statement, in the layouts of DuckDB 1 and 2, and why a statement is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Node = dict[str, Any]


class Forbidden(Exception):
    """The statement is not a plain read of the views; the message says what is wrong."""


class Malformed(Exception):
    """The statement can't be understood; `offset` counts bytes from its start, None if unknown."""

    def __init__(self, message: str, offset: int | None = None) -> None:
        super().__init__(message)
        self.offset = offset


def function_name(node: Node) -> str:
    """Return a function's name without its schema, lower case."""
    path = (node.get("qualified_name") or {}).get("path")
    return str(path[-1] if path else node.get("function_name", "")).lower()


def arguments(node: Node) -> list[Node]:
    """Return the expressions that a function is called with."""
    if "arguments" in node:
        return [argument.get("expression", argument) for argument in node["arguments"]]
    return list(node.get("children", []))


def constant(node: Node) -> str | None:
    """Return a constant's text, None for what is no constant."""
    if node.get("class") != "CONSTANT":
        return None
    literal = node.get("literal")
    if isinstance(literal, dict):
        return str(literal.get("text"))
    return str((node.get("value") or {}).get("value"))


def with_clauses(node: Node) -> Iterator[tuple[str, Node]]:
    """Yield the name as written and the query of each WITH clause of a query."""
    for entry in (node.get("cte_map") or {}).get("map", []):
        body = entry["value"]
        yield (
            str(entry["key"]),
            body.get("query_node") or (body.get("query") or {}).get("node") or {},
        )
