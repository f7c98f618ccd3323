"""An allow-list of values: recipients, tables, channels."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

from taximeter.policies.allow_list import checked_entries
from taximeter.tools.denied import Denied


class Values:
    """Allows values that fit a pattern (``*@example.com``), whatever their case; of a list each."""

    def __init__(self, *patterns: str, what: str = "value") -> None:
        """``what`` names the thing in the refusal: recipient, channel."""
        entries = checked_entries("Values", patterns, "*@example.com")
        self._patterns = [pattern.casefold() for pattern in entries]
        self._what = what

    def check(self, value: Any) -> Any:
        """Return the value. Raises Denied."""
        for item in value if isinstance(value, list | tuple | set | frozenset) else [value]:
            if not self._fits(item):
                raise Denied(f"This {self._what} is not allowed: {str(item)[:100]!r}.")
        return value

    def _fits(self, item: Any) -> bool:
        if not isinstance(item, str):
            return False
        # One mail field can name several recipients, and a line end begins another header.
        if any(sign in item for sign in ",;<> \t\r\n\0") and item.casefold() not in self._patterns:
            return False
        return any(fnmatchcase(item.casefold(), pattern) for pattern in self._patterns)
