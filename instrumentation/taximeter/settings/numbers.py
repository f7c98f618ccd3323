"""A number that somebody sets, checked where it is set. Pure."""

from __future__ import annotations

import math


def checked_number(
    owner: str, name: str, value: object, *, least: float = 0.0, most: float = math.inf
) -> None:
    """Raise ValueError where ``value`` is no finite number from ``least`` to ``most``.

    >>> checked_number("Limits", "tokens", "ten")
    Traceback (most recent call last):
    ValueError: Limits(tokens='ten'): give a number, 0 or more
    """
    number = _number(value)
    if number is None or not least <= number <= most:
        bounds = f"{least:g} or more" if most == math.inf else f"from {least:g} to {most:g}"
        raise ValueError(f"{owner}({name}={value!r}): give a number, {bounds}")


def checked_positive(owner: str, name: str, value: object) -> None:
    """Raise ValueError where ``value`` is no finite number above 0."""
    number = _number(value)
    if number is None or number <= 0:
        raise ValueError(f"{owner}({name}={value!r}): give a number above 0")


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if math.isfinite(value) else None
