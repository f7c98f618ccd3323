"""Rows of spans in, the waterfall's columns and the proof of a call's price out. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from taximeter_dashboard import format
from taximeter_dashboard.blocks import Fact, Tone

Row = Mapping[str, Any]
PICO: Final = 10**12
_PARTS: Final = (
    ("Input", "uncached_input_tokens", "input_cost_pico"),
    ("Cache read", "cache_read_tokens", "cache_read_cost_pico"),
    ("Cache write", "cache_write_tokens", "cache_write_cost_pico"),
    ("Output", "output_tokens", "output_cost_pico"),
    ("Other", None, "other_cost_pico"),
)
QUALITY: Final = {
    "exact": "priced part by part at list price",
    "aggregate": "priced from totals: the parts were not reported",
    "assumed_ttl": "cache life assumed: the write's length was not reported",
    "assumed_tier": "service tier assumed: it was not reported",
    "reported": "as the sender reported it",
    "unpriced": "no price is known for this model",
}


def waterfall_columns(spans: Sequence[Row]) -> dict[str, list[Any]]:
    """Return the spans in columns, with every text the component shows.

    A span without a cost of its own shows the sum below it, marked Σ; unknown shows nothing.
    """
    origin = min((s["start_time"] for s in spans if s["start_time"]), default=None)
    sums = subtree_costs(spans)
    dearest = max((s["cost_pico"] or 0 for s in spans), default=0) or 1
    return {
        "id": [s["span_id"] for s in spans],
        "parent": [s["parent_span_id"] for s in spans],
        "kind": [s["kind"] or "other" for s in spans],
        "name": [s["name"] or format.UNKNOWN for s in spans],
        "label": [label(s) for s in spans],
        "off": [offset_ms(s["start_time"], origin) for s in spans],
        "dur": [s["duration_ms"] or 0 for s in spans],
        "durText": [format.duration(s["duration_ms"]) for s in spans],
        "st": [int(s["status"] == "error") for s in spans],
        "err": [s["error_type"] or s["error_class"] for s in spans],
        "own": [None if s["cost_pico"] is None else s["cost_pico"] / dearest for s in spans],
        "costText": [_cost_text(s, sums[s["span_id"]]) for s in spans],
        "tokens": [_token_text(s) for s in spans],
        "cached": [_share(s["cache_read_tokens"], s["prompt_tokens"]) for s in spans],
        "repeat": [s["consecutive_repeat"] if s["is_repeat"] else None for s in spans],
    }


def label(span: Row) -> str:
    """Return what a row says: the icon tells the operation, so the name need not.

    >>> label({"kind": "agent", "name": "invoke_agent writer", "model": None})
    'writer'
    >>> label({"kind": "llm", "name": "anthropic.messages.create", "model": "claude-sonnet-4-5"})
    'claude-sonnet-4-5'
    """
    name: str = span["name"] or format.UNKNOWN
    if span["kind"] in ("llm", "embedding"):
        model: str | None = span["model"]
        return model if model and model not in name else name
    for operation in ("invoke_agent ", "execute_tool "):
        if name.startswith(operation) and len(name) > len(operation):
            return name.removeprefix(operation)
    return name


def subtree_costs(spans: Sequence[Row]) -> dict[str, int | None]:
    """Return the pico-USD of each span and all below it, None where nothing is priced."""
    parents = {s["span_id"]: s["parent_span_id"] for s in spans}
    sums: dict[str, int | None] = dict.fromkeys(parents)
    for span in spans:
        if span["cost_pico"] is None or span["is_billed"] is False:
            continue
        seen: set[str] = set()
        at: str | None = span["span_id"]
        while at is not None and at in parents and at not in seen:
            seen.add(at)
            sums[at] = (sums[at] or 0) + int(span["cost_pico"])
            at = parents[at]
    return sums


def offset_ms(start: datetime | None, origin: datetime | None) -> float:
    return (start - origin).total_seconds() * 1000 if start and origin else 0.0


def proof_rows(call: Row) -> list[list[str]]:
    """Return how a call's price was reached: part, tokens, USD per million, USD."""
    writes = (call["cache_write_short_tokens"], call["cache_write_long_tokens"])
    tokens = {**call, "cache_write_tokens": _sum_known(writes)}
    rows = []
    for label, column, cost_column in _PARTS:
        number, cost = (tokens[column] if column else None), call[cost_column]
        if not number and not cost:
            continue
        rate = cost / number if number and cost is not None else None
        # pico-USD a token is micro-USD a million tokens.
        rows.append([label, format.exact(number), format.usd(rate / 1e6 if rate else rate),
                     format.usd(None if cost is None else cost / PICO)])  # fmt: skip
    total = call["cost_pico"]
    rows.append(["Total", format.exact(call["total_tokens"]), "",
                 format.usd(None if total is None else total / PICO)])  # fmt: skip
    return rows


def proof_facts(call: Row) -> list[Fact]:
    """Return where the numbers come from: price, evidence, how sure they are."""
    quality = call["cost_quality"]
    doubtful: Tone = "" if quality in ("exact", None) else "warn"
    facts: list[Fact] = [
        ("Model", " / ".join(filter(None, (call["provider"], call["model"]))) or format.UNKNOWN),
        ("Price from", call["price_source"] or format.UNKNOWN),
        ("Quality", QUALITY.get(quality, quality or format.UNKNOWN), doubtful),
        ("Input counted as", _evidence(call)),
    ]
    if call["service_tier"]:
        facts.append(("Tier", call["service_tier"] + (" · batch" if call["is_batch"] else "")))
    if call["is_billed"] is False:
        facts.append(("Not billed here", call["billed_reason"] or "repeats another span", "warn"))
    if call["usage_conflict"]:
        facts.append(("Conflict", "the sender's numbers disagree", "warn"))
    if call["cost_reported_usd"] is not None:
        facts.append(("Sender's own cost", format.usd(call["cost_reported_usd"])))
    return facts


def readable(text: str | None) -> str:
    """Return JSON indented, anything else as it is.

    >>> print(readable('{"a":1}'), readable("no json"))
    {
      "a": 1
    } no json
    """
    if not text:
        return ""
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        return text


def content_of(attributes: Mapping[str, str], way: str) -> str:
    """Return what went ``input`` or ``output`` of a span, however its dialect calls it."""
    for name in _CONTENT[way]:
        if attributes.get(name):
            return readable(attributes[name])
    return ""


_CONTENT: Final[dict[str, tuple[str, ...]]] = {
    "input": ("gen_ai.input.messages", "gen_ai.tool.call.arguments", "input.value",
              "traceloop.entity.input", "gen_ai.prompt", "ai.prompt.messages", "ai.prompt",
              "ai.toolCall.args", "langfuse.observation.input", "input", "tool_arguments",
              "gen_ai.prompt.0.content", "llm.input_messages.0.message.content"),
    "output": ("gen_ai.output.messages", "gen_ai.tool.call.result", "output.value",
               "traceloop.entity.output", "gen_ai.completion", "ai.response.text",
               "ai.toolCall.result", "langfuse.observation.output", "output", "tool_response",
               "gen_ai.completion.0.content", "llm.output_messages.0.message.content"),
}  # fmt: skip


def as_pairs(value: Any) -> dict[str, str]:
    """Return a map as Arrow hands it out (pairs or a dict) as a dict."""
    if isinstance(value, Mapping):
        return {str(k): str(v) for k, v in value.items()}
    return {str(k): "" if v is None else str(v) for k, v in value or []}


def _evidence(call: Row) -> str:
    known = [call["input_basis"], call["basis_evidence"]]
    return " · ".join(text for text in known if text) or format.UNKNOWN


def _cost_text(span: Row, below: int | None) -> str:
    if span["cost_pico"] is not None:
        text = format.usd(span["cost_pico"] / PICO)
        return f"({text})" if span["is_billed"] is False else text
    if span["kind"] in ("llm", "embedding"):
        return format.UNKNOWN
    return f"Σ {format.usd(below / PICO)}" if below is not None else ""


def _token_text(span: Row) -> str:
    if span["prompt_tokens"] is None and span["output_tokens"] is None:
        return ""
    return f"{format.count(span['prompt_tokens'])} → {format.count(span['output_tokens'])}"


def _share(part: int | None, whole: int | None) -> float | None:
    return min(part / whole, 1.0) if part is not None and whole else None


def _sum_known(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
