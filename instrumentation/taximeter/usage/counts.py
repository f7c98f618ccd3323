"""Reading counts out of a provider's usage object: stated or unknown, never assumed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

Raw = Mapping[str, Any]


def count(raw: Any, name: str, *deeper: str) -> int | None:
    """Return the count at a path, None where none is stated. Raises ValueError if negative.

    >>> count({"details": {"cached": 3.0}}, "details", "cached"), count({}, "details", "cached")
    (3, None)
    """
    if type(raw) is dict and not deeper:  # nearly always: a dozen times a model call
        value = raw.get(name)
        if value is None or type(value) is int and value >= 0:
            return value
    value, path = raw, (name, *deeper)
    for step in path:
        if type(value) is not dict and not isinstance(value, Mapping):
            return None
        value = value.get(step)
    if value is None or type(value) is int and value >= 0:
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not math.isfinite(value) or value != int(value):
        return None
    if value < 0:
        raise ValueError(f"{'.'.join(path)} is negative: {value}")
    return int(value)


def counts(raw: Raw, *names: str) -> list[int | None]:
    """Return the `count` of several names: for what every model call does, once instead of a dozen times."""
    found = [raw.get(name) for name in names]
    for value in found:
        if value is not None and (type(value) is not int or value < 0):
            return [count(raw, name) for name in names]
    return found


def part(raw: Raw, name: str) -> Raw:
    """Return the object at ``name``; an empty one where there is none."""
    value = raw.get(name)
    return value if type(value) is dict or isinstance(value, Mapping) else {}


def entries(raw: Raw, name: str) -> Iterator[Raw]:
    """Yield the objects of the list ``name``; nothing where there is none."""
    items = raw.get(name)
    for item in items if isinstance(items, list) else ():
        if isinstance(item, Mapping):
            yield item


def less(whole: int | None, *parts: int | None) -> int | None:
    """Return what is left of ``whole``. Raises ValueError where the parts exceed it."""
    if whole is None:
        return None
    rest = whole
    for part in parts:
        rest -= part or 0
    if rest < 0:
        raise ValueError(f"the parts {parts} exceed the whole {whole}")
    return rest


def written(total: int | None, short: int | None, long: int | None) -> tuple[int, int]:
    """Return (short, long) cache writes; what the split leaves of the total is short.

    >>> written(13_000, 3_000, 10_000), written(5_000, None, 4_000), written(1_000, 0, 0)
    ((3000, 10000), (1000, 4000), (1000, 0))
    """
    return max(short or 0, (total or 0) - (long or 0)), long or 0
