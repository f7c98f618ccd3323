"""A text that must not be printed: it shows as *** in every message, log line and repr."""

from __future__ import annotations

import hmac


class Secret:
    """Holds a token; only `reveal` gives it back.

    >>> f"{Secret('hunter2')} {Secret('hunter2')!r}"
    '*** ***'
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def matches(self, candidate: str) -> bool:
        """Compare in constant time, so that the answer's delay tells nothing."""
        return hmac.compare_digest(self._text.encode(), candidate.encode())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self.matches(other._text)

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a secret is never serialised")
