"""Bounds a recorded text, so that what was left out shows. Pure."""

from __future__ import annotations

from typing import Final

DEFAULT_MAX_CHARACTERS: Final = 32_768


def cut(text: str, limit: int) -> str:
    """Return a text of at most ``limit`` characters that says how much of it is left.

    >>> cut("x" * 40_000, 100)[-34:]
    'xx… [cut, 67 of 40,000 characters]'
    """
    if len(text) <= limit:
        return text
    kept = max(0, limit - len(_mark(limit, len(text))))
    return (text[:kept] + _mark(kept, len(text)))[:limit]


def _mark(kept: int, length: int) -> str:
    return f"… [cut, {kept:,} of {length:,} characters]"
