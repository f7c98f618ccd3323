"""The OpenAI side of the fake: a resolved answer in, chat, responses or embeddings JSON out.

Shapes follow the openai SDK's response types; prompt counts include cached tokens.
"""

from __future__ import annotations

import json
import struct
from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import Any

from taximeter.demo.answers import Answer
from taximeter.demo.replies import Tokens

FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
ERROR_TYPES = {
    400: ("invalid_request_error", None, "The request is not valid."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    404: ("invalid_request_error", None, "Unknown request URL."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached for requests per min."),
    500: ("server_error", None, "The server had an error while processing your request."),
    503: ("server_error", None, "The engine is currently overloaded, please try again later."),
}


def error_body(status: int, message: str | None = None) -> dict[str, Any]:
    """Return the error object that OpenAI sends with this HTTP status."""
    kind, code, standard = ERROR_TYPES.get(status, ERROR_TYPES[500])
    return {
        "error": {"message": message or standard, "type": kind, "param": None, "code": code},
    }


def chat_usage(tokens: Tokens) -> dict[str, Any]:
    """Return the usage object of chat completions.

    >>> chat_usage(Tokens(uncached_input=10, cache_read=90, output=5))["prompt_tokens"]
    100
    """
    prompt_details = {"cached_tokens": tokens.cache_read, "audio_tokens": 0}
    written = tokens.cache_write_5m + tokens.cache_write_1h
    if written:
        prompt_details["cache_write_tokens"] = written
    return {
        "prompt_tokens": tokens.prompt,
        "completion_tokens": tokens.output,
        "total_tokens": tokens.prompt + tokens.output,
        "prompt_tokens_details": prompt_details,
        "completion_tokens_details": {
            "reasoning_tokens": tokens.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def responses_usage(tokens: Tokens) -> dict[str, Any]:
    """Return the usage object of the Responses API."""
    input_details: dict[str, Any] = {
        "cached_tokens": tokens.cache_read,
        "cache_write_tokens": tokens.cache_write_5m + tokens.cache_write_1h,
    }
    if tokens.cache_write_1h:
        input_details["cache_write_tokens_details"] = {
            "ttl_30m_tokens": tokens.cache_write_5m,
            "ttl_12h_tokens": tokens.cache_write_1h,
        }
    return {
        "input_tokens": tokens.prompt,
        "input_tokens_details": input_details,
        "output_tokens": tokens.output,
        "output_tokens_details": {"reasoning_tokens": tokens.reasoning},
        "total_tokens": tokens.prompt + tokens.output,
    }


def chat_completion(answer: Answer) -> dict[str, Any]:
    """Return a complete chat completion."""
    said: dict[str, Any] = {"role": "assistant", "content": answer.text or None, "refusal": None}
    if answer.tool_calls:
        said["tool_calls"] = list(_chat_tool_calls(answer))
    choice = {"index": 0, "message": said, "logprobs": None, "finish_reason": _finish(answer)}
    return {
        **_chat_head(answer, "chat.completion"),
        "choices": [choice],
        "usage": chat_usage(answer.tokens),
    }


def chat_chunks(answer: Answer, *, include_usage: bool) -> Iterator[bytes]:
    """Yield the completion as server-sent chunks, with usage last when it was asked for."""
    head = _chat_head(answer, "chat.completion.chunk")

    def chunk(delta: Mapping[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _data({**head, "choices": [choice]})

    yield chunk({"role": "assistant", "content": "", "refusal": None})
    if answer.text:
        yield chunk({"content": answer.text})
    for index, call in enumerate(_chat_tool_calls(answer)):
        yield chunk({"tool_calls": [{"index": index, **call}]})
    yield chunk({}, _finish(answer))
    if include_usage:
        yield _data({**head, "choices": [], "usage": chat_usage(answer.tokens)})
    yield b"data: [DONE]\n\n"


def response(answer: Answer) -> dict[str, Any]:
    """Return a complete Response object of the Responses API."""
    cut = answer.stop == "max_tokens"
    return {
        "id": answer.response_id,
        "object": "response",
        "created_at": answer.created,
        "status": "incomplete" if cut else "completed",
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "model": answer.model,
        "output": list(_output_items(answer)),
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "metadata": {},
        "service_tier": answer.tier,
        "usage": responses_usage(answer.tokens),
    }


def response_events(answer: Answer) -> Iterator[bytes]:
    """Yield the response as server-sent events; usage comes with response.completed."""
    whole = response(answer)
    started = {**whole, "status": "in_progress", "output": [], "usage": None}
    bodies: list[dict[str, Any]] = [
        {"type": "response.created", "response": started},
        {"type": "response.in_progress", "response": started},
    ]
    for index, item in enumerate(whole["output"]):
        bodies += _item_events(index, item)
    ending = "response.incomplete" if whole["status"] == "incomplete" else "response.completed"
    bodies.append({"type": ending, "response": whole})
    for number, body in enumerate(bodies):
        body["sequence_number"] = number
        yield f"event: {body['type']}\n".encode() + _data(body)


def embeddings(answer: Answer, count: int, dimensions: int, *, base64: bool) -> dict[str, Any]:
    """Return `count` embedding vectors of the given length (unit vectors, all alike)."""
    vector = [1.0] + [0.0] * (dimensions - 1)
    coded: object = vector
    if base64:
        coded = b64encode(struct.pack(f"<{dimensions}f", *vector)).decode()
    return {
        "object": "list",
        "data": [{"object": "embedding", "index": i, "embedding": coded} for i in range(count)],
        "model": answer.model,
        "usage": {"prompt_tokens": answer.tokens.prompt, "total_tokens": answer.tokens.prompt},
    }


def _chat_head(answer: Answer, kind: str) -> dict[str, Any]:
    return {
        "id": answer.response_id,
        "object": kind,
        "created": answer.created,
        "model": answer.model,
        "service_tier": answer.tier,
        "system_fingerprint": "fp_demo",
    }


def _finish(answer: Answer) -> str:
    return FINISH_REASONS.get(answer.stop, "stop")


def _chat_tool_calls(answer: Answer) -> Iterator[dict[str, Any]]:
    for call, call_id in zip(answer.tool_calls, answer.tool_call_ids, strict=True):
        function = {"name": call.name, "arguments": json.dumps(dict(call.arguments))}
        yield {"id": call_id, "type": "function", "function": function}


def _output_items(answer: Answer) -> Iterator[dict[str, Any]]:
    suffix = answer.response_id.partition("_")[2]
    if answer.tokens.reasoning:
        yield {"type": "reasoning", "id": f"rs_{suffix}", "summary": []}
    if answer.text:
        part = {"type": "output_text", "text": answer.text, "annotations": [], "logprobs": []}
        yield {
            "type": "message",
            "id": f"msg_{suffix}",
            "role": "assistant",
            "status": "completed",
            "content": [part],
        }
    for call, call_id in zip(answer.tool_calls, answer.tool_call_ids, strict=True):
        yield {
            "type": "function_call",
            "id": f"fc_{call_id[5:]}",
            "call_id": call_id,
            "name": call.name,
            "arguments": json.dumps(dict(call.arguments)),
            "status": "completed",
        }


def _item_events(index: int, item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    place = {"item_id": item["id"], "output_index": index}
    empty: dict[str, Any] = {**item}
    if item["type"] == "message":
        empty = {**item, "status": "in_progress", "content": []}
    elif item["type"] == "function_call":
        empty = {**item, "status": "in_progress", "arguments": ""}
    yield {"type": "response.output_item.added", "output_index": index, "item": empty}
    if item["type"] == "message":
        part = item["content"][0]
        at = {**place, "content_index": 0}
        blank = {**part, "text": ""}
        yield {"type": "response.content_part.added", **at, "part": blank}
        yield {"type": "response.output_text.delta", **at, "delta": part["text"], "logprobs": []}
        yield {"type": "response.output_text.done", **at, "text": part["text"], "logprobs": []}
        yield {"type": "response.content_part.done", **at, "part": part}
    elif item["type"] == "function_call":
        kind = "response.function_call_arguments"
        yield {"type": f"{kind}.delta", **place, "delta": item["arguments"]}
        yield {
            "type": f"{kind}.done",
            **place,
            "arguments": item["arguments"],
            "name": item["name"],
        }
    yield {"type": "response.output_item.done", "output_index": index, "item": item}


def _data(body: Mapping[str, Any]) -> bytes:
    return f"data: {json.dumps(body, separators=(',', ':'))}\n\n".encode()
