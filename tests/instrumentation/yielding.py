"""Generators to measure, and a reader that checks that nothing of them is current outside."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan

import taximeter
from taximeter.runs.current import current_agent, current_request

PART_S = 0.02
Source = Callable[..., Any]


@taximeter.tool
def look(query: str) -> str:
    return query


def pages(count: int, error: Exception | None = None) -> Iterator[int]:
    for number in range(count):
        time.sleep(PART_S)
        look("x")
        yield number
    if error is not None:
        raise error


async def pages_async(count: int, error: Exception | None = None) -> AsyncIterator[int]:
    for number in range(count):
        await asyncio.sleep(PART_S)
        look("x")
        yield number
    if error is not None:
        raise error


def numbers(count: int, error: Exception | None = None) -> Iterator[int]:
    yield from range(count)
    if error is not None:
        raise error


def read(items: Any, most: int = 99) -> list[Any]:
    """Read so many items of a generator, plain or async, and leave it; nothing of it is current here."""
    outside = current()
    found = []

    async def read_async() -> None:
        async with aclosing(items):
            async for item in items:
                found.append(item)
                assert current() == outside
                if len(found) == most:
                    break

    if hasattr(items, "__aiter__"):
        asyncio.run(read_async())
        return found
    for item in items:
        found.append(item)
        assert current() == outside
        if len(found) == most:
            break
    items.close()
    return found


def current() -> tuple[Any, ...]:
    return trace.get_current_span(), current_agent.get(), current_request.get()


def agent_of(source: Source) -> Source:
    """Return an agent that passes on what the tool yields."""

    @taximeter.agent("pager")
    def pager(count: int) -> Iterator[int]:
        yield from source(count)

    @taximeter.agent("pager")
    async def pager_async(count: int) -> AsyncIterator[int]:
        async with aclosing(source(count)) as items:
            async for item in items:
                yield item

    return pager_async if inspect.isasyncgenfunction(source) else pager


def said(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def lasted(span: ReadableSpan) -> float:
    assert span.start_time is not None
    assert span.end_time is not None
    return (span.end_time - span.start_time) / 1e9


def is_below(child: ReadableSpan, parent: ReadableSpan) -> bool:
    assert parent.context is not None
    return child.parent is not None and child.parent.span_id == parent.context.span_id


both = pytest.mark.parametrize("source", [pages, pages_async], ids=["plain", "async"])
