"""Generators run in parts: what is current in a body is kept between its parts, never its reader's."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, Final

from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.trace import Span, set_span_in_context

from taximeter.runs.current import AgentRun, current_agent, current_request
from taximeter.runs.side_work import side_of
from taximeter.span_attributes import span_attributes

_VARIABLES: Final[tuple[ContextVar[Any], ...]] = (
    current_agent, current_request, side_of, span_attributes,
)  # fmt: skip
Part = Callable[[], AbstractContextManager[None]]


class Inside:
    """``with inside:`` makes current what was current where the ``with`` before ended.

    At first what is current when it is made, and ``span`` in it (and ``run``, where one is given).
    """

    __slots__ = ("_context", "_token", "_tokens", "_values")

    def __init__(self, span: Span, run: AgentRun | None = None) -> None:
        self._context = set_span_in_context(span)
        self._values = [variable.get() for variable in _VARIABLES]
        if run is not None:
            self._values[0] = run
        self._token: Token[Context] | None = None
        self._tokens: list[Token[Any]] = []

    def __enter__(self) -> None:
        self._token = attach(self._context)
        self._tokens = [
            variable.set(value) for variable, value in zip(_VARIABLES, self._values, strict=True)
        ]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        values, context = [variable.get() for variable in _VARIABLES], get_current()
        try:
            for variable, token in zip(_VARIABLES, self._tokens, strict=True):
                variable.reset(token)
        except ValueError:
            return  # nobody waits any more: the interpreter ends it where nothing was made current
        self._values, self._context = values, context
        if self._token is not None:
            detach(self._token)


class _AtYield:
    """What a reader does at the ``yield`` reaches the generator: ``with body: body.send((yield item))``."""

    def __init__(
        self, send: Callable[[Any], Any], throw: Callable[[BaseException], Any], part: Part
    ) -> None:
        self._send, self._throw, self._part = send, throw, part
        self._go: Callable[[], Any] = functools.partial(send, None)
        self.item: Any = None
        """The last item; at the end what a plain generator returned."""

    def send(self, value: Any) -> None:
        """Give the next part what its reader sent."""
        self._go = functools.partial(self._send, value)

    def __enter__(self) -> None:
        """Wait for what its reader does."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """Give the next part what its reader has thrown; where the reader leaves, it leaves."""
        if error is None or isinstance(error, GeneratorExit):
            return False
        self._go = functools.partial(self._throw, error)
        return True


class Body(_AtYield):
    """A generator, run up to its next item at a time."""

    def __init__(
        self,
        items: Generator[Any, Any, Any],
        part: Part = nullcontext,
        check: Callable[[], None] | None = None,
    ) -> None:
        """``part`` gives what each part runs in; ``check`` is called in it, and may raise."""
        super().__init__(items.send, items.throw, part)
        self._items, self._check = items, check

    def next(self) -> bool:
        """Run the next part; return whether it gave an item."""
        with self._part():
            try:
                if self._check is not None:
                    self._check()
                self.item = self._go()
            except StopIteration as stop:
                self.item = stop.value
                return False
        return True

    def close(self) -> None:
        """Let the generator clean up where it has not ended."""
        with self._part():
            self._items.close()


class AsyncBody(_AtYield):
    """An async generator, run up to its next item at a time."""

    def __init__(
        self,
        items: AsyncGenerator[Any, Any],
        part: Part = nullcontext,
        within: Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]] | None = None,
        dropped: Callable[[], None] | None = None,
    ) -> None:
        """``within`` awaits a part; ``dropped`` is called where the interpreter closes nothing."""
        super().__init__(items.asend, items.athrow, part)
        self._items, self._within, self._dropped = items, within, dropped

    async def next(self) -> bool:
        """Run the next part; return whether it gave an item."""
        with self._part():
            try:
                go, within = self._go, self._within
                self.item = await (go() if within is None else within(go))
            except StopAsyncIteration:
                return False
        return True

    async def aclose(self) -> None:
        """Let the generator clean up where it has not ended."""
        try:
            with self._part():
                await self._items.aclose()
        finally:
            self._dropped = None

    def __del__(self) -> None:
        """Its event loop was closed first, so that neither it nor its wrapper could clean up."""
        if self._dropped is not None:
            self._dropped()


def passed_on(body: Body, keep: Callable[[Any], None]) -> Generator[Any, Any, Any]:
    """Yield a body's items, pass on what their reader sends and throws; return what it returns."""
    try:
        while body.next():
            keep(body.item)
            with body:
                body.send((yield body.item))
        return body.item
    finally:
        body.close()
