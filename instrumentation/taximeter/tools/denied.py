"""What a policy is, and how it says no."""

from __future__ import annotations

from typing import Any, Protocol


class Denied(PermissionError):
    """A tool call that a policy refused: it did not run, and is recorded as denied."""


class Policy(Protocol):
    """Checks one argument of a tool."""

    def check(self, value: Any) -> Any:
        """Return the value that the tool gets (such as a resolved path). Raises Denied."""
