"""One field of what an SDK gives: a model, or the JSON it was read from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any


def field(item: Any, name: str) -> Any:
    """Return the field; None where there is none.

    A model's own ``getattr`` for a field that it lacks takes ten times as long.
    """
    if type(item) is dict:
        return item.get(name)
    known = getattr(item, "__dict__", None)
    if known is not None and name in known:
        return known[name]
    if hasattr(type(item), "__pydantic_extra__"):
        return (item.__pydantic_extra__ or {}).get(name)
    return item.get(name) if isinstance(item, Mapping) else getattr(item, name, None)


def reader(item: Any) -> Callable[[str], Any]:
    """Return a `field` of this item, for many names: where they are is looked up once.

    >>> read = reader({"usage": 1})
    >>> read("usage"), read("choices")
    (1, None)
    """
    if type(item) is dict:
        return item.get
    if not hasattr(type(item), "__pydantic_extra__"):
        return partial(field, item)
    extra = item.__pydantic_extra__
    return {**extra, **item.__dict__}.get if extra else item.__dict__.get
