"""Requests, agents, tools: whose a span is, and how a run ends at its limit."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

import anthropic
import pytest
from opentelemetry.sdk.trace import ReadableSpan

import taximeter
from taximeter import semconv
from taximeter.demo.fake_api import FakeApi
from taximeter.testing import SpanList


def attribute(span: ReadableSpan, key: str) -> object:
    return (span.attributes or {}).get(key)


def decide(api: FakeApi) -> None:
    """One model decision."""
    client = anthropic.Anthropic(base_url=api.anthropic_url, api_key="demo")
    client.messages.create(
        model="claude-sonnet-5-5", max_tokens=20, messages=[{"role": "user", "content": "next?"}]
    )


@taximeter.tool
def search(query: str) -> str:
    return f"found {query}"


def test_every_span_of_a_request_says_whose_it_is(spans: SpanList, api: FakeApi) -> None:
    @taximeter.agent("desk", version="7")
    def run() -> None:
        decide(api)
        search("x")

    with taximeter.request(user="u", session="s", tenant="acme", tags=["beta"]) as request:
        run()
    assert len(spans.spans) == 4
    for span in spans.spans:
        assert attribute(span, semconv.USER_ID) == "u"
        assert attribute(span, semconv.SESSION_ID) == "s"
        assert attribute(span, semconv.TENANT) == "acme"
        assert attribute(span, semconv.TAGS) == ("beta",)
    (agent,) = spans.named("invoke_agent desk")
    assert attribute(agent, semconv.AGENT_VERSION) == "7"
    assert attribute(agent, semconv.TERMINATION_REASON) == "completed"
    assert (request.loop_length, request.tool_calls) == (1, 1)


def test_threads_executors_and_tasks_stay_in_the_request(spans: SpanList) -> None:
    async def task() -> None:
        search("task")

    async def tasks() -> None:
        await asyncio.gather(task(), task())

    with taximeter.request(user="u"):
        thread = threading.Thread(target=search, args=("thread",))
        thread.start()
        thread.join()
        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(search, ["a", "b"])) == ["found a", "found b"]
        asyncio.run(tasks())
    traces = {span.context.trace_id for span in spans.spans if span.context}
    assert len(spans.spans) == 6
    assert len(traces) == 1
    assert all(attribute(span, semconv.USER_ID) == "u" for span in spans.spans)


def test_generators_are_runs_too(spans: SpanList) -> None:
    @taximeter.agent("counter")
    def count() -> Iterator[int]:
        search("first")
        yield 1
        yield 2

    @taximeter.agent("async-counter")
    async def count_async() -> AsyncIterator[int]:
        search("second")
        yield 3

    async def collect() -> list[int]:
        return [item async for item in count_async()]

    assert list(count()) == [1, 2]
    assert asyncio.run(collect()) == [3]
    for name, tool in (("counter", "first"), ("async-counter", "second")):
        (agent,) = spans.named(f"invoke_agent {name}")
        assert agent.context is not None
        children = [
            s for s in spans.spans if s.parent and s.parent.span_id == agent.context.span_id
        ]
        assert len(children) == 1, tool


def test_the_iteration_cap_ends_a_loop_with_its_reason(spans: SpanList, api: FakeApi) -> None:
    @taximeter.agent("looper", limits=taximeter.Limits(iterations=3))
    def run() -> None:
        while True:
            decide(api)

    with pytest.raises(taximeter.IterationCapReached) as ended:
        run()
    assert ended.value.reason == "iteration_cap"
    assert ended.value.used.iterations == 3
    assert ended.value.used.cost_usd > 0
    (agent,) = spans.named("invoke_agent looper")
    assert attribute(agent, semconv.TERMINATION_REASON) == "iteration_cap"
    assert attribute(agent, "taximeter.limit.iterations") == 3


def test_a_cost_limit_counts_what_sub_agents_spend(spans: SpanList, api: FakeApi) -> None:
    @taximeter.agent("helper")
    def helper() -> None:
        decide(api)

    @taximeter.agent("lead", limits=taximeter.Limits(cost_usd=0.00001))
    def lead() -> None:
        helper()
        helper()

    with pytest.raises(taximeter.CostBudgetReached):
        lead()


def test_partial_results_are_returned_where_the_limits_say_so(
    spans: SpanList, api: FakeApi
) -> None:
    @taximeter.agent("writer", limits=taximeter.Limits(iterations=1, on_limit="partial"))
    def write() -> str:
        decide(api)
        taximeter.partial("first draft")
        decide(api)
        return "never"

    @taximeter.agent("lister", limits=taximeter.Limits(iterations=1, on_limit="partial"))
    def items() -> Iterator[int]:
        for number in range(5):
            decide(api)
            yield number

    assert write() == "first draft"
    assert list(items()) == [0]


def test_the_same_call_again_and_again_is_thrashing(spans: SpanList) -> None:
    @taximeter.agent("stuck", limits=taximeter.Limits(repeats=3))
    def run() -> None:
        for _ in range(10):
            search("the same")

    with pytest.raises(taximeter.ThrashingDetected):
        run()
    assert len(spans.named("execute_tool search")) == 3


def test_errors_in_a_row_are_a_cascade(spans: SpanList) -> None:
    @taximeter.tool
    def broken(number: int) -> None:
        raise OSError("no")

    @taximeter.agent("unlucky", limits=taximeter.Limits(tool_errors=2))
    def run() -> None:
        for number in range(10):
            try:
                broken(number)
            except OSError:
                continue

    with pytest.raises(taximeter.ErrorCascadeDetected):
        run()
    failed = spans.named("execute_tool broken")
    assert len(failed) == 3
    assert attribute(failed[0], semconv.ERROR_TYPE) == "OSError"


def test_a_deadline_ends_the_run(spans: SpanList) -> None:
    @taximeter.agent("slow", limits=taximeter.Limits(deadline_s=0.01))
    def run() -> None:
        time.sleep(0.02)
        search("too late")

    with pytest.raises(taximeter.DeadlineReached):
        run()


def test_a_tool_is_tried_again_only_where_that_can_help(spans: SpanList) -> None:
    tries: list[str] = []

    @taximeter.tool(retries=2)
    def flaky() -> str:
        tries.append("flaky")
        if len(tries) < 2:
            raise ConnectionError("reset")
        return "ok"

    @taximeter.tool(name="wrong", retries=2)
    def refuses() -> None:
        raise ValueError("bad argument")

    assert flaky() == "ok"
    with pytest.raises(ValueError, match="bad argument"):
        refuses()
    assert [attribute(s, semconv.ATTEMPT) for s in spans.named("execute_tool flaky")] == [1, 2]
    assert len(spans.named("execute_tool wrong")) == 1


def test_a_tool_that_hangs_is_given_up(spans: SpanList) -> None:
    @taximeter.tool(timeout_s=0.05)
    def hangs() -> None:
        time.sleep(0.5)

    @taximeter.tool(timeout_s=0.05)
    async def hangs_async() -> None:
        await asyncio.sleep(5)

    with pytest.raises(TimeoutError):
        hangs()
    with pytest.raises(TimeoutError):
        asyncio.run(hangs_async())


def test_a_wrong_limit_is_refused_when_it_is_written() -> None:
    with pytest.raises(ValueError, match="iterations=-1"):
        taximeter.Limits(iterations=-1)
    with pytest.raises(ValueError, match="on_limit"):
        taximeter.Limits(on_limit="ignore")  # type: ignore[arg-type]
