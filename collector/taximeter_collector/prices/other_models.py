"""Tokens that one call spent on another model (an advisor, a fallback), priced at that model's price.

They are in the provider's usage object only; few calls have any, so Python prices them one by one.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final

import duckdb
import pyarrow as pa

from taximeter.pricing import Catalog, Cost
from taximeter.pricing.bands import together
from taximeter.usage import Usage, normalise_usage
from taximeter_collector.sql_files import read_sql, run_script

_PARTS: Final = ("total_pico", "input_pico", "cache_read_pico", "cache_write_pico", "output_pico",
                 "other_pico", "cache_saved_pico")  # fmt: skip
_MODEL: Final = pa.struct(
    [("model", pa.string()), ("tokens", pa.int64()), ("cost_pico", pa.int64())]
)
_SCHEMA: Final = pa.schema(
    [("trace_id", pa.string()), ("span_id", pa.string()), ("other_models", pa.list_(_MODEL))]
    + [(name, pa.int64()) for name in _PARTS]
    + [("source", pa.string()), ("quality", pa.string())]
)
_CALLS: Final = (
    "select trace_id, span_id, usage_raw, provider_raw, coalesce(response_model, request_model),"
    " service_tier, is_batch, region_class, server_address, epoch_us(start_time) from d_call"
    " where usage_raw like '%\"advisor_message\"%' or usage_raw like '%\"fallback_message\"%'"
)


def price_other_models(cursor: duckdb.DuckDBPyConnection, catalog: Catalog) -> None:
    """Add to ``d_priced`` what calls of ``d_call`` spent on other models."""
    found = cursor.execute(_CALLS).fetchall()
    rows = [row for call in found if (row := _row(catalog, *call)) is not None]
    if rows:
        cursor.register("d_other", pa.Table.from_pylist(rows, _SCHEMA))
        run_script(cursor, read_sql("derive/34_other_models"), {})
        cursor.unregister("d_other")


def _row(
    catalog: Catalog, trace_id: str, span_id: str, text: str, provider: str | None,
    model: str | None, tier: str | None, batch: bool, region: str | None, server: str | None,
    start_us: int,
) -> dict[str, Any] | None:  # fmt: skip
    usage = _usage(text)
    if usage is None or not usage.other_models:
        return None
    at = datetime.fromtimestamp(start_us / 1e6, UTC)
    entry = catalog.resolve(
        provider, model, tier=tier, batch=batch, region_class=region, server_address=server
    )
    parts: list[tuple[str, Usage, Cost | None]] = (
        catalog.price_others(usage, entry, at)
        if entry is not None
        else [(name, tokens, None) for name, tokens in usage.other_models]
    )
    costs = [cost for _, _, cost in parts if cost is not None]
    whole = together(costs) if len(costs) == len(parts) else None
    models = [
        {"model": name, "tokens": tokens.total_tokens, "cost_pico": cost and cost.total_pico}
        for name, tokens, cost in parts
    ]
    row = {"trace_id": trace_id, "span_id": span_id, "other_models": models}
    if whole is None:
        return row
    sums = {name: getattr(whole, name) for name in _PARTS}
    return row | sums | {"source": whole.price_source, "quality": whole.quality}


def _usage(text: str) -> Usage | None:
    """Only Anthropic's usage object names other models."""
    try:
        return normalise_usage("anthropic", json.loads(text))
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
