"""Gemini's usage metadata: lists by modality, tool-use prompts and thoughts outside the totals."""

from __future__ import annotations

import re

from taximeter.usage.counts import Raw, count, entries, less
from taximeter.usage.partition import Usage


def gemini(raw: Raw) -> Usage:
    """generateContent: tool-use prompts come on top of the prompt, thoughts on top of the answer.

    Takes the REST names and the Python SDK's; documents, images and video are billed as text.
    https://ai.google.dev/api/generate-content#UsageMetadata
    """
    raw = {_camel(name): value for name, value in raw.items()}
    prompt, tools = count(raw, "promptTokenCount"), count(raw, "toolUsePromptTokenCount") or 0
    cached = count(raw, "cachedContentTokenCount")
    audio_read = min(_modality(raw, "cacheTokensDetails", "AUDIO"), cached or 0)
    said = _modality(raw, "promptTokensDetails", "AUDIO")
    audio = max(said, audio_read) + _modality(raw, "toolUsePromptTokensDetails", "AUDIO")
    answers = ("candidatesTokensDetails", "responseTokensDetails")
    audio_out = sum(_modality(raw, name, "AUDIO") for name in answers)
    image_out = sum(_modality(raw, name, "IMAGE") for name in answers)
    answer = _answer(raw, prompt, tools)
    return Usage(
        uncached_input=None
        if prompt is None
        else less(prompt + tools, cached, audio - audio_read),
        cache_read=less(cached, audio_read) or 0,
        cache_write_short=0,
        cache_write_long=0,
        output=less(answer, audio_out, image_out),
        reasoning=count(raw, "thoughtsTokenCount"),
        audio_input=audio - audio_read,
        audio_cache_read=audio_read,
        audio_output=audio_out,
        image_output=image_out,
        cache_reported=True,
    )  # fmt: skip


def _answer(raw: Raw, prompt: int | None, tools: int) -> int | None:
    """Return candidates and thoughts; zeros are left out, so the total decides what is absent."""
    candidates = count(raw, "candidatesTokenCount")
    if candidates is None:
        candidates = count(raw, "responseTokenCount")
    thoughts, total = count(raw, "thoughtsTokenCount"), count(raw, "totalTokenCount")
    if candidates is None and thoughts is None:
        return total - prompt - tools if total and prompt and total >= prompt + tools else None
    return (candidates or 0) + (thoughts or 0)


def _modality(raw: Raw, field: str, modality: str) -> int:
    of_it = (item for item in entries(raw, field) if _is(item.get("modality"), modality))
    return sum(count(item, "tokenCount") or count(item, "token_count") or 0 for item in of_it)


def _is(stated: object, modality: str) -> bool:
    return str(stated).rsplit(".", 1)[-1].upper() == modality


def _camel(name: str) -> str:
    return re.sub(r"_([a-z])", lambda match: match[1].upper(), name)
