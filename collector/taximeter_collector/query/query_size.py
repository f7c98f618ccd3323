"""How large one value of a statement may become, found before it runs.

DuckDB builds a value outside its memory limit and can't be interrupted inside one function call
(`hex(hex(…))` thirty deep held a process for 51 s and took 6.3 GB). So the sizes are added up over the
parsed statement: a function that makes text longer multiplies, CTEs and subqueries pass on what
they return, and above a limit the statement is refused. Rows need no such sum: between two chunks
of rows a query can be stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from taximeter_collector.query.query_functions import (
    REPLACING_FUNCTIONS,
    RESULTS,
    SIZED_FUNCTIONS,
    TEMPLATE_FUNCTIONS,
)
from taximeter_collector.query.query_nodes import (
    Forbidden,
    Node,
    arguments,
    constant,
    function_name,
    with_clauses,
)

COLUMN_BYTES: Final = 8_192
"""What a stored value counts; so a statement may make one 32 times longer."""
LONG_COLUMN_BYTES: Final = 32_768
"""What a value of a column counts that holds what applications send: content may be there."""
MAX_VALUE_BYTES: Final = 262_144
AGGREGATE_GROWTH: Final = 4
"""What a list or text over many rows counts, times its rows' values: its memory is DuckDB's to bound."""
RECURSION_GROWTH: Final = 4
"""How many times longer one round of a recursive query may make a value; between rounds it can be stopped."""

_NUMBER: Final = 16
_LONG: Final = 1_000
_TO_TEXT: Final = 4
_LONG_COLUMNS: Final = frozenset(
    ["attributes", "resource_attributes", "events", "status_message", "usage_raw"]
)
_LONG_VIEW: Final = "spans"
_TEXT_TYPES: Final = frozenset({"VARCHAR", "TEXT", "STRING", "CHAR", "BPCHAR", "BLOB", "BYTEA", "BIT",
                                "BITSTRING", "JSON"})  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Scope:
    """What names stand for: bytes of one value."""

    column: int = COLUMN_BYTES
    clauses: Mapping[str, int] = field(default_factory=dict)
    names: Mapping[str, int] = field(default_factory=dict)
    long_rows: frozenset[str] = frozenset()
    """Names that stand for a whole row with long columns."""


def check_sizes(tree: Node) -> None:
    """Return if no value of a statement can become too large. Raises Forbidden."""
    try:
        _any(tree, _Scope())
    except RecursionError:
        raise Forbidden("The statement is nested too deeply.") from None


def _any(node: Any, scope: _Scope) -> int:
    """Return the largest value of an expression, a table or a query, 0 for what is none."""
    if isinstance(node, list):
        return max((_any(item, scope) for item in node), default=0)
    if not isinstance(node, dict):
        return 0
    kind = node.get("class") or node.get("type")
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    if reader is not None:
        return reader(node, scope)
    return max((_any(part, scope) for part in node.values()), default=0)


def _query(node: Node, scope: _Scope) -> int:
    for name, query in with_clauses(node):
        scope = replace(scope, clauses={**scope.clauses, name.lower(): _any(query, scope)})
    source = _any(node.get("from_table"), scope)
    long_rows = frozenset(_long_rows(node.get("from_table"), scope))
    scope = replace(scope, column=max(source, scope.column), long_rows=scope.long_rows | long_rows)
    largest = 0
    for item in node.get("select_list") or ():
        size = _any(item, scope)
        largest = max(largest, size)
        if alias := str(item.get("alias") or "").lower():
            # DuckDB lets later columns build on an earlier one by its alias.
            known = scope.names.get(alias, 0)
            scope = replace(scope, names={**scope.names, alias: max(size, known)})
    for key, part in node.items():
        if key not in ("cte_map", "from_table", "select_list"):
            found = _any(part, scope)
            if key in ("left", "right", "children"):
                largest = max(largest, found)
    return largest


def _recursive(node: Node, scope: _Scope) -> int:
    name = str(node.get("cte_name") or node.get("ctename") or "").lower()
    first = max(_any(node.get("left"), scope), COLUMN_BYTES)
    round_ = replace(scope, clauses={**scope.clauses, name: first}, names={})
    if _any(node.get("right"), round_) > first * RECURSION_GROWTH:
        raise Forbidden("A recursive query may not make a value much longer in every round.")
    _any({key: part for key, part in node.items() if key not in ("left", "right", "type")}, round_)
    return first * RECURSION_GROWTH


def _table(node: Node, scope: _Scope) -> int:
    return scope.clauses.get(_table_name(node), COLUMN_BYTES)


def _table_name(node: Node) -> str:
    path = (node.get("qualified_name") or {}).get("path") or [node.get("table_name")]
    return str(path[-1]).lower()


def _join(node: Node, scope: _Scope) -> int:
    left = _any(node.get("left"), scope)
    # What stands on the right may build on the columns on the left (LATERAL).
    beside = replace(scope, column=max(left, scope.column))
    rest = {key: part for key, part in node.items() if key not in ("left", "type")}
    return max(left, _any(rest, beside))


def _table_function(node: Node, scope: _Scope) -> int:
    """Return the size of what a table function gives row by row: the elements of its arguments."""
    return max((_any(argument, scope) for argument in arguments(node["function"])), default=0)


def _column(node: Node, scope: _Scope) -> int:
    names = [str(name).lower() for name in node.get("column_names") or ()]
    found = [scope.names[name] for name in names if name in scope.names]
    if found:
        return max(found)
    is_long = names[-1:] and names[-1] in _LONG_COLUMNS | scope.long_rows
    return max(scope.column, LONG_COLUMN_BYTES) if is_long else scope.column


def _star(node: Node, scope: _Scope) -> int:
    _any([part for key, part in node.items() if key not in ("class", "type")], scope)
    return max(scope.column, LONG_COLUMN_BYTES if scope.long_rows else 0)


def _long_rows(node: Any, scope: _Scope) -> Iterable[str]:
    """Yield the names under which a FROM clause reads the view with long columns."""
    if isinstance(node, dict):
        if node.get("type") == "BASE_TABLE":
            name = _table_name(node)
            if name == _LONG_VIEW and name not in scope.clauses:
                yield str(node.get("alias") or name).lower()
        elif node.get("type") != "SUBQUERY":
            for part in node.values():
                yield from _long_rows(part, scope)
    elif isinstance(node, list):
        for item in node:
            yield from _long_rows(item, scope)


def _constant(node: Node, scope: _Scope) -> int:
    return max(len((constant(node) or "").encode("utf-8", "replace")), 1)


def _cast(node: Node, scope: _Scope) -> int:
    size = _any(node.get("child"), scope)
    target = node.get("type_expr") or node.get("cast_type") or {}
    name = str(target.get("type_name") or target.get("id") or "").upper()
    if name not in _TEXT_TYPES:
        return size
    is_text = (node.get("child") or {}).get("class") in ("COLUMN_REF", "CONSTANT")
    return _bounded("a cast to text", size if is_text else size * _TO_TEXT)


def _function(node: Node, scope: _Scope) -> int:
    name, given = function_name(node), arguments(node)
    for part in ("arg_orders", "filter", "order_bys", "orders", "partitions", "filter_expr"):
        _any(node.get(part), scope)
    if any(argument.get("class") == "LAMBDA" for argument in given):
        return _bounded(name, _with_lambda(name, given, scope))
    sizes = [_any(argument, scope) for argument in given] or [_NUMBER]
    return _bounded(name, _result(name, given, sizes))


def _result(name: str, given: list[Node], sizes: list[int]) -> int:
    largest = max(sizes)
    if name in ("range", "generate_series"):
        return _listed(name, _length_of_range(name, given))
    if name in _CUTTING:
        return min(sizes[0], _length_of_cut(given, _CUTTING[name]))
    if name in SIZED_FUNCTIONS:
        position = SIZED_FUNCTIONS[name]
        count = int(constant(given[position]) or 0) if len(given) > position else 1
        return sizes[0] * max(count, 1) if name in _TIMES else largest + 4 * count
    if name in REPLACING_FUNCTIONS:
        position = REPLACING_FUNCTIONS[name]
        return sizes[0] * (sizes[position] if len(sizes) > position else 1)
    if name in TEMPLATE_FUNCTIONS:
        template = constant(given[0]) or ""
        fields = max(template.count("{") + template.count("%"), 1)
        return sizes[0] + fields * (max(sizes[1:], default=0) + 999)
    held, times = RESULTS.get(name, ("keeps", 1))
    if held == "short":
        return _NUMBER
    if held == "joins":
        return sum(sizes) * times
    return largest * times * (AGGREGATE_GROWTH if held == "gathers" else 1)


_CUTTING: Final = {"left": 1, "right": 1, "substr": 2, "substring": 2}
"""Functions that cut a text, and which argument says to how many characters."""
_CHARACTER_BYTES: Final = 4
_TIMES: Final = frozenset({"repeat", "list_resize", "array_resize"})


def _length_of_cut(given: list[Node], position: int) -> int:
    """Return the bytes of a cut text; a negative number leaves the rest of it, however long."""
    text = constant(given[position]) if len(given) > position else None
    if text is None or not text.isdigit() or len(text) > 9:
        return MAX_VALUE_BYTES
    return max(_CHARACTER_BYTES * int(text), 1)


def _listed(name: str, length: int) -> int:
    if length > MAX_VALUE_BYTES:
        raise Forbidden(
            f"{name} would make one list of {length:,} values, {MAX_VALUE_BYTES:,} are allowed:"
            f" for that many rows write `from {name}(…)`."
        )
    return length


def _length_of_range(name: str, given: list[Node]) -> int:
    texts = [constant(argument) for argument in given]
    numbers = [int(text) for text in texts if text is not None and text.lstrip("-").isdigit()]
    if len(numbers) == len(given) and numbers:
        first, last = (0, numbers[0]) if len(numbers) == 1 else numbers[:2]
        step = max(abs(numbers[2]) if len(numbers) > 2 else 1, 1)
        # A series holds its end, a range does not.
        return (abs(last - first) + (step if name == "generate_series" else step - 1)) // step
    return COLUMN_BYTES * AGGREGATE_GROWTH


def _with_lambda(name: str, given: list[Node], scope: _Scope) -> int:
    """Return the size of a list after a function of each element; an element may be one byte."""
    sizes, growth = [1], 1
    for argument in given:
        if argument.get("class") != "LAMBDA":
            sizes.append(_any(argument, scope))
            continue
        growth = max(growth, _lambda(argument, 1, scope))
        if "reduce" in name and _lambda(argument, _LONG, scope) > _LONG + growth:
            raise Forbidden(
                f"{name} may not join texts or lists: each element would make them longer."
            )
    return max(sizes) if "filter" in name else max(sizes) * growth


def _lambda(node: Node, element: int, scope: _Scope) -> int:
    """Return the size of a lambda's result for elements of a size."""
    names = {str(name).lower(): element for name in _parameters(node.get("lhs"))}
    return _any(node.get("expr"), replace(scope, names={**scope.names, **names}))


def _parameters(node: Any) -> Iterable[str]:
    if isinstance(node, dict):
        if node.get("class") == "COLUMN_REF":
            yield from node.get("column_names") or ()
        for part in node.values():
            yield from _parameters(part)
    elif isinstance(node, list):
        for item in node:
            yield from _parameters(item)


def _one_bit(node: Node, scope: _Scope) -> int:
    for key, part in node.items():
        if key not in ("class", "type"):
            _any(part, scope)
    return 1


def _bounded(name: str, size: int) -> int:
    if size > MAX_VALUE_BYTES:
        raise Forbidden(
            f"{name} could make one value {size:,} bytes long, {MAX_VALUE_BYTES:,} are allowed"
            f" (a stored value counts {COLUMN_BYTES:,}, one of attributes {LONG_COLUMN_BYTES:,}): build shorter ones."
        )
    return size


_READERS: Final[dict[str, Callable[[Node, _Scope], int]]] = {
    "SELECT_NODE": _query,
    "SET_OPERATION_NODE": _query,
    "CTE_NODE": _query,
    "RECURSIVE_CTE_NODE": _recursive,
    "BASE_TABLE": _table,
    "JOIN": _join,
    "TABLE_FUNCTION": _table_function,
    "COLUMN_REF": _column,
    "STAR": _star,
    "LAMBDA_REF": _column,
    "POSITIONAL_REFERENCE": _column,
    "PARAMETER": _column,
    "CONSTANT": _constant,
    "CAST": _cast,
    "FUNCTION": _function,
    "WINDOW": _function,
    "COMPARISON": _one_bit,
    "CONJUNCTION": _one_bit,
    "BETWEEN": _one_bit,
}
