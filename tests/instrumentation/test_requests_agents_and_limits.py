"""Whose a call is, how a run ends, what a tool execution leaves behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest

import taximeter
from taximeter.demo.fake_api import FakeApi
from taximeter.limits import Limits
from taximeter.testing import SpanList


def attributes(spans: SpanList, name: str) -> list[dict[str, Any]]:
    return [dict(span.attributes or {}) for span in spans.named(name)]


def ask(api: FakeApi) -> None:
    client = openai.OpenAI(base_url=api.openai_url, api_key="demo")
    client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "hi"}])


def test_the_iteration_cap_ends_a_run_before_the_call(spans: SpanList, api: FakeApi) -> None:
    @taximeter.agent("looper", version="7", limits=Limits(iterations=2))
    def loop() -> None:
        while True:
            ask(api)

    with taximeter.request() as request, pytest.raises(taximeter.IterationCapReached) as reached:
        loop()
    assert (reached.value.reason, reached.value.used.iterations) == ("iteration_cap", 2)
    (run,) = attributes(spans, "invoke_agent looper")
    assert run["taximeter.termination_reason"] == "iteration_cap"
    assert (run["gen_ai.agent.version"], run["taximeter.limit.iterations"]) == ("7", 2)
    assert [c["taximeter.iteration"] for c in attributes(spans, "chat gpt-4o")] == [1, 2]
    assert (request.loop_length, request.model_calls) == (2, 2)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [(Limits(tokens=1), "token_budget"), (Limits(cost_usd=1e-9), "cost_budget")],
    ids=["tokens", "money"],
)
def test_a_budget_ends_the_run_before_the_next_call(
    spans: SpanList, api: FakeApi, limits: Limits, reason: str
) -> None:
    @taximeter.agent("spender", limits=limits)
    def spend() -> None:
        for _ in range(5):
            ask(api)

    with pytest.raises(taximeter.LimitReached) as reached:
        spend()
    assert (reached.value.reason, reached.value.used.iterations) == (reason, 1)


def test_a_limit_hands_over_the_partial_result(spans: SpanList) -> None:
    @taximeter.tool
    def look(query: str) -> str:
        return query

    @taximeter.agent("half", limits=Limits(tool_calls=2, on_limit="partial"))
    def work() -> str:
        for number in range(9):
            taximeter.partial(look(f"draft {number}"))
        return "done"

    assert work() == "draft 1"
    (run,) = attributes(spans, "invoke_agent half")
    assert run["taximeter.termination_reason"] == "tool_call_cap"


def test_identical_tool_calls_end_as_thrashing(spans: SpanList) -> None:
    @taximeter.tool
    def look(query: str) -> str:
        return query

    @taximeter.agent("stuck", limits=Limits(repeats=3))
    def work() -> None:
        while True:
            look("same")

    with pytest.raises(taximeter.ThrashingDetected):
        work()
    hashes = {a["taximeter.tool.arguments_hash"] for a in attributes(spans, "execute_tool look")}
    assert (len(hashes), len(spans.named("execute_tool look"))) == (1, 3)


def test_failed_tools_in_a_row_end_as_an_error_cascade(spans: SpanList) -> None:
    @taximeter.tool
    def broken(number: int) -> None:
        raise ValueError("no")

    @taximeter.agent("unlucky", limits=Limits(tool_errors=2))
    def work() -> None:
        for number in range(9):
            try:
                broken(number)
            except ValueError:
                continue

    with pytest.raises(taximeter.ErrorCascadeDetected):
        work()


def test_async_and_generator_agents_are_runs_of_the_same_kind(spans: SpanList) -> None:
    @taximeter.agent("coroutine")
    async def one() -> int:
        return 1

    @taximeter.agent("generator")
    def some() -> Iterator[int]:
        yield from (1, 2)

    @taximeter.agent("async-generator")
    async def stream() -> AsyncIterator[int]:
        yield 1
        yield 2

    async def collect() -> list[int]:
        return [item async for item in stream()]

    assert asyncio.run(one()) == 1
    assert list(some()) == [1, 2]
    assert asyncio.run(collect()) == [1, 2]
    for name in ("coroutine", "generator", "async-generator"):
        (run,) = attributes(spans, f"invoke_agent {name}")
        assert run["taximeter.termination_reason"] == "completed"


def test_threads_of_a_pool_stay_in_the_request(spans: SpanList) -> None:
    @taximeter.tool
    def look(query: str) -> str:
        return query

    with ThreadPoolExecutor(2) as pool, taximeter.request(tenant="acme") as request:
        assert list(pool.map(look, ["a", "b"])) == ["a", "b"]
    (root,) = spans.named("request")
    tools = spans.named("execute_tool look")
    assert request.tool_calls == 2
    assert {t.context.trace_id for t in tools} == {root.context.trace_id}
    assert {dict(t.attributes or {})["taximeter.tenant"] for t in tools} == {"acme"}


def test_each_attempt_of_a_retried_tool_is_a_span(
    spans: SpanList, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taximeter.tools._FIRST_BACKOFF_S", 0.001)
    outcomes = iter([TimeoutError("slow"), None])

    @taximeter.tool(name="flaky", retries=2)
    def flaky() -> str:
        if (error := next(outcomes)) is not None:
            raise error
        return "ok"

    assert flaky() == "ok"
    found = attributes(spans, "execute_tool flaky")
    assert [a["taximeter.attempt"] for a in found] == [1, 2]
    assert found[0]["error.type"] == "TimeoutError"


def test_the_host_gets_its_own_exception(spans: SpanList) -> None:
    @taximeter.agent("failing")
    def work() -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        work()
    (run,) = attributes(spans, "invoke_agent failing")
    assert run["taximeter.termination_reason"] == "error"


def test_before_init_functions_run_as_they_are() -> None:
    taximeter.shutdown()

    @taximeter.agent("idle")
    def work() -> int:
        return 3

    with taximeter.request() as request:
        assert work() == 3
    assert request.cost_usd == 0
