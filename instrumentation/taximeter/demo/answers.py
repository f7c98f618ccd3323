"""Settle what the fake model answers: a scripted reply, and the rest made up from the request.

Made-up answers count tokens by length and keep a prompt cache, as the providers' own do.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Any, Final, Literal

from taximeter.demo.replies import Reply, Tokens, ToolCall

Api = Literal["messages", "chat", "responses", "embeddings"]

BYTES_PER_TOKEN: Final = 4
MIN_CACHED_TOKENS: Final = 1024
CACHE_STEP: Final = 128
OPENAI_CACHE_S: Final = 600.0
ANTHROPIC_CACHE_S: Final = {"5m": 300.0, "1h": 3600.0}
SECONDS_PER_TOKEN: Final = 0.012
ID_PREFIXES: Final[Mapping[Api, str]] = {
    "messages": "msg_01",
    "chat": "chatcmpl-",
    "responses": "resp_",
    "embeddings": "emb_",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply with every gap filled, ready to be written in a provider's shape."""

    response_id: str
    model: str
    text: str
    tool_calls: tuple[ToolCall, ...]
    tool_call_ids: tuple[str, ...]
    tokens: Tokens
    stop: str
    tier: str
    thinks: bool
    created: int
    latency_s: float
    first_token_s: float


@dataclass(slots=True)
class PromptCache:
    """Prefixes seen lately, each with the time it is forgotten."""

    monotonic: Callable[[], float] = time.monotonic
    expiry: dict[str, float] = field(default_factory=dict)

    def anthropic_tokens(self, body: Mapping[str, Any]) -> Tokens:
        """Return the input split that cache_control marks in this Messages request give."""
        digest = hashlib.sha256(str(body.get("model")).encode())
        now, size, read, written, lifetime = self.monotonic(), 0, 0, 0, "5m"
        marks: list[tuple[str, int, str]] = []
        for part in _prompt_parts(body, ("tools", "system", "messages")):
            digest.update(part.text.encode())
            size += len(part.text) // BYTES_PER_TOKEN + 1
            if part.cache_ttl and size >= MIN_CACHED_TOKENS:
                marks.append((digest.hexdigest(), size, part.cache_ttl))
        for key, prefix, ttl in marks:
            if self.expiry.get(key, 0.0) > now:
                read = prefix
            written, lifetime = prefix, ttl
            self.expiry[key] = now + ANTHROPIC_CACHE_S[ttl]
        fresh = max(0, written - read)
        return Tokens(
            uncached_input=max(1, size - read - fresh),
            cache_read=read,
            cache_write_5m=fresh if lifetime == "5m" else 0,
            cache_write_1h=fresh if lifetime == "1h" else 0,
        )

    def openai_tokens(self, body: Mapping[str, Any]) -> Tokens:
        """Return the input split of automatic caching: the longest known prefix is cached."""
        digest = hashlib.sha256(str(body.get("model")).encode())
        now, size, read = self.monotonic(), 0, 0
        for part in _prompt_parts(body, ("tools", "instructions", "messages", "input")):
            digest.update(part.text.encode())
            size += len(part.text) // BYTES_PER_TOKEN + 1
            key = digest.hexdigest()
            if size >= MIN_CACHED_TOKENS:
                if self.expiry.get(key, 0.0) > now:
                    read = size // CACHE_STEP * CACHE_STEP
                self.expiry[key] = now + OPENAI_CACHE_S
        return Tokens(uncached_input=max(1, size - read), cache_read=read)


def settle_answer(api: Api, body: Mapping[str, Any], reply: Reply, cache: PromptCache) -> Answer:
    """Return the answer to one request: what the reply leaves open is made up."""
    calls = reply.tool_calls
    if reply.text is None and not calls and api != "embeddings":
        calls = _made_up_call(body)
    text = reply.text
    if text is None:
        text = "" if calls else "Done: this is a simulated answer from taximeter's fake model API."
    tokens = reply.tokens or _made_up_tokens(api, body, text, calls, cache)
    latency_s = reply.latency_s
    if latency_s is None:
        latency_s = 0.35 + SECONDS_PER_TOKEN * tokens.output
    first_s = reply.first_token_s
    return Answer(
        response_id=ID_PREFIXES[api] + token_hex(12),
        model=str(body.get("model", "unknown")),
        text=text,
        tool_calls=calls,
        tool_call_ids=tuple(_tool_call_id(api) for _ in calls),
        tokens=tokens,
        stop=reply.stop or ("tool_use" if calls else "end_turn"),
        tier=reply.tier or _tier(api, body),
        thinks=api == "messages" and tokens.reasoning > 0,
        created=int(time.time()),
        latency_s=latency_s,
        first_token_s=min(latency_s, 0.35) if first_s is None else first_s,
    )


@dataclass(frozen=True, slots=True)
class _Part:
    text: str
    cache_ttl: Literal["5m", "1h"] | None


def _prompt_parts(body: Mapping[str, Any], names: Sequence[str]) -> Iterator[_Part]:
    """Yield the prompt's blocks in the order in which providers hash them."""
    for name in names:
        value = body.get(name)
        items = value if isinstance(value, list) else [value] if value else []
        for item in items:
            content = item.get("content") if isinstance(item, Mapping) else None
            for block in content if isinstance(content, list) else [item]:
                control = block.get("cache_control") if isinstance(block, Mapping) else None
                ttl: Literal["5m", "1h"] | None = None
                if isinstance(control, Mapping):
                    ttl = "1h" if control.get("ttl") == "1h" else "5m"
                    block = {key: val for key, val in block.items() if key != "cache_control"}
                text = block if isinstance(block, str) else json.dumps(block, sort_keys=True)
                yield _Part(text, ttl)


def _made_up_tokens(
    api: Api,
    body: Mapping[str, Any],
    text: str,
    calls: Sequence[ToolCall],
    cache: PromptCache,
) -> Tokens:
    prompt = cache.anthropic_tokens(body) if api == "messages" else cache.openai_tokens(body)
    if api == "embeddings":
        return Tokens(uncached_input=prompt.prompt)
    said = len(text) + sum(len(json.dumps(dict(call.arguments))) + 40 for call in calls)
    output = said // BYTES_PER_TOKEN + 1
    thinks = "thinking" in body or "reasoning" in body or "reasoning_effort" in body
    reasoning = 64 if thinks else 0
    return Tokens(
        uncached_input=prompt.uncached_input,
        cache_read=prompt.cache_read,
        cache_write_5m=prompt.cache_write_5m,
        cache_write_1h=prompt.cache_write_1h,
        output=output + reasoning,
        reasoning=reasoning,
    )


def _made_up_call(body: Mapping[str, Any]) -> tuple[ToolCall, ...]:
    """Call the first tool once, then answer: an agent's loop is exercised and ends."""
    tools, turns = body.get("tools"), body.get("messages") or body.get("input")
    if not tools or not isinstance(turns, list) or _has_tool_result(turns):
        return ()
    spec = tools[0].get("function", tools[0])
    schema = spec.get("input_schema") or spec.get("parameters") or {}
    known = schema.get("properties", {})
    names = schema.get("required") or list(known)
    arguments = {name: _made_up_argument(known.get(name, {})) for name in names}
    return (ToolCall(str(spec.get("name", "tool")), arguments),)


def _has_tool_result(turns: Sequence[Any]) -> bool:
    for turn in turns:
        if not isinstance(turn, Mapping):
            continue
        if turn.get("role") == "tool" or turn.get("type") == "function_call_output":
            return True
        content = turn.get("content")
        blocks = content if isinstance(content, list) else []
        if any(isinstance(b, Mapping) and b.get("type") == "tool_result" for b in blocks):
            return True
    return False


def _made_up_argument(schema: Mapping[str, Any]) -> object:
    if schema.get("enum"):
        return schema["enum"][0]
    samples: Mapping[str, object] = {
        "integer": 1,
        "number": 1.5,
        "boolean": True,
        "array": [],
        "object": {},
    }
    return samples.get(str(schema.get("type")), "example")


def _tier(api: Api, body: Mapping[str, Any]) -> str:
    if api == "messages":
        return "standard"
    asked = body.get("service_tier")
    return asked if asked in ("flex", "priority") else "default"


def _tool_call_id(api: Api) -> str:
    return ("toolu_01" if api == "messages" else "call_") + token_hex(10)
