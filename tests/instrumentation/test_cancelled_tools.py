"""However a tool call ends, it has ended: identical calls after it are repeats, here as in the store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from tests.instrumentation.ledger import stored_runs

import taximeter
from taximeter.clients.mcp import wrap_call_tool
from taximeter.runs.limits import Limits
from taximeter.testing import SpanList
from taximeter.tools.breaker import Breaker
from taximeter.tools.denied import Denied
from taximeter.tools.retry import Backoff
from taximeter_collector.store.store import Store

REPEATS = 2
TRIES = 6


class First:
    """Does something at its first call and answers from then on."""

    def __init__(self, first: Callable[[], Any]) -> None:
        self._first: Callable[[], Any] | None = first

    def __call__(self) -> Any:
        first, self._first = self._first, None
        return first() if first is not None else "fine"

    async def wait(self) -> Any:
        answer = self()
        return await answer if isinstance(answer, Awaitable) else answer


def interrupt() -> None:
    raise KeyboardInterrupt


def deny() -> None:
    raise Denied("not you")


@taximeter.agent("sub", limits=Limits(tool_calls=0))
def sub_agent() -> None:
    taximeter.tool(name="inner")(lambda: None)()


PLAIN: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "interrupted": (interrupt, {}),
    "denied in the tool": (deny, {}),
    "a sub-agent's limit": (sub_agent, {}),
    "timed out": (lambda: time.sleep(0.5), {"timeout_s": 0.02}),
    "retried": (
        lambda: time.sleep(0.5),
        {"timeout_s": 0.02, "retries": 1, "backoff": Backoff(0.0)},
    ),
}


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_tools_repeats_are_counted_after_it(
    spans: SpanList, store: Store, name: str
) -> None:
    first, settings = PLAIN[name]
    work = First(first)

    @taximeter.tool(**settings)
    def look(key: str) -> Any:
        return work()

    @taximeter.agent("a", limits=Limits(repeats=REPEATS))
    def run() -> None:
        with suppress(KeyboardInterrupt, OSError, taximeter.ToolCallCapReached):
            look("k")
        for _ in range(TRIES):
            look("k")

    with taximeter.request(), pytest.raises(taximeter.ThrashingDetected):
        run()
    assert most_repeats(spans, store) == REPEATS


async def cancelled(work: Awaitable[Any]) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(work, 0.02)


async def dropped(work: Any) -> None:
    """A coroutine that is closed half-way, as the interpreter does when nobody awaits it any more."""
    work.send(None)
    work.close()


async def failed(work: Awaitable[Any]) -> None:
    with suppress(OSError):
        await work


ASYNC: dict[str, tuple[Callable[[], Any], Callable[[Any], Awaitable[None]], dict[str, Any]]] = {
    "cancelled": (lambda: asyncio.sleep(9), cancelled, {}),
    "dropped": (lambda: asyncio.sleep(0), dropped, {}),
    "timed out": (lambda: asyncio.sleep(9), failed, {"timeout_s": 0.02}),
    "denied in the tool": (deny, failed, {}),
}


@pytest.mark.parametrize("name", ASYNC)
def test_an_async_tools_repeats_are_counted_after_it(
    spans: SpanList, store: Store, name: str
) -> None:
    first, ends, settings = ASYNC[name]
    work = First(first)

    @taximeter.tool(**settings)
    async def look(key: str) -> Any:
        return await work.wait()

    assert thrashes(lambda: look("k"), ends)
    assert most_repeats(spans, store) == REPEATS


@pytest.mark.parametrize("name", ["cancelled", "dropped"])
def test_an_mcp_tools_repeats_are_counted_after_it(
    spans: SpanList, store: Store, name: str
) -> None:
    first, ends, _ = ASYNC[name]
    work = First(first)

    async def call_tool(session: Any, name: str, arguments: Any = None) -> Any:
        return await work.wait()

    wrapped = wrap_call_tool(call_tool, is_native=True)
    assert thrashes(lambda: wrapped(None, "look", {"key": "k"}), ends)
    assert most_repeats(spans, store) == REPEATS


def test_a_call_cancelled_between_two_attempts_has_ended(spans: SpanList) -> None:
    def fail() -> None:
        raise ConnectionError("busy")

    work = First(fail)

    @taximeter.tool(retries=2, backoff=Backoff(first_s=1e6, max_s=1e6))
    async def look(key: str) -> Any:
        return work()

    assert thrashes(lambda: look("k"), cancelled)


def test_calls_that_a_policy_or_an_open_circuit_refused_have_ended(spans: SpanList) -> None:
    def refuse(arguments: Any) -> bool:
        return False

    down = Breaker(1, fallback="down")
    down.leave("call", ConnectionError())
    forbidden = taximeter.tool(name="forbidden", allow=refuse)(lambda key: None)
    broken = taximeter.tool(name="broken", breaker=down)(lambda key: None)
    for look in (forbidden, broken):

        @taximeter.agent("a", limits=Limits(repeats=REPEATS))
        def run(look: Callable[[str], Any] = look) -> None:
            for _ in range(TRIES):
                with suppress(Denied):
                    look("k")

        with pytest.raises(taximeter.ThrashingDetected) as reached:
            run()
        assert reached.value.used.tool_calls == REPEATS


def test_what_was_cancelled_or_refused_neither_adds_to_failures_in_a_row_nor_ends_them(
    spans: SpanList,
) -> None:
    @taximeter.tool
    async def look(key: int) -> None:
        if key == 1:
            await asyncio.sleep(9)
        raise ConnectionError("gone")

    @taximeter.agent("a", limits=Limits(tool_errors=1))
    async def run() -> None:
        for key in range(9):
            with suppress(OSError):
                await asyncio.wait_for(look(key), 0.02)

    with pytest.raises(taximeter.ErrorCascadeDetected) as reached:
        asyncio.run(run())
    assert reached.value.used.tool_calls == 3


def test_a_call_cancelled_after_too_many_failures_is_cancelled(spans: SpanList) -> None:
    """It ended with the limit instead: whoever cancelled it was told that it is not cancelled."""

    @taximeter.tool
    async def look(key: int) -> None:
        if key == 0:
            await asyncio.sleep(9)
        raise ConnectionError("gone")

    @taximeter.agent("a", limits=Limits(tool_errors=1))
    async def run() -> bool:
        waits = asyncio.create_task(look(0))
        await asyncio.sleep(0)
        for key in range(1, 3):
            with suppress(OSError, taximeter.ErrorCascadeDetected):
                await look(key)
        waits.cancel()
        await asyncio.wait([waits])
        return waits.cancelled()

    assert asyncio.run(run())


@pytest.mark.parametrize("is_mcp", [False, True])
def test_a_runs_deadline_is_no_failure_of_the_tool_that_it_ends(
    spans: SpanList, is_mcp: bool
) -> None:
    """An MCP tool's call ended the run as one failure too many."""

    async def work(session: Any, name: str, arguments: Any = None) -> None:
        await asyncio.sleep(9)

    look = wrap_call_tool(work, is_native=True) if is_mcp else taximeter.tool(name="look")(work)

    @taximeter.agent("a", limits=Limits(tool_errors=0, deadline_s=0.05))
    async def run() -> None:
        await look(None, "look", {})

    with pytest.raises(taximeter.DeadlineReached):
        asyncio.run(run())


def thrashes(call: Callable[[], Any], ends: Callable[[Any], Awaitable[None]]) -> bool:
    """Make a call that ends otherwise than well, then the same again; return whether that is stopped."""

    @taximeter.agent("a", limits=Limits(repeats=REPEATS))
    async def run() -> None:
        await ends(call())
        for _ in range(TRIES):
            await call()

    async def ask() -> None:
        async with taximeter.request():
            await run()

    with suppress(taximeter.ThrashingDetected):
        asyncio.run(ask())
        return False
    return True


def most_repeats(spans: SpanList, store: Store) -> int:
    """Return the identical calls in a row that the store shows for agent `a`."""
    runs = stored_runs(spans.spans, store)
    (agent,) = spans.named("invoke_agent a")
    assert agent.context is not None
    return int(runs[f"{agent.context.span_id:016x}"]["max_consecutive_repeat"])
