"""Tools and agents that yield: a span lives as long as the generator, and is current in its body alone."""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import aclosing, suppress
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from tests.instrumentation.ledger import stored_runs
from tests.instrumentation.observed import attempts

import taximeter
from taximeter import semconv
from taximeter.fingerprint import result_hash
from taximeter.runs.current import current_agent, current_request
from taximeter.runs.limits import Limits
from taximeter.testing import SpanList
from taximeter.tools.breaker import Breaker
from taximeter.tools.denied import Denied
from taximeter.tools.retry import Backoff
from taximeter_collector.store.store import Store

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


@both
def test_a_tools_span_lasts_until_its_last_item(spans: SpanList, source: Source) -> None:
    tool = taximeter.tool(name="pages")(source)
    with taximeter.request():
        assert read(tool(3)) == [0, 1, 2]
    (span,) = spans.named("execute_tool pages")
    assert lasted(span) >= 3 * PART_S
    assert said(span)[semconv.TOOL_ITEMS] == 3
    assert said(span)[semconv.RESULT_HASH] == result_hash([0, 1, 2])
    assert semconv.ERROR_TYPE not in said(span)
    assert all(is_below(inner, span) for inner in spans.named("execute_tool look"))


@both
def test_a_tool_stays_the_kind_of_function_that_it_is(source: Source) -> None:
    tool = taximeter.tool(source)
    assert inspect.isgeneratorfunction(tool) == inspect.isgeneratorfunction(source)
    assert inspect.isasyncgenfunction(tool) == inspect.isasyncgenfunction(source)


@both
def test_a_tool_whose_reader_leaves_is_cancelled_and_says_how_much_it_gave(
    spans: SpanList, source: Source
) -> None:
    assert read(taximeter.tool(name="pages")(source)(3), most=2) == [0, 1]
    (found,) = attempts(spans, "pages")
    assert (found[semconv.TOOL_ITEMS], found[semconv.ERROR_TYPE]) == (2, "GeneratorExit")
    assert semconv.RESULT_HASH not in found


@both
@pytest.mark.parametrize(("most", "reason"), [(2, "cancelled"), (9, "completed")])
def test_an_agent_is_completed_unless_its_reader_leaves_before_the_end(
    spans: SpanList, store: Store, source: Source, most: int, reason: str
) -> None:
    with taximeter.request():
        read(agent_of(taximeter.tool(name="pages")(source))(3), most)
    (agent,) = spans.named("invoke_agent pager")
    (tool,) = spans.named("execute_tool pages")
    assert is_below(tool, agent)
    assert said(agent)[semconv.TERMINATION_REASON] == reason
    (run,) = stored_runs(spans.spans, store).values()
    assert run["termination_reason"] == reason
    with store.cursor() as cursor:
        cursor.execute("select count(*) from tool_calls where is_error")
        assert cursor.fetchall() == [(0,)]


@both
def test_what_fails_between_two_items_is_an_error_and_is_not_tried_again(
    spans: SpanList, source: Source
) -> None:
    tool = taximeter.tool(name="pages", retries=3, backoff=Backoff(0.0))(source)
    with pytest.raises(ConnectionError, match="half-way"):
        read(tool(2, ConnectionError("half-way")))
    (found,) = attempts(spans, "pages")
    assert (found[semconv.ERROR_TYPE], found[semconv.TOOL_ITEMS]) == ("ConnectionError", 2)


@both
def test_what_fails_before_the_first_item_is_tried_again(spans: SpanList, source: Source) -> None:
    tool = taximeter.tool(name="pages", retries=2, backoff=Backoff(0.0))(source)
    with pytest.raises(ConnectionError):
        read(tool(0, ConnectionError("no")))
    assert [found[semconv.ATTEMPT] for found in attempts(spans, "pages")] == [1, 2, 3]


def test_failures_while_iterating_are_a_cascade(spans: SpanList) -> None:
    tool = taximeter.tool(numbers)

    @taximeter.agent("unlucky", limits=Limits(tool_errors=1))
    def run() -> None:
        for number in range(1, 9):
            with suppress(OSError):
                list(tool(number, OSError("gone")))

    with pytest.raises(taximeter.ErrorCascadeDetected) as reached:
        run()
    assert reached.value.used.tool_calls == 2


def test_a_call_that_its_reader_left_has_ended_for_the_repeats(spans: SpanList) -> None:
    tool = taximeter.tool(numbers)

    @taximeter.agent("stuck", limits=Limits(repeats=2))
    def run() -> None:
        for _ in range(9):
            read(tool(2), most=1)

    with pytest.raises(taximeter.ThrashingDetected):
        run()
    assert len(attempts(spans, "numbers")) == 2


@both
def test_an_open_circuit_yields_what_its_fallback_says(spans: SpanList, source: Source) -> None:
    down = Breaker(1, fallback=lambda count, error=None: [-1] * count)
    tool = taximeter.tool(name="pages", breaker=down)(source)
    with pytest.raises(ConnectionError):
        read(tool(1, ConnectionError("gone")))
    assert read(tool(2)) == [-1, -1]
    assert [found.get(semconv.TOOL_DENIED) for found in attempts(spans, "pages")] == [None, True]


@both
def test_a_policy_refuses_before_the_first_item(spans: SpanList, source: Source) -> None:
    tool = taximeter.tool(name="pages", allow=lambda arguments: False)(source)
    with pytest.raises(Denied):
        read(tool(2))
    assert attempts(spans, "pages")[0][semconv.TOOL_DENIED] is True


def test_what_cannot_be_done_for_a_generator_is_refused_where_it_is_written() -> None:
    with pytest.raises(TypeError, match="timeout_s can't stop"):
        taximeter.tool(timeout_s=1)(pages)
    with pytest.raises(TypeError, match="fallback must be a list"):
        taximeter.tool(breaker=Breaker(fallback="down"))(pages_async)


def test_a_time_out_counts_the_tools_own_time_and_not_its_readers(spans: SpanList) -> None:
    tool = taximeter.tool(name="pages", timeout_s=3.5 * PART_S)(pages_async)

    async def slowly() -> None:
        found = []
        with pytest.raises(TimeoutError, match=r"within 0\.07 s"):
            async for item in tool(9):
                found.append(item)
                await asyncio.sleep(5 * PART_S)
        assert 1 <= len(found) <= 3

    asyncio.run(slowly())
    assert attempts(spans, "pages")[0][semconv.ERROR_TYPE] == "TimeoutError"


@both
def test_the_runs_deadline_ends_it_between_two_items(spans: SpanList, source: Source) -> None:
    tool = taximeter.tool(name="pages")(source)

    @taximeter.agent("slow", limits=Limits(deadline_s=2.5 * PART_S))
    def run() -> None:
        read(tool(99))

    with pytest.raises(taximeter.DeadlineReached):
        run()
    assert 1 <= attempts(spans, "pages")[0][semconv.TOOL_ITEMS] <= 3


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


def test_one_that_fails_as_it_is_closed_has_failed(spans: SpanList) -> None:
    @taximeter.tool
    def closing() -> Iterator[int]:
        try:
            yield 1
        finally:
            raise OSError("its own")

    left: Any = closing()
    next(left)
    with pytest.raises(OSError, match="its own"):
        left.close()
    assert attempts(spans, "closing")[0][semconv.ERROR_TYPE] == "OSError"


def test_a_coroutine_agent_that_nobody_awaits_any_more_is_cancelled(spans: SpanList) -> None:
    @taximeter.agent("forgotten")
    async def forgotten() -> None:
        await asyncio.sleep(0)

    work: Any = forgotten()
    work.send(None)
    work.close()
    (agent,) = spans.named("invoke_agent forgotten")
    assert said(agent)[semconv.TERMINATION_REASON] == "cancelled"


def test_what_it_yielded_is_its_recorded_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAXIMETER_CAPTURE_CONTENT", "1")
    taximeter.shutdown()
    spans = SpanList()
    taximeter.init(service="tests", span_exporter=spans)

    @taximeter.tool
    def texts(count: int) -> Iterator[str]:
        for _ in range(count):
            yield "x" * 1_000

    for count in (0, 2, 100):
        list(texts(count))
    taximeter.shutdown()
    nothing, short, long = (found[semconv.TOOL_RESULT] for found in attempts(spans, "texts"))
    assert (nothing, short) == ("[]", f'["{"x" * 1_000}", "{"x" * 1_000}"]')
    assert long.endswith("of 100,400 characters]")
