"""Attributes for every span that starts in a part of the program, whoever starts it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, Final

span_attributes: Final[ContextVar[Mapping[str, Any]]] = ContextVar(
    "taximeter_attributes", default=MappingProxyType({})
)


@contextmanager
def stamped(attributes: Mapping[str, Any]) -> Iterator[None]:
    """Put attributes on the spans that start inside, a model SDK's among them."""
    token = span_attributes.set({**span_attributes.get(), **attributes})
    try:
        yield
    finally:
        span_attributes.reset(token)


def stamped_attributes() -> Mapping[str, Any]:
    """Return what a span that starts now gets."""
    return span_attributes.get()
