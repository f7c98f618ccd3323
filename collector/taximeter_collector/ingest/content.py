"""What agents say (prompts, answers, tool texts) apart from facts: Arrow in, Arrow out. No Python per span.

An attribute is content when its key is one of `dialects/content_keys.csv`, or its value is long. It
is stored in a column of its own, so that nothing else reads past it, and leaves earlier
(`store.content_retention_days`); what the roll-ups need of it is read out on arrival.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import translate
from functools import lru_cache
from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from taximeter_collector.ingest.decode import Rows, as_stored

LONG_BYTES: Final = 4096
"""A longer value is a payload, whatever its key."""
_MAP: Final = pa.map_(pa.string(), pa.string())
_KEYS_REMEMBERED: Final = 16_384


def with_content(con: duckdb.DuckDBPyConnection, rows: Rows) -> Rows:
    """Return ``rows`` whose items also have the columns of `split_content`."""
    return replace(rows, items=split_content(as_stored(rows), content_patterns(con)))


def content_patterns(con: duckdb.DuckDBPyConnection) -> tuple[str, ...]:
    """Return the patterns of the keys that hold content."""
    found = con.execute("select pattern from content_key order by rank").fetchall()
    return tuple(pattern for (pattern,) in found)


def split_content(items: pa.Table, patterns: tuple[str, ...]) -> pa.Table:
    """Add ``kept_attributes`` and ``content``, maps of ``stored_attributes``, and ``content_bytes``.

    Content and its size are NULL where there is none.
    """
    maps = one_chunk(items["stored_attributes"])
    keys, values = maps.keys, maps.items
    is_content = _is_content(keys, values, patterns)
    if not pc.any(is_content).as_py():
        return _with(items, maps, pa.nulls(len(items), _MAP), pa.nulls(len(items), pa.int64()))
    content_at = count_before(pc.cast(is_content, pa.int64())).take(maps.offsets)
    first, last = content_at[:-1], content_at[1:]
    content_values = values.filter(is_content)
    sizes = count_before(pc.cast(pc.fill_null(pc.binary_length(content_values), 0), pa.int64()))
    has_none = pc.equal(first, last)
    kept_at = pc.subtract(pc.cast(maps.offsets, pa.int64()), content_at)
    return _with(
        items,
        text_maps(
            kept_at, keys.filter(pc.invert(is_content)), values.filter(pc.invert(is_content))
        ),
        text_maps(content_at, keys.filter(is_content), content_values, has_none),
        pc.if_else(has_none, None, pc.subtract(sizes.take(last), sizes.take(first))),
    )


def content_key_expression(patterns: Sequence[str]) -> str:
    """Return one regular expression (RE2) that fits a key which holds content, as a whole."""
    return "|".join(_regex(pattern) for pattern in patterns)


def _is_content(keys: pa.Array, values: pa.Array, patterns: tuple[str, ...]) -> pa.Array:
    seen = keys.dictionary_encode()
    by_key = [_fits(key or "", patterns) for key in seen.dictionary.to_pylist()]
    is_long = pc.fill_null(pc.greater(pc.binary_length(values), LONG_BYTES), False)
    return pc.or_(pa.array(by_key, pa.bool_()).take(seen.indices), is_long)


@lru_cache(maxsize=_KEYS_REMEMBERED)
def _fits(key: str, patterns: tuple[str, ...]) -> bool:
    return _compiled(patterns).fullmatch(key) is not None


@lru_cache(maxsize=8)
def _compiled(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(translate(pattern) for pattern in patterns) or r"(?!)")


def _regex(pattern: str) -> str:
    parts = re.split(r"([*?]|\[!?\]?[^]]*\])", pattern)
    simple = {"*": ".*", "?": "."}
    return "".join(
        part if part.startswith("[") else simple.get(part, re.escape(part)) for part in parts
    )


def _with(items: pa.Table, kept: pa.Array, content: pa.Array, size: pa.Array) -> pa.Table:
    added = {"kept_attributes": kept, "content": content, "content_bytes": size}
    return pa.table({name: items[name] for name in items.column_names} | added)


def text_maps(
    offsets: pa.Array, keys: pa.Array, values: pa.Array, mask: pa.Array | None = None
) -> pa.MapArray:
    """Return maps of text, one between two offsets; NULL where ``mask`` is true."""
    return pa.MapArray.from_arrays(pc.cast(offsets, pa.int32()), keys, values, mask=mask)


def count_before(counts: pa.Array) -> pa.Array:
    """Return the sums of what is before each place, and of all at the end."""
    return pa.concat_arrays([pa.array([0], pa.int64()), pc.cumulative_sum(counts)])


def one_chunk(column: pa.ChunkedArray) -> Any:
    """Return a column as one array."""
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
