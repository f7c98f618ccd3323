"""Whose a call is, how a run ends, what a tool execution leaves behind."""

from __future__ import annotations

from typing import Any

import openai
import pytest

import taximeter
from taximeter.demo.fake_api import FakeApi
from taximeter.runs.limits import Limits
from taximeter.testing import SpanList
from taximeter.tools.retry import Backoff


def attributes(spans: SpanList, name: str) -> list[dict[str, Any]]:
    return [dict(span.attributes or {}) for span in spans.named(name)]


def ask(api: FakeApi) -> None:
    client = openai.OpenAI(base_url=api.openai_url, api_key="demo")
    client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "hi"}])


@pytest.mark.parametrize(
    ("limits", "reason"),
    [(Limits(tokens=9), "token_budget"), (Limits(cost_usd=1e-5), "cost_budget")],
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


def test_each_attempt_of_a_retried_tool_is_a_span(spans: SpanList) -> None:
    outcomes = iter([TimeoutError("slow"), None])

    @taximeter.tool(name="flaky", retries=2, backoff=Backoff(first_s=0.001))
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
