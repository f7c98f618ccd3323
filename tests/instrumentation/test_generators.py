"""Tools and agents that yield: a span lives as long as the generator, and is current in its body alone."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from contextlib import suppress

import pytest
from tests.instrumentation.ledger import stored_runs
from tests.instrumentation.observed import attempts
from tests.instrumentation.yielding import (
    PART_S,
    Source,
    agent_of,
    both,
    is_below,
    lasted,
    numbers,
    pages_async,
    read,
    said,
)

import taximeter
from taximeter import semconv
from taximeter.fingerprint import result_hash
from taximeter.runs.limits import Limits
from taximeter.testing import SpanList
from taximeter.tools.breaker import Breaker
from taximeter.tools.denied import Denied
from taximeter.tools.retry import Backoff
from taximeter_collector.store.store import Store


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
