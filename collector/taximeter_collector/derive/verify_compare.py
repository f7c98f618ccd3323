"""Two tables of the same columns, stored and computed again → the cells that differ, by SQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

KEYS: Final = {
    "request": ("request_id",),
    "agent_run": ("trace_id", "span_id"),
    "call": ("trace_id", "span_id"),
    "call_link": ("trace_id", "span_id"),
    "tool_call": ("trace_id", "span_id"),
    "usage_minute": (
        "minute", "environment", "service_name", "agent_name", "agent_version", "provider", "model",
        "tenant", "user_id", "tool_name", "row_kind",
    ),
}  # fmt: skip
"""What names a row of each derived table."""
_ROW_KIND: Final = "case when requests > 0 then 'request' when tool_calls > 0 then 'tool' else 'call' end as row_kind"
"""Rows of different kinds share their dimensions where these are unknown."""
_PRICED: Final = frozenset(
    {"provider", "model", "models", "other_models", "is_batch", "price_source", "price_version",
     "cost_quality", "priced_ratio"}
)  # fmt: skip
"""Columns that another price list changes; so do all that end in ``_pico``."""
_HISTORY: Final = frozenset({"first_cost_pico", "first_price_source", "first_price_version"})
"""Columns that remember what no span says."""


def comparison(table: str, columns: Sequence[tuple[str, str]]) -> str:
    """Return the statement that fills ``v_difference`` (key, c, s, r): column, stored, recomputed.

    Compares ``v_stored_<table>`` with ``v_<table>``; ``columns`` are names and types. A row that only
    one side has, or has twice, is one difference with an empty ``c``.
    """
    keys = KEYS[table]
    is_minute = table == "usage_minute"
    sure = "where minute not in (select minute from v_unsure_minute)" if is_minute else ""
    kind = f", {_ROW_KIND}" if is_minute else ""
    rows = f"select *{kind}, count(*) over (partition by {', '.join(keys)}) as copies from"
    named = ", ".join(f"'{name}': coalesce(s.{name}, c.{name})::varchar" for name in keys)
    same_key = " and ".join(f"s.{name} is not distinct from c.{name}" for name in keys)
    cells = [_ROW_CELL]
    for name, type in columns:
        if name not in keys and name not in _HISTORY:
            is_priced = not is_minute and (name in _PRICED or name.endswith("_pico"))
            cells.append(_cell(name, type, f"coalesce(s.{keys[0]}, c.{keys[0]})", is_priced))
    return (
        "create or replace temp table v_difference as"
        " select distinct key, cell.c as c, cell.s as s, cell.r as r from ("
        f"select {{{named}}} as key, unnest([{', '.join(cells)}]) as cell"
        f" from ({rows} v_stored_{table} {sure}) s full join ({rows} v_{table} {sure}) c on {same_key}"
        ") where cell.d"
    )


_ROW_CELL: Final = (
    "{'c': '', 's': s.copies || ' rows', 'r': c.copies || ' rows',"
    " 'd': s.copies is distinct from c.copies}"
)


def _cell(name: str, type: str, trace: str, is_priced: bool) -> str:
    differs = (
        f"s.copies is not null and c.copies is not null and s.{name} is distinct from c.{name}"
    )
    if type == "DOUBLE":
        # The order of a sum shows in its last digits.
        differs += (
            f" and not coalesce(abs(s.{name} - c.{name})"
            f" <= 1e-9 * greatest(abs(s.{name}), abs(c.{name})), false)"
        )
    if is_priced:
        differs += f" and {trace} not in (select trace_id from v_repriced)"
    return f"{{'c': '{name}', 's': s.{name}::varchar, 'r': c.{name}::varchar, 'd': {differs}}}"
