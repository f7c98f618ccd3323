"""OpenAI's reports → rows. Pure.

Usage API (`/v1/organization/usage/*`), Costs API (`/v1/organization/costs`), and the CSV exports
of the usage page, which flatten the same fields. Field names: docs/reconcile.md says from where.
"""

from __future__ import annotations

import re
from typing import Final

from taximeter_collector.reconcile.amounts import to_count, to_pico
from taximeter_collector.reconcile.names import tier_name
from taximeter_collector.reconcile.rows import (
    COMPLETIONS,
    EMBEDDINGS,
    SEARCHES,
    WEB_SEARCH,
    ExportError,
    ExportRow,
    Value,
)

PROVIDER: Final = "openai"
DIMENSIONS: Final = (
    "object", "model", "batch", "service_tier", "line_item", "project_id", "project_name",
    "user_id", "user_email", "api_key_id", "api_source", "organization_id", "organization_name",
    "context_level", "size", "source", "vector_store_id",
)  # fmt: skip
_CACHED: Final = ("input_cached_text_tokens", "input_cached_image_tokens")
_TOKENS: Final = (
    "input_tokens", "output_tokens", "input_cached_tokens", "input_uncached_tokens",
    "input_text_tokens", "output_text_tokens", "input_audio_tokens", "input_cached_audio_tokens",
    "input_image_tokens", "input_cache_write_tokens", "input_cache_write_30m_tokens",
    "input_cache_write_12h_tokens", "output_audio_tokens", "output_image_tokens", *_CACHED,
)  # fmt: skip
READ: Final = frozenset(
    {*DIMENSIONS, *_TOKENS, "num_model_requests", "num_requests", "amount.value",
     "amount.currency", "amount_value", "amount_currency", "quantity", "quantity_unit",
     "start_time", "end_time", "start_time_iso", "end_time_iso", "amount"}
)  # fmt: skip
_LINE_ITEM: Final = re.compile(
    r"^(?:(?P<tier>[\w ]+?) \| )?(?P<model>[^\s,|]+)(?: (?P<modality>text|audio|image))?"
    r", (?P<kind>[\w ]+?)(?:, (?:long|short)[ _]context)?$"
)
_KINDS: Final = {
    "input": "input", "cached input": "cache_read", "output": "output",
    "cache write": "cache_write_short", "cache writes": "cache_write_short",
    "cache write 30m": "cache_write_short", "cache write 12h": "cache_write_long",
}  # fmt: skip
_MODALITIES: Final = {
    ("audio", "input"): "audio_input", ("audio", "cache_read"): "audio_cache_read",
    ("audio", "output"): "audio_output", ("image", "input"): "image_input",
    ("image", "output"): "image_output",
}  # fmt: skip


def is_usage(names: set[str]) -> bool:
    """Return whether these are the fields of a usage report on tokens."""
    return "num_model_requests" in names and bool({"input_tokens", "num_requests"} & names)


def is_cost(names: set[str]) -> bool:
    """Return whether these are the fields of a costs report."""
    return bool({"amount.value", "amount_value"} & names)


def read_usage(value: Value) -> ExportRow:
    """Return a usage row with disjoint counts. Raises ExportError."""
    said = value.fields
    if "num_requests" in said:
        return _searches(value)
    count = {name: to_count(said.get(name), name) for name in _TOKENS}
    audio_read = count["input_cached_audio_tokens"]
    long = count["input_cache_write_12h_tokens"]
    written = max(count["input_cache_write_tokens"], count["input_cache_write_30m_tokens"] + long)
    tokens = {
        "cache_read": count["input_cached_tokens"] - audio_read,
        "cache_write_short": written - long,
        "cache_write_long": long,
        "audio_input": count["input_audio_tokens"],
        "audio_cache_read": audio_read,
        "image_input": count["input_image_tokens"],
        "audio_output": count["output_audio_tokens"],
        "image_output": count["output_image_tokens"],
    }
    tokens["input"] = count["input_tokens"] - sum(
        tokens[name] for name in tokens if not name.endswith("output")
    )
    tokens["output"] = (
        count["output_tokens"] - count["output_audio_tokens"] - count["output_image_tokens"]
    )
    if min(tokens.values()) < 0:
        raise ExportError("the parts of input_tokens or output_tokens are more than the whole")
    batch = str(said.get("batch") or "").lower()
    tier = _text(value, "service_tier")
    return ExportRow(
        PROVIDER,
        "usage",
        value.start,
        value.end,
        value.where,
        model=_text(value, "model"),
        tier=tier_name(tier, batch=batch == "true") if tier or batch else None,
        tokens=tokens,
        requests=to_count(said["num_model_requests"], "num_model_requests"),
        endpoint=COMPLETIONS if "output_tokens" in said else EMBEDDINGS,
    )


def _searches(value: Value) -> ExportRow:
    searches = to_count(value.fields["num_requests"], "num_requests")
    return ExportRow(
        PROVIDER,
        "usage",
        value.start,
        value.end,
        value.where,
        item=WEB_SEARCH,
        tokens={"web_search": searches},
        endpoint=SEARCHES,
    )


def read_cost(value: Value) -> ExportRow:
    """Return a cost row; the line item tells tier, model and kind of unit. Raises ExportError."""
    said = value.fields
    currency = str(said.get("amount.currency", said.get("amount_currency")) or "usd").upper()
    if currency != "USD":
        raise ExportError(f"the amount is in {currency}: only USD can be compared")
    line = _text(value, "line_item")
    model, tier, kind, item = _line_item(line) if line else (None, None, None, None)
    name = "amount.value" if "amount.value" in said else "amount_value"
    return ExportRow(
        PROVIDER,
        "cost",
        value.start,
        value.end,
        value.where,
        model=model,
        tier=tier,
        item=item,
        cost_pico=to_pico(said[name], name),
        cost_class=kind,
    )


def _line_item(line: str) -> tuple[str | None, str | None, str | None, str | None]:
    """Return (model, tier, kind of unit, item that is no model).

    >>> _line_item("priority | gpt-5.6-sol, cached input, long context")
    ('gpt-5.6-sol', 'priority', 'cache_read', None)
    >>> _line_item("gpt-6-astra, input_tokens"), _line_item("web search tool calls")
    (('gpt-6-astra', 'standard', 'input', None), (None, None, 'web_search', 'web search'))
    """
    if "web search" in line.lower():
        return None, None, "web_search", WEB_SEARCH
    found = _LINE_ITEM.match(line)
    kind = found and _KINDS.get(found["kind"].lower().replace("_", " ").removesuffix(" tokens"))
    if not found or kind is None:
        return None, None, None, line.lower()
    kind = _MODALITIES.get((found["modality"] or "text", kind), kind)
    return found["model"], tier_name(found["tier"]), kind, None


def _text(value: Value, name: str) -> str | None:
    said = value.fields.get(name)
    return None if said in (None, "") else str(said).strip()
