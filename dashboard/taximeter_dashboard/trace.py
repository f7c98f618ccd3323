"""Rows of spans in, the waterfall's columns out. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from taximeter_dashboard import format

Row = Mapping[str, Any]
PICO: Final = 10**12


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
    for name in CONTENT_KEYS[way]:
        if attributes.get(name):
            return readable(attributes[name])
    return ""


CONTENT_KEYS: Final[dict[str, tuple[str, ...]]] = {
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


def _cost_text(span: Row, below: int | None) -> str:
    if span["cost_pico"] is not None:
        text = format.usd(span["cost_pico"] / PICO)
        return f"({text})" if span["is_billed"] is False else text
    if span["kind"] in ("llm", "embedding"):
        return _bounds_text(span["cost_lower_bound_pico"], span["cost_upper_bound_pico"])
    return f"Σ {format.usd(below / PICO)}" if below is not None else ""


def _bounds_text(low: int | None, high: int | None) -> str:
    if low is None:
        return format.UNKNOWN
    least = format.usd(low / PICO)
    return f"≥ {least}" if high is None else f"{least} to {format.usd(high / PICO)}"


def _token_text(span: Row) -> str:
    if span["prompt_tokens"] is None and span["output_tokens"] is None:
        return ""
    return f"{format.count(span['prompt_tokens'])} → {format.count(span['output_tokens'])}"


def _share(part: int | None, whole: int | None) -> float | None:
    return min(part / whole, 1.0) if part is not None and whole else None
