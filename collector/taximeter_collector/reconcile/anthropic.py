"""Anthropic's reports → rows. Pure.

Usage and Cost API (`/v1/organizations/usage_report/messages`, `/cost_report`), its successor
(`/v1/organizations/analytics/usage`, `/cost`), and the two CSV exports of the Console.
Field names: docs/reconcile.md says from where.
"""

from __future__ import annotations

from typing import Final

from taximeter_collector.reconcile.amounts import rounding_of, to_count, to_pico
from taximeter_collector.reconcile.names import tier_name
from taximeter_collector.reconcile.rows import WEB_SEARCH, ExportError, ExportRow, Value

PROVIDER: Final = "anthropic"
TOKEN_FIELDS: Final = {
    "uncached_input_tokens": "input",
    "cache_read_input_tokens": "cache_read",
    "cache_creation.ephemeral_5m_input_tokens": "cache_write_short",
    "cache_creation.ephemeral_1h_input_tokens": "cache_write_long",
    "output_tokens": "output",
    "server_tool_use.web_search_requests": "web_search",
    "usage_input_tokens_no_cache": "input",
    "usage_input_tokens_cache_read": "cache_read",
    "usage_input_tokens_cache_write": "cache_write_short",
    "usage_input_tokens_cache_write_5m": "cache_write_short",
    "usage_input_tokens_cache_write_1h": "cache_write_long",
    "usage_output_tokens": "output",
    "web_search_count": "web_search",
}
COST_CLASSES: Final = TOKEN_FIELDS | {
    "input_no_cache": "input",
    "input_cache_read": "cache_read",
    "input_cache_write": "cache_write_short",
    "input_cache_write_5m": "cache_write_short",
    "input_cache_write_1h": "cache_write_long",
    "output": "output",
}
DIMENSIONS: Final = (
    "model", "model_version", "service_tier", "usage_type", "context_window", "inference_geo",
    "speed", "api_key_id", "api_key", "api_key_status", "workspace_id", "workspace", "account_id",
    "service_account_id", "product", "description", "cost_type", "token_type", "actor",
    "actor_type", "organization_id", "session_id", "agent_id", "deployment_id", "environment_id",
    "user_profile_id", "rbac_group_id", "slack_channel_id", "claude_tag_category",
    "claude_tag_user_id",
)  # fmt: skip
READ: Final = frozenset(
    {*TOKEN_FIELDS, *DIMENSIONS, "requests", "total_tokens", "amount", "list_amount", "currency",
     "cost_usd", "list_price_usd", "usage_date_utc"}
)  # fmt: skip


def is_usage(names: set[str]) -> bool:
    """Return whether these are the fields of a usage report."""
    return bool({"uncached_input_tokens", "usage_input_tokens_no_cache"} & names)


def is_cost(names: set[str]) -> bool:
    """Return whether these are the fields of a cost report."""
    return {"amount", "currency"} <= names or "cost_usd" in names


def read_usage(value: Value) -> ExportRow:
    """Return a usage row. Raises ExportError."""
    said = value.fields
    tokens: dict[str, int] = {}
    for name, kind in TOKEN_FIELDS.items():
        if name in said:
            tokens[kind] = tokens.get(kind, 0) + to_count(said[name], name)
    requests = said.get("requests")
    return ExportRow(
        PROVIDER,
        "usage",
        value.start,
        value.end,
        value.where,
        model=_text(value, "model", "model_version"),
        tier=_tier(value),
        tokens=tokens,
        requests=None if requests in (None, "") else to_count(requests, "requests"),
    )


def read_cost(value: Value) -> ExportRow:
    """Return a cost row. Raises ExportError."""
    said = value.fields
    currency = str(said.get("currency") or "USD").upper()
    if currency != "USD":
        raise ExportError(f"the amount is in {currency}: only USD can be compared")
    model = _text(value, "model")
    cost_type = (_text(value, "cost_type") or "").lower()
    token_type = (_text(value, "token_type") or "").lower()
    item = None
    if "web_search" in cost_type or (not model and "web search" in _described(value)):
        item, model = WEB_SEARCH, None
    elif cost_type not in ("", "token", "tokens") or (not model and _described(value)):
        item, model = cost_type or _described(value), None
    in_csv = "cost_usd" in said
    return ExportRow(
        PROVIDER,
        "cost",
        value.start,
        value.end,
        value.where,
        model=model,
        tier=None if item else _tier(value),
        item=item,
        cost_pico=to_pico(said["cost_usd"], "cost_usd")
        if in_csv
        else to_pico(said["amount"], "amount", per_usd=100),
        cost_class="web_search" if item == WEB_SEARCH else COST_CLASSES.get(token_type),
        rounding_pico=rounding_of(said["cost_usd"]) if in_csv else 0,
    )


def _tier(value: Value) -> str | None:
    tier = _text(value, "service_tier", "usage_type")
    fast = (_text(value, "speed") or "").lower() == "fast"
    if tier is None and not fast:
        return None
    name = (tier or "standard").lower()
    return tier_name("standard" if name in ("message", "messages") else name,
                     batch="batch" in name, fast=fast)  # fmt: skip


def _described(value: Value) -> str:
    return (_text(value, "description") or "").lower()


def _text(value: Value, *names: str) -> str | None:
    for name in names:
        if value.fields.get(name) not in (None, ""):
            return str(value.fields[name]).strip()
    return None
