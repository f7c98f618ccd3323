"""Watches an SDK's stream go by: each item is shown to an observer, the end exactly once."""

from __future__ import annotations

import weakref
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Any, Protocol

from taximeter.guard import guarded


class Observer(Protocol):
    """Sees what a stream yields and how it ends."""

    def item(self, item: Any) -> bool:
        """See an item; return whether the application should see it too."""

    def end(self, error: BaseException | None) -> None:
        """See the end; ``error`` is what broke the stream."""


def observe(stream: Any, observer: Observer) -> None:
    """Put ``observer`` between an SDK's stream object and its reader."""
    ending = _Once(observer)
    inner = stream._iterator
    wrapped = _async(inner, ending) if hasattr(inner, "__anext__") else _plain(inner, ending)
    stream._iterator = wrapped
    close = getattr(stream, "close", None)
    if close is not None:

        def closing(*args: Any, **kwargs: Any) -> Any:
            ending.end(None)
            return close(*args, **kwargs)

        stream.close = closing
    weakref.finalize(stream, ending.end, None)


def observed(items: Any, observer: Observer) -> Any:
    """Return an iterator of what ``items`` yields, plain or asynchronous, that shows it to ``observer``."""
    ending = _Once(observer)
    return _async(items, ending) if hasattr(items, "__anext__") else _plain(items, ending)


class _Once:
    """Passes the first end on, and our faults nowhere; ``with`` it, the end is that of the block."""

    def __init__(self, observer: Observer) -> None:
        self._observer, self._ended = observer, False

    @guarded(default=True)
    def item(self, item: Any) -> bool:
        return self._observer.item(item)

    @guarded(default=None)
    def end(self, error: BaseException | None) -> None:
        if not self._ended:
            self._ended = True
            self._observer.end(error)

    def __enter__(self) -> None:
        """See what follows."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end(None if isinstance(error, GeneratorExit) else error)


def _plain(inner: Iterator[Any], ending: _Once) -> Iterator[Any]:
    with ending:
        for item in inner:
            if ending.item(item):
                yield item


async def _async(inner: AsyncIterator[Any], ending: _Once) -> AsyncIterator[Any]:
    with ending:
        async for item in inner:
            if ending.item(item):
                yield item
