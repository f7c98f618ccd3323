"""A provider's usage object in, the same without its texts out: counts, and the terms that are priced."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import duckdb
import pyarrow as pa

from taximeter.usage import open_usage

_TERMS: Final = ("speed", "service_tier", "trafficType", "traffic_type", "inference_geo")
"""What sql/derive/27_terms.sql reads besides numbers."""
_NAME: Final = re.compile(r"[a-z][A-Za-z]{0,30}([_.][A-Za-z0-9]{1,20}){0,8}")
_SHORT: Final = re.compile(r"[A-Za-z_-]{1,30}|\d{1,12}(\.\d{1,12})?")

_SCHEMA: Final = pa.schema([("row", pa.int64()), ("usage_text", pa.string())])


def usage_texts(con: duckdb.DuckDBPyConnection, is_cut: str) -> pa.Table:
    """Return ``row, usage_text``: what is stored of the usage objects (n_typed) that meet ``is_cut`` (SQL)."""
    found = con.execute(
        f'select "row", usage_raw from n_typed where usage_raw is not null and ({is_cut})'
    ).fetchall()
    rows = [{"row": row, "usage_text": usage_without_texts(text)} for row, text in found]
    return pa.Table.from_pylist(rows, _SCHEMA)


def usage_without_texts(text: str) -> str | None:
    """Return the object as JSON without texts and odd names; None for what can't be read.

    >>> usage_without_texts('{"input_tokens": 3, "note": "my password", "service_tier": "batch"}')
    '{"input_tokens": 3, "service_tier": "batch"}'
    """
    try:
        return json.dumps(_cut(open_usage(text)))
    except (ValueError, RecursionError):
        return None


def _cut(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        cut = {key: _cut(one, key) for key, one in value.items() if _NAME.fullmatch(str(key))}
        return {key: one for key, one in cut.items() if one is not None}
    if isinstance(value, list | tuple):
        return [_cut(one) for one in value]
    if isinstance(value, str):
        is_kept = _SHORT.fullmatch(value) and (name in _TERMS or value[0].isdigit())
        return value if is_kept else None
    return value if isinstance(value, int | float) else None
