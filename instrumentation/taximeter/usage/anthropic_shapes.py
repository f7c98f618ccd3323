"""Usage objects whose input count leaves cached tokens out: Anthropic Messages, Bedrock Converse."""

from __future__ import annotations

from typing import Final

from taximeter.usage.counts import Raw, count, entries, written
from taximeter.usage.partition import Usage

_SUMS: Final = ("input_tokens", "output_tokens", "cache_read_input_tokens")


def anthropic(raw: Raw) -> Usage:
    """Messages API: compaction passes are billed besides the top-level counts, advisors elsewhere.

    https://platform.claude.com/docs/en/api/messages (usage; `iterations` as the SDK documents it)
    """
    uncached, output = count(raw, "input_tokens"), count(raw, "output_tokens")
    read = count(raw, "cache_read_input_tokens")
    short, long = _writes(raw)
    for item in entries(raw, "iterations"):
        if item.get("type") == "compaction":
            extra_short, extra_long = _writes(item)
            short, long = short + extra_short, long + extra_long
            uncached = _plus(uncached, item, "input_tokens")
            output = _plus(output, item, "output_tokens")
            read = (read or 0) + (count(item, "cache_read_input_tokens") or 0)
    return Usage(
        uncached_input=uncached,
        cache_read=read or 0,
        cache_write_short=short,
        cache_write_long=long,
        output=output,
        reasoning=count(raw, "output_tokens_details", "thinking_tokens"),
        web_searches=count(raw, "server_tool_use", "web_search_requests"),
        cache_reported=any(
            raw.get(name) is not None
            for name in ("cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation")
        ),
        other_models=_other_models(raw),
    )


def _plus(whole: int | None, item: Raw, name: str) -> int | None:
    return None if whole is None else whole + (count(item, name) or 0)


def _writes(raw: Raw) -> tuple[int, int]:
    """Return (5 minutes, 1 hour); without a split everything is 5 minutes."""
    return written(
        count(raw, "cache_creation_input_tokens"),
        count(raw, "cache_creation", "ephemeral_5m_input_tokens"),
        count(raw, "cache_creation", "ephemeral_1h_input_tokens"),
    )


def _other_models(raw: Raw) -> tuple[tuple[str, Usage], ...]:
    """Return the passes on other models: advisors always, a fallback that the totals leave out."""
    if not raw.get("iterations"):
        return ()
    kinds = {"advisor_message"} if _has_fallback_in_totals(raw) else {
        "advisor_message", "fallback_message"}  # fmt: skip
    return tuple(
        (str(item.get("model") or "unknown"), anthropic(item))
        for item in entries(raw, "iterations")
        if item.get("type") in kinds
    )


def _has_fallback_in_totals(raw: Raw) -> bool:
    """A fallback stands in place of a message, so it is in the totals unless they prove otherwise."""
    items = [item for item in entries(raw, "iterations") if item.get("type") == "message"]
    stated = [count(raw, name) or 0 for name in _SUMS]
    return not items or stated != [sum(count(i, name) or 0 for i in items) for name in _SUMS]


def bedrock(raw: Raw) -> Usage:
    """Converse: `totalTokens` has the cached tokens, `inputTokens` has not.

    https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_TokenUsage.html
    """
    total, read = count(raw, "cacheWriteInputTokens"), count(raw, "cacheReadInputTokens")
    details = list(entries(raw, "cacheDetails"))
    long = sum(count(item, "inputTokens") or 0 for item in details if item.get("ttl") == "1h")
    rest = sum(count(item, "inputTokens") or 0 for item in details if item.get("ttl") != "1h")
    short, long = written(total, rest, long)
    return Usage(
        uncached_input=count(raw, "inputTokens"),
        cache_read=read or 0,
        cache_write_short=short,
        cache_write_long=long,
        output=count(raw, "outputTokens"),
        cache_reported=read is not None or total is not None or bool(details),
    )
