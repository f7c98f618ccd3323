"""Usage objects whose prompt count includes cached tokens: OpenAI and what speaks its API."""

from __future__ import annotations

from typing import Final, NamedTuple

from taximeter.usage.counts import Raw, count, counts, less, part, written
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
_CACHE_KEYS: Final = {name for path in (*_WRITES, *_SHORT, *_LONG) for name in path[:1]}
_SPLITS: Final = frozenset({*_CACHE_KEYS, "cached_tokens_details"})
_MODALITIES: Final = ("text_tokens", "audio_tokens", "image_tokens")


class _Prompt(NamedTuple):
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
    return usage._replace(output=answer)


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
    told, made = part(raw, said), part(raw, produced)
    whole, answered, searches = counts(raw, prompt, answer, "web_search_requests")
    read, audio_in, image_in = counts(told, "cached_tokens", "audio_tokens", "image_tokens")
    audio_out, image_out, reasoning = counts(
        made, "audio_tokens", "image_tokens", "reasoning_tokens"
    )
    is_text = not (audio_in or image_in or audio_out or image_out) and _SPLITS.isdisjoint(told)
    if is_text and whole is not None:  # and nothing was written: nearly always
        return Usage(
            less(whole, read), read or 0, 0, 0, answered, 0, 0, 0, 0, 0, searches, reasoning,
            cache_reported=read is not None,
        )  # fmt: skip
    total, short, long = None, 0, 0
    if not _CACHE_KEYS.isdisjoint(told):
        total = _first(told, *_WRITES)
        short, long = written(total, _first(told, *_SHORT), _first(told, *_LONG))
    leaves = _prompt(told, whole, read or 0, short + long, audio_in or 0, image_in or 0)
    return Usage(
        uncached_input=leaves.uncached,
        cache_read=leaves.read,
        cache_write_short=short,
        cache_write_long=long,
        output=less(answered, audio_out, image_out),
        reasoning=reasoning,
        audio_input=leaves.audio,
        audio_cache_read=leaves.audio_read,
        audio_output=audio_out or 0,
        image_input=leaves.image,
        image_output=image_out or 0,
        web_searches=searches,
        cache_reported=read is not None or total is not None,
    )


def _first(told: Raw, *paths: tuple[str, ...]) -> int | None:
    """Return the first count that one of the names states."""
    found = (count(told, *path) for path in paths)
    return next((value for value in found if value is not None), None)


def _prompt(
    told: Raw, whole: int | None, cached: int, writes: int, audio: int, image: int
) -> _Prompt:
    """Return the prompt's leaves; all unknown where cached audio can't be told from cached text."""
    if whole is None:
        stated = [count(told, name) for name in _MODALITIES]
        whole = sum(tokens or 0 for tokens in stated) if stated[0] is not None else None
    if not audio and not image and "cached_tokens_details" not in told:
        return _Prompt(less(whole, cached, writes), cached, 0, 0, 0)
    split = [count(told, "cached_tokens_details", name) for name in _MODALITIES]
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
    total, prompt = counts(raw, "total_tokens", "prompt_tokens")
    if total is None or prompt is None:
        return usage
    if usage.output is None:
        return usage._replace(output=0) if total == prompt else usage
    implied = total - prompt - (usage.audio_output or 0) - (usage.image_output or 0)
    return usage._replace(output=implied) if implied > usage.output else usage
