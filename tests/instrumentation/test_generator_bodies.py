"""What is current in a generator's body is its own, and it ends however its reader leaves it."""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
import threading
from collections.abc import AsyncGenerator, Generator, Iterator
from typing import Any

import pytest
from tests.instrumentation.yielding import (
    Source,
    agent_of,
    both,
    current,
    is_below,
    look,
    pages,
    read,
    said,
)

import taximeter
from taximeter import semconv
from taximeter.runs.limits import Limits
from taximeter.testing import SpanList


def test_what_a_body_makes_current_stays_its_own_and_is_kept_for_its_next_part(
    spans: SpanList,
) -> None:
    @taximeter.tool
    def nested() -> Iterator[int]:
        with taximeter.request("inner", user="u"):
            yield 1
            look("inside")
            yield 2
        look("outside")
        yield 3

    assert read(nested()) == [1, 2, 3]
    (tool,) = spans.named("execute_tool nested")
    (inner,) = spans.named("inner")
    inside, outside = spans.named("execute_tool look")
    assert is_below(inner, tool)
    assert is_below(inside, inner)
    assert (said(inside)[semconv.USER_ID], semconv.USER_ID in said(outside)) == ("u", False)
    assert is_below(outside, tool)


def test_each_part_may_run_in_another_thread(
    spans: SpanList, caplog: pytest.LogCaptureFixture
) -> None:
    """As a web server that streams a plain generator's items does."""

    @taximeter.agent("streaming", limits=Limits(tool_calls=3))
    def streaming() -> Iterator[int]:
        with taximeter.request("inner"):
            yield from taximeter.tool(pages)(2)
        look("after")
        yield 9

    items, found = streaming(), []

    def one() -> None:
        found.append((next(items, None), current()))

    for _ in range(4):
        thread = threading.Thread(target=one)
        thread.start()
        thread.join()
    assert [item for item, _ in found] == [0, 1, 9, None]
    assert {where for _, where in found} == {current()}
    (agent,) = spans.named("invoke_agent streaming")
    *_, after = spans.named("execute_tool look")
    assert is_below(after, agent)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_agents_that_stream_side_by_side_keep_apart(spans: SpanList) -> None:
    one, other = agent_of(taximeter.tool(pages))(3), agent_of(taximeter.tool(pages))(3)
    assert [*zip(one, other, strict=True)] == [(0, 0), (1, 1), (2, 2)]
    agents, tools = spans.named("invoke_agent pager"), spans.named("execute_tool pages")
    assert all(is_below(tool, agent) for tool, agent in zip(tools, agents, strict=True))


@both
def test_a_generator_that_is_dropped_ends_its_spans(spans: SpanList, source: Source) -> None:
    items: Any = agent_of(taximeter.tool(name="pages")(source))(3)
    if inspect.isasyncgenfunction(source):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(anext(items))
        loop.close()  # nobody is left to close it
    else:
        next(items)
    cycle: list[Any] = [items]
    cycle.append(cycle)
    del items, cycle
    gc.collect()
    (agent,), (tool,) = spans.named("invoke_agent pager"), spans.named("execute_tool pages")
    assert said(agent)[semconv.TERMINATION_REASON] == "cancelled"
    assert (said(tool)[semconv.TOOL_ITEMS], said(tool)[semconv.ERROR_TYPE]) == (1, "GeneratorExit")


def test_one_that_is_dropped_while_its_run_is_locked_ends_all_the_same(spans: SpanList) -> None:
    """The interpreter drops what it likes when it likes: also between two lines of ours."""
    with taximeter.request(limits=Limits(tool_calls=9)) as request:
        items: Any = taximeter.tool(pages)(3)
        next(items)
        with request.lock:
            del items
    assert len(spans.named("execute_tool pages")) == 1


def test_one_that_is_never_asked_for_an_item_is_no_call(spans: SpanList) -> None:
    with taximeter.request() as request:
        taximeter.tool(pages)(3)
    assert (request.tool_calls, len(spans.spans)) == (0, 1)


def cleans_up() -> Generator[str, str, str]:
    try:
        got = yield "ready"
    except KeyError:
        got = "caught"
    try:
        yield got
    finally:
        look("cleaning")
    return "done"


async def cleans_up_async() -> AsyncGenerator[str, str]:
    try:
        got = yield "ready"
    except KeyError:
        got = "caught"
    try:
        yield got
    finally:
        await asyncio.sleep(0)
        look("cleaning")


@pytest.mark.parametrize("is_on", [True, False], ids=["on", "off"])
def test_what_the_reader_sends_and_throws_arrives(spans: SpanList, is_on: bool) -> None:
    if not is_on:
        taximeter.shutdown()
    for decorate in (taximeter.tool, taximeter.agent("a")):
        plain, asynchronous = decorate(cleans_up), decorate(cleans_up_async)
        sent, thrown = plain(), plain()
        assert (next(sent), sent.send("hello")) == ("ready", "hello")
        assert (next(thrown), thrown.throw(KeyError())) == ("ready", "caught")
        with pytest.raises(StopIteration, match="done"):
            next(sent)

        async def talk(source: Any = asynchronous) -> list[str]:
            sent, thrown = source(), source()
            return [
                *(await anext(sent), await sent.asend("hello")),
                *(await anext(thrown), await thrown.athrow(KeyError())),
            ]

        assert asyncio.run(talk()) == ["ready", "hello", "ready", "caught"]


@pytest.mark.parametrize("source", [cleans_up, cleans_up_async], ids=["plain", "async"])
def test_what_a_generator_does_as_it_is_closed_is_part_of_it(
    spans: SpanList, source: Source
) -> None:
    read(taximeter.agent("tidy")(taximeter.tool(name="tidy")(source))(), most=2)
    (tool,), (cleaning,) = spans.named("execute_tool tidy"), spans.named("execute_tool look")
    assert is_below(cleaning, tool)
    assert is_below(tool, spans.named("invoke_agent tidy")[0])


@pytest.mark.parametrize(
    "decorate", [taximeter.tool, taximeter.agent("closing")], ids=["tool", "agent"]
)
def test_one_that_fails_as_it_is_closed_has_failed(spans: SpanList, decorate: Any) -> None:
    def closing() -> Iterator[int]:
        try:
            yield 1
        finally:
            raise OSError("its own")

    left: Any = decorate(closing)()
    next(left)
    with pytest.raises(OSError, match="its own"):
        left.close()
    (span,) = spans.spans
    assert said(span)[semconv.ERROR_TYPE] == "OSError"


def test_a_coroutine_agent_that_nobody_awaits_any_more_is_cancelled(spans: SpanList) -> None:
    @taximeter.agent("forgotten")
    async def forgotten() -> None:
        await asyncio.sleep(0)

    work: Any = forgotten()
    work.send(None)
    work.close()
    (agent,) = spans.named("invoke_agent forgotten")
    assert said(agent)[semconv.TERMINATION_REASON] == "cancelled"
