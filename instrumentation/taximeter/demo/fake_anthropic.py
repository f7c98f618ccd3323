"""The Messages API's side of the fake: a resolved answer in, JSON or server-sent events out.

Shapes follow the anthropic SDK's response types; `input_tokens` excludes cached tokens.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from taximeter.demo.answers import Answer
from taximeter.demo.replies import Tokens

ERROR_TYPES = {
    400: ("invalid_request_error", "The request is not valid."),
    401: ("authentication_error", "invalid x-api-key"),
    404: ("not_found_error", "The requested resource could not be found."),
    413: ("request_too_large", "Request exceeds the maximum size."),
    429: ("rate_limit_error", "This request would exceed your organization's rate limit."),
    500: ("api_error", "Internal server error"),
    503: ("api_error", "Service temporarily unavailable"),
    529: ("overloaded_error", "Overloaded"),
}


def error_body(status: int, request_id: str, message: str | None = None) -> dict[str, Any]:
    """Return the error object that Anthropic sends with this HTTP status."""
    kind, standard = ERROR_TYPES.get(status, ("api_error", "Internal server error"))
    return {
        "type": "error",
        "error": {"type": kind, "message": message or standard},
        "request_id": request_id,
    }


def usage(tokens: Tokens, tier: str) -> dict[str, Any]:
    """Return the usage object of a whole message.

    >>> usage(Tokens(uncached_input=5, cache_read=90, output=7), "standard")["input_tokens"]
    5
    """
    fields: dict[str, Any] = {
        "input_tokens": tokens.uncached_input,
        "cache_creation_input_tokens": tokens.cache_write_5m + tokens.cache_write_1h,
        "cache_read_input_tokens": tokens.cache_read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": tokens.cache_write_5m,
            "ephemeral_1h_input_tokens": tokens.cache_write_1h,
        },
        "output_tokens": tokens.output,
        "service_tier": tier,
        "inference_geo": "global",
    }
    if tokens.reasoning:
        fields["output_tokens_details"] = {"thinking_tokens": tokens.reasoning}
    if tokens.web_searches:
        fields["server_tool_use"] = {"web_search_requests": tokens.web_searches}
    return fields


def message(answer: Answer) -> dict[str, Any]:
    """Return a complete Message."""
    return {
        "id": answer.response_id,
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": list(_blocks(answer)),
        "stop_reason": answer.stop,
        "stop_sequence": None,
        "usage": usage(answer.tokens, answer.tier),
    }


def events(answer: Answer) -> Iterator[bytes]:
    """Yield the same message as server-sent events; the usage is whole only in message_delta."""
    whole = message(answer)
    opening = dict(whole, content=[], stop_reason=None)
    opening["usage"] = dict(whole["usage"], output_tokens=1)
    opening["usage"].pop("output_tokens_details", None)
    opening["usage"].pop("server_tool_use", None)
    yield _event("message_start", message=opening)
    for index, block in enumerate(whole["content"]):
        yield from _block_events(index, block)
    final = {
        name: whole["usage"][name]
        for name in (
            "input_tokens",
            "cache_creation_input_tokens",
            "cache_read_input_tokens",
            "output_tokens",
            "output_tokens_details",
            "server_tool_use",
        )
        if name in whole["usage"]
    }
    yield _event(
        "message_delta",
        delta={"stop_reason": answer.stop, "stop_sequence": None},
        usage=final,
    )
    yield _event("message_stop")


def _blocks(answer: Answer) -> Iterator[dict[str, Any]]:
    if answer.thinks:
        thought = "Weighing what is known against what was asked."
        yield {"type": "thinking", "thinking": thought, "signature": "ZGVtbw=="}
    if answer.text:
        yield {"type": "text", "text": answer.text}
    for call, call_id in zip(answer.tool_calls, answer.tool_call_ids, strict=True):
        yield {
            "type": "tool_use",
            "id": call_id,
            "name": call.name,
            "input": dict(call.arguments),
        }


def _block_events(index: int, block: Mapping[str, Any]) -> Iterator[bytes]:
    kind = block["type"]
    empty: dict[str, Any]
    if kind == "text":
        empty, deltas = {"text": ""}, [{"type": "text_delta", "text": block["text"]}]
    elif kind == "thinking":
        empty = {"thinking": "", "signature": ""}
        deltas = [
            {"type": "thinking_delta", "thinking": block["thinking"]},
            {"type": "signature_delta", "signature": block["signature"]},
        ]
    else:
        empty = {"input": {}}
        arguments = json.dumps(block["input"])
        deltas = [{"type": "input_json_delta", "partial_json": arguments}]
    yield _event("content_block_start", index=index, content_block={**block, **empty})
    for delta in deltas:
        yield _event("content_block_delta", index=index, delta=delta)
    yield _event("content_block_stop", index=index)


def _event(kind: str, **fields: Any) -> bytes:
    data = json.dumps({"type": kind, **fields}, separators=(",", ":"))
    return f"event: {kind}\ndata: {data}\n\n".encode()
