"""A function in; out a reader that tells a call's arguments by name, quick where the signature is plain."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final

_PLAIN: Final = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_NOT_SAID: Final = ("self", "cls")

Reader = Callable[[tuple[Any, ...], Mapping[str, Any]], dict[str, Any] | None]


def _unreadable(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    return None


def argument_reader(function: Callable[..., Any]) -> Reader:
    """Return a reader of calls of ``function``; it raises TypeError where a call does not fit.

    Some built-in callables tell no signature: the reader then returns None.

    >>> read = argument_reader(lambda query, top=3: None)
    >>> read(("invoice",), {"top": 5})
    {'query': 'invoice', 'top': 5}
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return _unreadable

    def bound(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        arguments = signature.bind_partial(*args, **kwargs).arguments
        return {name: value for name, value in arguments.items() if name not in _NOT_SAID}

    parameters = signature.parameters.values()
    if any(parameter.kind not in _PLAIN for parameter in parameters):
        return bound
    names = frozenset(signature.parameters)
    places = tuple(p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD)
    if names.intersection(_NOT_SAID):
        return bound

    def matched(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        if len(args) > len(places):
            return bound(args, kwargs)
        arguments = dict(zip(places, args, strict=False))
        if kwargs:
            if not names.issuperset(kwargs) or not arguments.keys().isdisjoint(kwargs):
                return bound(args, kwargs)
            arguments.update(kwargs)
        return arguments

    return matched
