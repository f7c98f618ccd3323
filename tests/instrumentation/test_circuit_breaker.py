"""A backend that keeps failing is left alone, and what the agent gets meanwhile."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from tests.instrumentation.observed import Time, attempts

import taximeter
from taximeter.runs.limits import Limits
from taximeter.testing import SpanList
from taximeter.tools.breaker import Breaker
from taximeter.tools.retry import (
    Backoff,
)


def state(breaker: Breaker) -> str:
    return breaker.state


def test_the_circuit_opens_lets_one_trial_through_and_closes() -> None:
    clock = Time()
    breaker = Breaker(2, 30, clock=clock)
    for _ in range(2):
        ticket = breaker.enter()
        assert ticket == "call"
        breaker.leave(ticket, TimeoutError())
    assert (state(breaker), breaker.enter()) == ("open", None)
    clock.now += 30
    assert state(breaker) == "half_open"
    assert (breaker.enter(), breaker.enter()) == ("trial", None)
    breaker.leave("trial", TimeoutError())
    assert state(breaker) == "open"
    clock.now += 30
    assert breaker.enter() == "trial"
    breaker.leave("trial", None)
    assert (state(breaker), breaker.enter()) == ("closed", "call")


def test_a_circuit_counts_failures_in_a_row_of_the_backend_only() -> None:
    breaker = Breaker(2, clock=Time())
    for error in (TimeoutError(), None, TimeoutError(), ValueError("bad argument")):
        breaker.leave(breaker.enter() or "call", error)
    assert state(breaker) == "closed"
    breaker.leave(breaker.enter() or "call", TimeoutError())
    assert state(breaker) == "open"


def test_a_trial_that_says_nothing_of_the_backend_leaves_the_circuit_half_open() -> None:
    clock = Time()
    breaker = Breaker(1, 30, clock=clock)
    breaker.leave("call", TimeoutError())
    clock.now += 30
    assert breaker.enter() == "trial"
    breaker.leave("trial", ValueError("bad argument"))
    assert (state(breaker), breaker.enter()) == ("half_open", "trial")


def test_a_call_from_before_the_circuit_opened_does_not_close_it() -> None:
    breaker = Breaker(1, clock=Time())
    old, new = breaker.enter(), breaker.enter()
    assert old and new
    breaker.leave(new, TimeoutError())
    breaker.leave(old, None)
    assert state(breaker) == "open"


def test_a_lost_trial_does_not_block_for_ever() -> None:
    clock = Time()
    breaker = Breaker(1, 30, clock=clock)
    breaker.leave("call", TimeoutError())
    clock.now += 30
    assert breaker.enter() == "trial"
    clock.now += 30
    assert breaker.enter() == "trial"


def test_of_many_threads_one_makes_the_trial() -> None:
    clock = Time()
    breaker = Breaker(1, 30, clock=clock)
    breaker.leave("call", TimeoutError())
    clock.now += 30
    tickets: list[object] = []
    gate = threading.Barrier(8)

    def enter() -> None:
        gate.wait()
        tickets.append(breaker.enter())

    threads = [threading.Thread(target=enter) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, tickets)) == ["None"] * 7 + ["trial"]


@pytest.mark.parametrize(
    ("fallback", "answer"),
    [("search is down", "search is down"), (None, None), (lambda city: f"{city}: unknown", "Bonn: unknown")],
    ids=["value", "None", "callable"],
)  # fmt: skip
def test_while_the_circuit_is_open_the_agent_gets_the_degraded_answer(
    spans: SpanList, fallback: Any, answer: Any
) -> None:
    @taximeter.tool(breaker=Breaker(1, fallback=fallback))
    def weather(city: str) -> str:
        raise TimeoutError("down")

    with pytest.raises(TimeoutError):
        weather("Bonn")
    assert weather("Bonn") == answer
    failed, refused = attempts(spans, "weather")
    assert failed["error.type"] == "TimeoutError"
    assert failed["taximeter.breaker.state"] == refused["taximeter.breaker.state"] == "open"
    assert refused["taximeter.tool.denied"] is True
    assert refused["error.type"] == "circuit_open"


def test_an_async_fallback_is_awaited(spans: SpanList) -> None:
    async def cached(city: str) -> str:
        return f"{city} yesterday"

    breaker = Breaker(1, fallback=cached)

    @taximeter.tool(breaker=breaker, retries=3, backoff=Backoff(first_s=0.0))
    async def weather(city: str) -> str:
        raise TimeoutError("down")

    assert asyncio.run(weather("Bonn")) == "Bonn yesterday"
    assert [a.get("taximeter.tool.denied", False) for a in attempts(spans, "weather")] == [
        False,
        True,
    ]


def test_an_open_circuit_without_an_answer_ends_the_run(spans: SpanList) -> None:
    @taximeter.tool(breaker=Breaker(1))
    def weather() -> str:
        raise TimeoutError("down")

    @taximeter.agent("guide", limits=Limits(on_limit="partial"))
    def guide() -> str:
        taximeter.partial("half an answer")
        with pytest.raises(TimeoutError):
            weather()
        return weather()

    assert guide() == "half an answer"
    (run,) = spans.named("invoke_agent guide")
    assert (run.attributes or {})["taximeter.termination_reason"] == "circuit_open"
    with pytest.raises(taximeter.CircuitOpened):
        weather()
