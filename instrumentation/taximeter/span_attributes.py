"""Attributes on spans: put at little cost, and stamped on all that start in a part of the program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, Final

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.trace import Span

_CHECKED: Final = frozenset({str, int, float, bool, tuple})
"""What the SDK's check leaves as it is; our tuples hold texts."""

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


def put(span: Span, attributes: Mapping[str, Any]) -> None:
    """Put attributes on a span in a part of the time that `set_attributes` takes.

    The SDK looks at each value anew, which is most of what a span of twenty attributes costs. Here
    their kinds are looked at all at once; others, and those that its limits may cut, go its way,
    as do all where it keeps them otherwise than today.
    """
    kept = getattr(span, "_attributes", None)
    by_name = getattr(kept, "_dict", None)
    if (
        type(kept) is BoundedAttributes
        and type(by_name) is dict
        and kept.max_value_len is None
        and (kept.maxlen is None or len(by_name) + len(attributes) <= kept.maxlen)
        and _CHECKED.issuperset(map(type, attributes.values()))
        and span.is_recording()
    ):
        with kept._lock:
            by_name.update(attributes)
    else:
        span.set_attributes(attributes)
