"""What our decorators can't stand above: refused where it is written, not when it is called."""

from __future__ import annotations


def checked_function(decorator: str, function: object) -> None:
    """Raise TypeError for a method whose own decorator must come last."""
    if isinstance(function, staticmethod | classmethod):
        kind = type(function).__name__
        raise TypeError(f"{decorator}: write @{decorator} below @{kind}, next to the function")
