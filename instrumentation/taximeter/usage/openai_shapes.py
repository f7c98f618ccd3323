"""Usage objects whose prompt count includes cached tokens: OpenAI and what speaks its API."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from taximeter.usage.counts import Raw, count, less, written
from taximeter.usage.partition import Usage

_CHAT: Final = ("prompt_tokens", "completion_tokens", "prompt_tokens_details",
                "completion_tokens_details")  # fmt: skip
_RESPONSES: Final = ("input_tokens", "output_tokens", "input_tokens_details",
                     "output_tokens_details")  # fmt: skip
_REALTIME: Final = ("input_tokens", "output_tokens", "input_token_details",
                    "output_token_details")  # fmt: skip
# OpenAI's names, and a gateway's (LiteLLM) that gives every provider's usage this shape.
_WRITES: Final = (("cache_write_tokens",), ("cache_creation_tokens",))
_SHORT: Final = (("cache_write_tokens_details", "ttl_30m_tokens"),
                 ("cache_creation_token_details", "ephemeral_5m_input_tokens"))  # fmt: skip
_LONG: Final = (("cache_write_tokens_details", "ttl_12h_tokens"),
                ("cache_creation_token_details", "ephemeral_1h_input_tokens"))  # fmt: skip
_MODALITIES: Final = ("text_tokens", "audio_tokens", "image_tokens")


@dataclass(frozen=True, slots=True)
class _Prompt:
    """The leaves of a prompt."""

    uncached: int | None
    read: int | None
    audio: int | None
    audio_read: int | None
    image: int | None


def openai_chat(raw: Raw) -> Usage:
    """Chat Completions: reasoning and rejected predictions are in the answer.

    Compatible servers that leave reasoning out of the answer (Gemini's) have it in the total.
    An embedding has a prompt and a total only.
    https://developers.openai.com/api/reference/resources/chat
    """
    usage = _read(raw, *_CHAT)
    return _by_total(usage, raw)


def openai_responses(raw: Raw) -> Usage:
    """Responses: as Chat, under other names, with the lifetime of written tokens.

    https://developers.openai.com/api/reference/resources/responses
    """
    return _read(raw, *(_RESPONSES if "input_token_details" not in raw else _REALTIME))


def openai_realtime(raw: Raw) -> Usage:
    """Realtime: text, audio and image counted apart, each with its cached part."""
    return _read(raw, *(_REALTIME if "input_tokens_details" not in raw else _RESPONSES))


def xai_chat(raw: Raw) -> Usage:
    """xAI chat: the Chat shape, but reasoning comes on top of the completion.

    https://docs.x.ai/docs/guides/reasoning
    """
    usage = _read(raw, *_CHAT)
    if count(raw, "total_tokens") is not None:
        return _by_total(usage, raw)
    answer = None if usage.output is None else usage.output + (usage.reasoning or 0)
    return replace(usage, output=answer)


def deepseek(raw: Raw) -> Usage:
    """DeepSeek: hits and misses are stated apart, the prompt is their sum.

    https://api-docs.deepseek.com/guides/kv_cache
    """
    hit, miss = count(raw, "prompt_cache_hit_tokens"), count(raw, "prompt_cache_miss_tokens")
    if hit is None and miss is None:
        return openai_chat(raw)
    prompt = count(raw, "prompt_tokens")
    return Usage(
        uncached_input=miss if miss is not None else less(prompt, hit),
        cache_read=hit if hit is not None else less(prompt, miss) or 0,
        cache_write_short=0,
        cache_write_long=0,
        output=count(raw, "completion_tokens"),
        reasoning=count(raw, "completion_tokens_details", "reasoning_tokens"),
        cache_reported=True,
    )


def _read(raw: Raw, prompt: str, answer: str, said: str, produced: str) -> Usage:
    read, total = count(raw, said, "cached_tokens"), _first(raw, said, *_WRITES)
    short, long = written(total, _first(raw, said, *_SHORT), _first(raw, said, *_LONG))
    leaves = _prompt(raw, count(raw, prompt), said, short + long)
    audio_out = count(raw, produced, "audio_tokens") or 0
    image_out = count(raw, produced, "image_tokens") or 0
    return Usage(
        uncached_input=leaves.uncached,
        cache_read=leaves.read,
        cache_write_short=short,
        cache_write_long=long,
        output=less(count(raw, answer), audio_out, image_out),
        reasoning=count(raw, produced, "reasoning_tokens"),
        audio_input=leaves.audio,
        audio_cache_read=leaves.audio_read,
        audio_output=audio_out,
        image_input=leaves.image,
        image_output=image_out,
        web_searches=count(raw, "web_search_requests"),
        cache_reported=read is not None or total is not None,
    )


def _first(raw: Raw, said: str, *paths: tuple[str, ...]) -> int | None:
    """Return the first count that one of the names below ``said`` states."""
    found = (count(raw, said, *path) for path in paths)
    return next((value for value in found if value is not None), None)


def _prompt(raw: Raw, whole: int | None, said: str, writes: int) -> _Prompt:
    """Return the prompt's leaves; all unknown where cached audio can't be told from cached text."""
    cached = count(raw, said, "cached_tokens") or 0
    audio = count(raw, said, "audio_tokens") or 0
    image = count(raw, said, "image_tokens") or 0
    split = [count(raw, said, "cached_tokens_details", name) for name in _MODALITIES]
    if whole is None:
        stated = [count(raw, said, name) for name in _MODALITIES]
        whole = sum(part or 0 for part in stated) if stated[0] is not None else None
    if cached and audio and split == [None, None, None]:
        return _Prompt(None, None, None, None, None)
    audio_read, image_read = split[1] or 0, split[2] or 0
    if whole is not None:
        # A cached prefix without a split may reach into the images, which cost what text does.
        over = cached + writes + audio - audio_read + image - image_read - whole
        image_read += min(max(over, 0), image - image_read)
    audio, image = less(audio, audio_read) or 0, less(image, image_read) or 0
    uncached = less(whole, cached, writes, audio, image)
    return _Prompt(uncached, less(cached, audio_read), audio, audio_read, image)


def _by_total(usage: Usage, raw: Raw) -> Usage:
    """Return ``usage`` with the answer that the stated total implies, where it implies more."""
    total, prompt = count(raw, "total_tokens"), count(raw, "prompt_tokens")
    if total is None or prompt is None:
        return usage
    if usage.output is None:
        return replace(usage, output=0) if total == prompt else usage
    implied = total - prompt - (usage.audio_output or 0) - (usage.image_output or 0)
    return replace(usage, output=max(usage.output, implied))
