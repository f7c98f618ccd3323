"""Bounds a recorded text, so that what was left out shows. Pure."""

from __future__ import annotations

from typing import Final

DEFAULT_MAX_CHARACTERS: Final = 32_768


def cut(text: str, limit: int, length: int | None = None) -> str:
    """Return a text of at most ``limit`` characters that says how much of it is left.

    ``length`` is that of the whole, where ``text`` is only the beginning of it.

    >>> cut("x" * 40_000, 100)[-34:]
    'xx… [cut, 67 of 40,000 characters]'
    """
    length = len(text) if length is None else length
    if length <= limit:
        return text
    kept = max(0, limit - len(_mark(limit, length)))
    return (text[:kept] + _mark(kept, length))[:limit]


class GrowingText:
    """A text that comes in pieces, of which no more is held than `cut` leaves.

    >>> text = GrowingText(100)
    >>> for _ in range(400):
    ...     text.add("x" * 100)
    >>> text.cut() == cut("x" * 40_000, 100)
    True
    """

    def __init__(self, limit: int) -> None:
        self._limit, self._length = limit, 0
        self._pieces: list[str] = []

    def add(self, piece: str) -> None:
        """Append a piece."""
        if self._length < self._limit:
            self._pieces.append(piece[: self._limit])
        self._length += len(piece)

    def cut(self) -> str:
        """Return what `cut` leaves of the whole."""
        return cut("".join(self._pieces), self._limit, self._length)


def _mark(kept: int, length: int) -> str:
    return f"… [cut, {kept:,} of {length:,} characters]"
