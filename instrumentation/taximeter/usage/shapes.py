"""One reader a usage shape. Sources: the providers' API references, as noted at each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from taximeter.usage.partition import Usage

Raw = Mapping[str, Any]


def normalise_usage(shape: str, raw: Raw) -> Usage:
    """Return the partition of ``raw``, the provider's usage object.

    Raises ValueError for a shape that is not in SHAPES or counts that contradict each other.

    >>> usage = normalise_usage("openai_chat", {"prompt_tokens": 100, "completion_tokens": 7,
    ...     "prompt_tokens_details": {"cached_tokens": 60}})
    >>> usage.uncached_input, usage.cache_read, usage.output, usage.prompt_tokens
    (40, 60, 7, 100)
    """
    try:
        read = SHAPES[shape]
    except KeyError:
        raise ValueError(f"unknown usage shape {shape!r}; use one of {', '.join(SHAPES)}") from None
    return read(raw)


def _int(raw: Raw | None, *path: str) -> int | None:
    """Return the count at ``path``, None where the provider did not state one."""
    value: Any = raw
    for name in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value)


def _less(whole: int | None, *parts: int | None) -> int | None:
    """Return what is left of ``whole``. Raises ValueError where the parts exceed it."""
    if whole is None:
        return None
    rest = whole - sum(part or 0 for part in parts)
    if rest < 0:
        raise ValueError(f"the parts {parts} exceed the whole {whole}")
    return rest


def _anthropic(raw: Raw) -> Usage:
    """Messages API: `input_tokens` leaves cached tokens out; compaction passes are billed besides.

    https://platform.claude.com/docs/en/api/messages (usage)
    """
    long = _int(raw, "cache_creation", "ephemeral_1h_input_tokens")
    short = _int(raw, "cache_creation", "ephemeral_5m_input_tokens")
    written = _int(raw, "cache_creation_input_tokens")
    if short is None and written is not None:
        short = _less(written, long)
    read = _int(raw, "cache_read_input_tokens")
    passes = _compaction(raw.get("iterations"))
    uncached, output = _int(raw, "input_tokens"), _int(raw, "output_tokens")
    has_cache = read is not None or written is not None or short is not None
    return Usage(
        uncached_input=None if uncached is None else uncached + passes["input_tokens"],
        cache_read=(read or 0) + passes["cache_read_input_tokens"],
        cache_write_short=(short or 0) + passes["cache_creation_input_tokens"],
        cache_write_long=long if long is not None else 0,
        output=None if output is None else output + passes["output_tokens"],
        reasoning=_int(raw, "output_tokens_details", "thinking_tokens"),
        web_searches=_int(raw, "server_tool_use", "web_search_requests"),
        cache_reported=has_cache,
    )


def _compaction(iterations: Any) -> dict[str, int]:
    """Return the tokens of the compaction passes, which the top-level counts leave out."""
    passes = [
        item
        for item in (iterations if isinstance(iterations, list) else [])
        if isinstance(item, Mapping) and item.get("type") == "compaction"
    ]
    kinds = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens",
             "output_tokens")  # fmt: skip
    return {kind: sum(_int(item, kind) or 0 for item in passes) for kind in kinds}


def _openai(raw: Raw, prompt: str, completion: str, prompt_details: str, details: str) -> Usage:
    whole, answer = _int(raw, prompt), _int(raw, completion)
    read = _int(raw, prompt_details, "cached_tokens")
    written = _int(raw, prompt_details, "cache_write_tokens")
    long = _int(raw, prompt_details, "cache_write_tokens_details", "ttl_12h_tokens")
    short = _int(raw, prompt_details, "cache_write_tokens_details", "ttl_30m_tokens")
    if short is None:
        short = _less(written, long)
    audio_in = _int(raw, prompt_details, "audio_tokens") or 0
    image_in = _int(raw, prompt_details, "image_tokens") or 0
    audio_out = _int(raw, details, "audio_tokens") or 0
    image_out = _int(raw, details, "image_tokens") or 0
    return Usage(
        uncached_input=_less(whole, read, short, long, audio_in, image_in),
        cache_read=read or 0,
        cache_write_short=short or 0,
        cache_write_long=long or 0,
        output=_less(answer, audio_out, image_out),
        reasoning=_int(raw, details, "reasoning_tokens"),
        audio_input=audio_in,
        audio_output=audio_out,
        image_input=image_in,
        image_output=image_out,
        web_searches=_int(raw, "web_search_requests"),
        cache_reported=read is not None or written is not None,
    )


def _openai_chat(raw: Raw) -> Usage:
    """Chat Completions: the prompt includes cached and written tokens; reasoning is in the answer."""
    names = ("prompt_tokens", "completion_tokens")
    usage = _openai(raw, *names, "prompt_tokens_details", "completion_tokens_details")
    if usage.output is None and usage.uncached_input is not None and "total_tokens" in raw:
        # Embeddings: a prompt and a total, no answer.
        total, prompt = _int(raw, "total_tokens"), _int(raw, "prompt_tokens")
        if total == prompt:
            return _replace(usage, output=0)
    return usage


def _openai_responses(raw: Raw) -> Usage:
    """Responses: as Chat, under other names, with the lifetime of written tokens."""
    names = ("input_tokens", "output_tokens")
    return _openai(raw, *names, "input_tokens_details", "output_tokens_details")


def _openai_realtime(raw: Raw) -> Usage:
    """Realtime: text, audio and image counted apart, each with its cached part."""
    said = "input_token_details"
    cached = "cached_tokens_details"
    text_read = _int(raw, said, cached, "text_tokens") or 0
    audio_read = _int(raw, said, cached, "audio_tokens") or 0
    image_read = _int(raw, said, cached, "image_tokens") or 0
    return Usage(
        uncached_input=_less(_int(raw, said, "text_tokens"), text_read),
        cache_read=text_read + image_read,
        cache_write_short=0,
        cache_write_long=0,
        output=_int(raw, "output_token_details", "text_tokens"),
        audio_input=_less(_int(raw, said, "audio_tokens") or 0, audio_read),
        audio_cache_read=audio_read,
        audio_output=_int(raw, "output_token_details", "audio_tokens"),
        image_input=_less(_int(raw, said, "image_tokens") or 0, image_read),
        cache_reported=_int(raw, said, "cached_tokens") is not None,
    )


def _gemini(raw: Raw) -> Usage:
    """generateContent: tool-use prompts come on top of the prompt, thoughts on top of the answer."""
    prompt = _int(raw, "promptTokenCount")
    tools = _int(raw, "toolUsePromptTokenCount") or 0
    cached = _int(raw, "cachedContentTokenCount")
    audio = _modality(raw, "promptTokensDetails", "AUDIO")
    audio_read = _modality(raw, "cacheTokensDetails", "AUDIO")
    audio_out = _modality(raw, "candidatesTokensDetails", "AUDIO")
    image_out = _modality(raw, "candidatesTokensDetails", "IMAGE")
    thoughts = _int(raw, "thoughtsTokenCount")
    answer = _int(raw, "candidatesTokenCount")
    if answer is None and thoughts is not None:
        answer = 0
    return Usage(
        uncached_input=None if prompt is None
        else _less(prompt + tools, _less(cached, audio_read), audio),
        cache_read=_less(cached, audio_read) or 0,
        cache_write_short=0,
        cache_write_long=0,
        output=None if answer is None else _less(answer + (thoughts or 0), audio_out, image_out),
        reasoning=thoughts,
        audio_input=_less(audio, audio_read),
        audio_cache_read=audio_read,
        audio_output=audio_out,
        image_output=image_out,
        cache_reported=True,
    )  # fmt: skip


def _modality(raw: Raw, field: str, modality: str) -> int:
    items = raw.get(field)
    if not isinstance(items, list):
        return 0
    of_it = [item for item in items if isinstance(item, Mapping)]
    return sum(_int(item, "tokenCount") or 0 for item in of_it if item.get("modality") == modality)


def _bedrock(raw: Raw) -> Usage:
    """Converse: `inputTokens` leaves cached tokens out, `totalTokens` has them."""
    written = _int(raw, "cacheWriteInputTokens")
    entries = raw.get("cacheDetails")
    entries = (
        [item for item in entries if isinstance(item, Mapping)] if isinstance(entries, list) else []
    )
    long = sum(_int(item, "inputTokens") or 0 for item in entries if item.get("ttl") == "1h")
    read = _int(raw, "cacheReadInputTokens")
    return Usage(
        uncached_input=_int(raw, "inputTokens"),
        cache_read=read or 0,
        cache_write_short=_less(written or 0, long),
        cache_write_long=long,
        output=_int(raw, "outputTokens"),
        cache_reported=read is not None or written is not None,
    )


def _xai_chat(raw: Raw) -> Usage:
    """xAI chat: the Chat shape, but reasoning comes on top of the completion."""
    usage = _openai_chat(raw)
    extra = usage.reasoning or 0
    return _replace(usage, output=None if usage.output is None else usage.output + extra)


def _deepseek(raw: Raw) -> Usage:
    """DeepSeek: hits and misses are stated apart."""
    hit, miss = _int(raw, "prompt_cache_hit_tokens"), _int(raw, "prompt_cache_miss_tokens")
    if hit is None and miss is None:
        return _openai_chat(raw)
    return Usage(
        uncached_input=miss if miss is not None else _less(_int(raw, "prompt_tokens"), hit),
        cache_read=hit or 0,
        cache_write_short=0,
        cache_write_long=0,
        output=_int(raw, "completion_tokens"),
        reasoning=_int(raw, "completion_tokens_details", "reasoning_tokens"),
        cache_reported=True,
    )


def _replace(usage: Usage, **leaves: int | None) -> Usage:
    from dataclasses import replace

    return replace(usage, **leaves)  # type: ignore[arg-type]


SHAPES: Final[dict[str, Callable[[Raw], Usage]]] = {
    "anthropic": _anthropic,
    "openai_chat": _openai_chat,
    "openai_responses": _openai_responses,
    "openai_realtime": _openai_realtime,
    "gemini": _gemini,
    "bedrock": _bedrock,
    "xai_chat": _xai_chat,
    "deepseek": _deepseek,
}
