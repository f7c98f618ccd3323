"""The usage shapes by name, and the one entrance to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from taximeter.usage.anthropic_shapes import anthropic, bedrock
from taximeter.usage.counts import Raw
from taximeter.usage.gemini_shape import gemini
from taximeter.usage.openai_shapes import (
    deepseek,
    openai_chat,
    openai_realtime,
    openai_responses,
    xai_chat,
)
from taximeter.usage.partition import Usage

SHAPES: Final[dict[str, Callable[[Raw], Usage]]] = {
    "anthropic": anthropic,
    "openai_chat": openai_chat,
    "openai_responses": openai_responses,
    "openai_realtime": openai_realtime,
    "gemini": gemini,
    "bedrock": bedrock,
    "xai_chat": xai_chat,
    "deepseek": deepseek,
}


def normalise_usage(shape: str, raw: Mapping[str, Any]) -> Usage:
    """Return the partition of ``raw``, the provider's usage object.

    Raises ValueError for a shape that is not in SHAPES and for counts that contradict each
    other, TypeError for what is no usage object.

    >>> usage = normalise_usage("openai_chat", {"prompt_tokens": 100, "completion_tokens": 7,
    ...     "prompt_tokens_details": {"cached_tokens": 60}})
    >>> usage.uncached_input, usage.cache_read, usage.output, usage.prompt_tokens
    (40, 60, 7, 100)
    """
    read = SHAPES.get(shape)
    if read is None:
        raise ValueError(f"unknown usage shape {shape!r}; use one of {', '.join(SHAPES)}")
    if type(raw) is not dict and not isinstance(raw, Mapping):
        raise TypeError(f"a usage object has named counts, this is {type(raw).__name__}")
    return read(raw)
