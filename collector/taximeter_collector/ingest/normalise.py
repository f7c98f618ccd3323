"""A group of flat spans in, rows of table ``span`` out: dialect, kind, dimensions, tokens.

The rules are data (`dialects/`), the work is SQL (`sql/ingest/`). Python sees only what SQL can't
do: a provider's own usage object and the fingerprint of a foreign tool call.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from taximeter.fingerprint import arguments_hash, result_hash
from taximeter.usage import Usage, infer_shape, normalise_usage, open_usage
from taximeter_collector.dialects import mapped_columns
from taximeter_collector.ingest.content import with_content
from taximeter_collector.ingest.decode import Rows, as_stored, resources_as_stored
from taximeter_collector.ingest.item_limits import VALUE_BYTES
from taximeter_collector.ingest.redaction_usage import usage_texts
from taximeter_collector.sql_files import read_sql, run_script

_LEAVES: Final = {
    "raw_uncached_input": "uncached_input",
    "raw_cache_read": "cache_read",
    "raw_cache_write_short": "cache_write_short",
    "raw_cache_write_long": "cache_write_long",
    "raw_output": "output",
    "raw_reasoning": "reasoning",
    "raw_audio_input": "audio_input",
    "raw_audio_cache_read": "audio_cache_read",
    "raw_audio_output": "audio_output",
    "raw_image_input": "image_input",
    "raw_image_output": "image_output",
    "raw_web_searches": "web_searches",
}
_USAGE_SCHEMA: Final = pa.schema(
    [
        ("row", pa.int64()),
        ("is_unreadable", pa.bool_()),
        ("raw_prompt", pa.int64()),
        *((name, pa.int64()) for name in _LEAVES),
    ]
    + [("raw_cache_reported", pa.bool_()), ("raw_input_basis", pa.string())]
)
_HASH_SCHEMA: Final = pa.schema(
    [("row", pa.int64()), ("arguments_hash", pa.string()), ("result_hash", pa.string())]
)
_EXCLUSIVE_SHAPES: Final = frozenset({"anthropic", "bedrock"})


def store_spans(
    con: duckdb.DuckDBPyConnection, rows: Rows, day: str, batch: int, received_at: datetime
) -> int:
    """Insert ``rows`` into ``<day>.span`` inside the caller's transaction; return how many.

    Spans whose ids are not 16 and 8 bytes, or are all zero, are left out. Items that say their
    ``signal`` (a replay of stored rows) also say ``given_kind, is_side, is_cumulative,
    linked_span_id``.
    """
    rows = with_content(con, rows)
    _register(con, rows)
    con.execute(_TOLD if "signal" in rows.items.column_names else _SPANS)
    return _store(con, rows, day, batch, received_at)


def store_events(
    con: duckdb.DuckDBPyConnection, rows: Rows, day: str, batch: int, received_at: datetime
) -> int:
    """Insert the log records that tell of a call, a tool or a turn, as rows of ``span``.

    ``rows`` come from `with_content`.
    """
    _register(con, rows)
    run_script(con, read_sql("ingest/events"), {})
    return _store_if_any(con, rows, day, batch, received_at)


def store_points(
    con: duckdb.DuckDBPyConnection, rows: Rows, day: str, batch: int, received_at: datetime
) -> int:
    """Insert the metric points of ``rows`` that count tokens or cost, as rows of ``span``."""
    con.register("in_point_item", as_stored(rows))
    con.register("in_point_attribute", rows.attributes)
    con.register("in_resource_attribute", resources_as_stored(rows))
    run_script(con, read_sql("ingest/points"), {})
    con.register("in_attribute", con.sql("from n_point_attribute").to_arrow_table())
    return _store_if_any(con, rows, day, batch, received_at)


def _store_if_any(
    con: duckdb.DuckDBPyConnection, rows: Rows, day: str, batch: int, received_at: datetime
) -> int:
    con.execute("create or replace temp view in_span as from n_told")
    found = con.execute("select 1 from n_told limit 1").fetchone()
    return _store(con, rows, day, batch, received_at) if found else 0


def _register(con: duckdb.DuckDBPyConnection, rows: Rows) -> None:
    con.register("in_item", as_stored(rows))
    con.register("in_attribute", rows.attributes)
    con.register("in_resource_attribute", resources_as_stored(rows))


def _store(
    con: duckdb.DuckDBPyConnection, rows: Rows, day: str, batch: int, received_at: datetime
) -> int:
    run_script(con, read_sql("ingest/pick"), {})
    con.register("n_pick", pick(con))
    run_script(con, read_sql("ingest/type"), {})
    run_script(con, read_sql("ingest/noted"), {})
    con.register("in_usage", _raw_usage(con))
    con.register("in_hash", _foreign_hashes(con))
    run_script(
        con, read_sql("ingest/masked") if rows.redactor or rows.is_cut else _NOTHING_MASKED, {}
    )
    con.register("in_usage_text", _usage_texts(con, rows))
    insert = read_sql("ingest/store_spans").replace("{day}", day)
    stored = run_script(con, insert, {"batch": batch, "received_at": received_at}).fetchone()
    return int(stored[0]) if stored else 0


_SPANS: Final = (
    "create or replace temp view in_span as select *, 'span' as signal,"
    " null::varchar as given_kind, null::boolean as is_side, null::boolean as is_cumulative,"
    " null::varchar as linked_span_id from in_item"
)
_NOTHING_MASKED: Final = (
    'create or replace temp table n_masked as select 0::bigint as "row", null::struct(marks varchar[],'
    " reason varchar) as masked limit 0"
)
_TOLD: Final = "create or replace temp view in_span as from in_item"


def pick(con: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return ``row`` and each mapped column as text: the value of its first source in ``n_source``, NULL without one.

    Of a source that is there twice, as in two events of a name, the first counts. Columns are scattered by
    row instead of pivoted in SQL, which costs a third of it.
    """
    found = con.sql(
        'select column_name, list_reverse(list("row")) as rows, list_reverse(list(value)) as texts'
        " from n_source where value <> '' group by column_name, rank order by rank desc"
    ).to_arrow_table()
    sources: dict[str, list[tuple[pa.Array, pa.Array]]] = {}
    for name, rows, texts in zip(*(found[column] for column in found.column_names), strict=True):
        sources.setdefault(name.as_py(), []).append((rows.values, texts.values))
    rows_until = max(
        (pc.max(rows).as_py() + 1 for each in sources.values() for rows, _ in each), default=0
    )
    return pa.table(
        {"row": pa.array(range(rows_until), pa.int64())}
        | {column: _scattered(sources.get(column, []), rows_until) for column in mapped_columns()}
    )


def _scattered(sources: list[tuple[pa.Array, pa.Array]], rows_until: int) -> pa.Array:
    """Return the texts by row; a later source stands before an earlier one."""
    if not sources:
        return pa.nulls(rows_until, pa.string())
    rows, texts = (pa.concat_arrays(part) for part in zip(*sources, strict=True))
    at = pc.inverse_permutation(rows, max_index=rows_until - 1, output_type=pa.int32())
    return texts.take(at)


def _raw_usage(con: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return the partition of each call that carries its provider's own usage object."""
    found = con.execute(
        'select "row", usage_shape, usage_raw from n_typed'
        " where usage_raw is not null and kind_found in ('llm', 'embedding')"
    ).fetchall()
    rows = [row for item in found if (row := _usage_row(*item)) is not None]
    return pa.Table.from_pylist(rows, _USAGE_SCHEMA)


def _usage_row(row: int, claimed_shape: str | None, text: str) -> dict[str, Any] | None:
    """Return the partition; None for what is no provider's usage object at all."""
    try:
        raw = open_usage(text)
        shape = claimed_shape or infer_shape(raw)
    except (ValueError, RecursionError):
        return None if claimed_shape is None else {"row": row, "is_unreadable": True}
    try:
        usage: Usage = normalise_usage(shape, raw)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return {"row": row, "is_unreadable": True}  # the mapped attributes decide
    leaves = {name: getattr(usage, leaf) for name, leaf in _LEAVES.items()}
    return {
        "row": row,
        "is_unreadable": False,
        "raw_input_basis": "exclusive" if shape in _EXCLUSIVE_SHAPES else "inclusive",
        "raw_cache_reported": usage.cache_reported,
        "raw_prompt": usage.prompt_tokens,
    } | leaves


def _usage_texts(con: duckdb.DuckDBPyConnection, rows: Rows) -> pa.Table:
    """Return what is stored of usage objects that redaction or a limit cuts, or that Python printed: JSON."""
    is_long = f"strlen(usage_raw) > {VALUE_BYTES}" if rows.is_cut else "false"
    is_masked = rows.redactor.masks("usage_raw") if rows.redactor else "false"
    return usage_texts(con, f"{is_long} or {is_masked} or starts_with(usage_raw, '{{''')")


def _foreign_hashes(con: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return fingerprints of tool calls whose emitter sent arguments but no hash."""
    found = con.execute(
        'select p."row", p.tool_name, p.tool_args, p.tool_result from n_pick p join n_typed t using ("row")'
        " where t.kind_found = 'tool' and p.arguments_hash is null and p.tool_args is not null"
    ).fetchall()
    volatile = con.execute("select tool, name from volatile_argument").fetchall()
    return pa.Table.from_pylist(_hash_rows(found, volatile), _HASH_SCHEMA)


def _hash_rows(
    found: Sequence[tuple[int, str | None, str, str | None]],
    volatile: Sequence[tuple[str | None, str]],
) -> list[dict[str, Any]]:
    return [
        {
            "row": row,
            "arguments_hash": arguments_hash(
                arguments, {name for of, name in volatile if of is None or of == tool}
            ),
            "result_hash": result_hash(result) if result is not None else None,
        }
        for row, tool, arguments, result in found
    ]
