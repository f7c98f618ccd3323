"""Deadlines that end what is under way, hand-offs, requests and sessions that end by their limits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anthropic
import openai
import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from tests.instrumentation.models import ASK, CLAUDE, GPT
from tests.telemetry import follow, receive, rows

import taximeter
from taximeter import semconv
from taximeter.guard import faults
from taximeter.runs.current import Session, current_request, seconds_left
from taximeter.runs.limits import LimitReached, Limits
from taximeter.runs.sessions import FORGET_AFTER_S, REMEMBERED, Sessions
from taximeter.testing import FakeModel, FixedClock, SpanList
from taximeter_collector.store.store import Store


def said(spans: SpanList, name: str) -> dict[str, Any]:
    return dict(spans.named(name)[-1].attributes or {})


@pytest.fixture
def told_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[FixedClock]:
    """The shim with a clock that is told the time."""
    monkeypatch.setattr(faults, "reraise", True)
    taximeter.shutdown()
    clock = FixedClock()
    taximeter.init(service="tests", span_exporter=SpanList(), clock=clock)
    yield clock
    taximeter.shutdown()


def test_the_nearest_deadline_counts(told_time: FixedClock) -> None:
    @taximeter.agent("inner", limits=Limits(deadline_s=50))
    def inner() -> float | None:
        told_time.advance(5)
        return seconds_left()

    @taximeter.agent("outer")
    def outer() -> float | None:
        told_time.advance(5)
        return inner()

    assert seconds_left() is None
    assert outer() == pytest.approx(45)
    with taximeter.request(limits=Limits(deadline_s=30)):
        assert outer() == pytest.approx(20)
        told_time.advance(25)
        assert seconds_left() == 0
    with taximeter.request(session="s-left", session_limits=Limits(deadline_s=20)):
        assert seconds_left() == 20


def test_an_attempt_gets_no_more_than_the_time_that_is_left(told_time: FixedClock) -> None:
    model = FakeModel()
    claude, gpt = model.anthropic(), model.openai()
    short = claude.with_options(timeout=7.0)
    none = gpt.with_options(timeout=None)

    @taximeter.agent("hasty", limits=Limits(deadline_s=30))
    def ask() -> None:
        told_time.advance(10)
        for client in (claude, short):
            client.messages.create(model=CLAUDE, max_tokens=9, messages=ASK)
        claude.messages.create(model=CLAUDE, max_tokens=9, messages=ASK, timeout=5)
        for other in (gpt, none):
            other.chat.completions.create(model=GPT, messages=ASK)

    ask()
    assert [asked["read"] for asked in model.timeouts] == pytest.approx([20, 7, 5, 20, 20])
    claude.messages.create(model=CLAUDE, max_tokens=9, messages=ASK)
    assert model.timeouts[-1]["read"] == 600, "no deadline: the SDK's own time-out"


@pytest.mark.parametrize("kind", ["anthropic", "openai"])
def test_a_deadline_ends_an_async_call_under_way(spans: SpanList, kind: str) -> None:
    model = FakeModel(delay_s=30)

    @taximeter.agent("hasty", limits=Limits(deadline_s=0.05))
    async def ask() -> None:
        if kind == "anthropic":
            client = model.async_anthropic()
            await client.messages.create(model=CLAUDE, max_tokens=9, messages=ASK)
        else:
            await model.async_openai().chat.completions.create(model=GPT, messages=ASK)

    began = time.monotonic()
    with pytest.raises(taximeter.DeadlineReached) as reached:
        asyncio.run(ask())
    assert time.monotonic() - began < 10
    assert isinstance(reached.value.__cause__, TimeoutError)
    assert said(spans, "invoke_agent hasty")[semconv.TERMINATION_REASON] == "deadline"


def test_a_time_out_before_the_deadline_stays_what_it_is(spans: SpanList) -> None:
    @taximeter.agent("patient", limits=Limits(deadline_s=600))
    def ask() -> None:
        raise TimeoutError("the agent's own")

    with pytest.raises(TimeoutError, match="the agent's own"):
        ask()


# The hand-off.


def ask_a_person(reached: LimitReached) -> str:
    return f"ticket for {reached.agent}: {reached.reason}, {reached.why}, so far {reached.partial}"


def test_a_handoff_ends_the_run_with_what_the_function_gives(spans: SpanList) -> None:
    limits = Limits(on_limit=ask_a_person)

    @taximeter.agent("desk", limits=limits)
    def plain() -> str:
        taximeter.partial("a draft")
        taximeter.handoff("the customer is angry")

    @taximeter.agent("desk", limits=limits)
    async def task() -> str:
        return plain.__wrapped__()  # type: ignore[attr-defined,no-any-return]

    @taximeter.agent("desk", limits=limits)
    def steps() -> Iterator[str]:
        yield "a draft"
        taximeter.handoff("the customer is angry")

    @taximeter.agent("desk", limits=limits)
    async def async_steps() -> AsyncIterator[str]:
        yield "a draft"
        taximeter.handoff("the customer is angry")

    async def collected() -> list[str]:
        return [item async for item in async_steps()]

    def returned(generator: Any) -> Any:
        return (yield from generator)

    def last(generator: Any) -> Any:
        whole = returned(generator)
        while True:
            try:
                next(whole)
            except StopIteration as stop:
                return stop.value

    wanted = "ticket for desk: handoff, the customer is angry, so far "
    assert plain() == asyncio.run(task()) == wanted + "a draft"
    assert last(steps()) == wanted + "['a draft']"
    assert asyncio.run(collected()) == ["a draft", wanted + "['a draft']"]
    for span in spans.named("invoke_agent desk"):
        assert (span.attributes or {})[semconv.TERMINATION_REASON] == "handoff"
        assert (span.attributes or {})[semconv.ON_LIMIT] == "handoff"
        assert span.status.status_code.name == "UNSET"


def test_the_function_may_be_async(spans: SpanList) -> None:
    async def ask_slowly(reached: LimitReached) -> str:
        await asyncio.sleep(0)
        return f"person: {reached.reason}"

    @taximeter.agent("desk", limits=Limits(iterations=0, on_limit=ask_slowly))
    async def desk() -> str:
        client = FakeModel().async_anthropic()
        await client.messages.create(model=CLAUDE, max_tokens=9, messages=ASK)
        return "never"

    assert asyncio.run(desk()) == "person: iteration_cap"


def test_a_fault_of_the_function_is_the_callers(spans: SpanList) -> None:
    def fails(reached: LimitReached) -> None:
        raise KeyError("no ticket system")

    @taximeter.agent("desk", limits=Limits(on_limit=fails))
    def desk() -> None:
        taximeter.handoff("help")

    with pytest.raises(KeyError):
        desk()
    found = said(spans, "invoke_agent desk")
    assert (found[semconv.TERMINATION_REASON], found["error.type"]) == ("handoff", "KeyError")


def test_a_handoff_without_an_agent_ends_the_request(spans: SpanList) -> None:
    with taximeter.request(limits=Limits(on_limit=ask_a_person)) as request:
        taximeter.handoff("help")
    assert request.result == "ticket for request: handoff, help, so far None"
    assert request.reached_limit is not None and request.reached_limit.reason == "handoff"


# Requests.


def call(model: FakeModel) -> None:
    model.anthropic().messages.create(model=CLAUDE, max_tokens=9, messages=ASK)


def test_a_request_ends_with_its_reason_in_the_store(spans: SpanList, store: Store) -> None:
    """Its limit, what was used and the words reach the page of the request."""
    model = FakeModel()

    @taximeter.agent("worker")
    def work() -> None:
        while True:
            call(model)

    with taximeter.request(limits=Limits(cost_usd=0.0005, on_limit="partial")) as request:
        taximeter.partial("the first page")
        work()
    assert request.result == "the first page"
    receive(store, [("traces", encode_spans(spans.spans).SerializeToString())])
    follow(store)
    assert rows(store, "select termination_reason, is_error from requests") == [
        ("cost_budget", False)
    ]
    assert rows(store, "select termination_reason, loop_length, cost_pico from agent_runs") == [
        ("cost_budget", 2, 600_000_000)
    ]
    found = said(spans, "request")
    assert found["taximeter.limit.cost_usd"] == 0.0005
    assert found["taximeter.used.cost_usd"] == pytest.approx(0.0006)
    assert found[semconv.TERMINATION_DETAIL].startswith("request 'request' reached its limit")


def test_a_request_inside_a_request_is_bound_by_both(spans: SpanList) -> None:
    model = FakeModel()
    with (
        pytest.raises(taximeter.IterationCapReached) as reached,
        taximeter.request("outer", limits=Limits(iterations=2)) as outer,
    ):
        for _ in range(3):
            with taximeter.request("inner", limits=Limits(iterations=5)) as inner:
                call(model)
    assert (reached.value.level, reached.value.agent) == ("request", "outer")
    assert outer.cost_usd == pytest.approx(0.0006)
    assert inner.reached_limit is reached.value
    assert current_request.get() is None


def test_the_runs_own_limits_do_not_swallow_those_above(spans: SpanList) -> None:
    model = FakeModel()

    @taximeter.agent("worker", limits=Limits(iterations=9, on_limit="partial"))
    def work() -> None:
        while True:
            call(model)

    with (
        pytest.raises(taximeter.IterationCapReached),
        taximeter.request(limits=Limits(iterations=2)),
    ):
        work()


def test_polling_is_no_repeat(spans: SpanList) -> None:
    @taximeter.tool
    def job_status(job: str) -> str:
        return "running"

    @taximeter.agent("waiter", limits=Limits(repeats=2, polling=("*_STATUS", "wait")))
    def wait() -> int:
        for _ in range(9):
            job_status("j-1")
        return 9

    assert wait() == 9


# Sessions.


def test_sessions_are_remembered_for_a_while(told_time: FixedClock) -> None:
    known, limits = Sessions(), Limits(cost_usd=1)
    first = known.get("a", limits)
    told_time.advance(FORGET_AFTER_S - 1)
    assert known.get("a", Limits(cost_usd=2)) is first
    assert first.limits.cost_usd == 2
    told_time.advance(FORGET_AFTER_S)
    assert known.get("a", limits) is not first


def test_so_many_sessions_are_remembered(told_time: FixedClock) -> None:
    known, limits = Sessions(), Limits(cost_usd=1)
    first, second = known.get("first", limits), known.get("second", limits)
    for number in range(REMEMBERED - 2):
        known.get(f"s-{number}", limits)
    assert known.get("first", limits) is first
    assert isinstance(known.get("one more", limits), Session)
    assert known.get("first", limits) is first
    assert known.get("second", limits) is not second


def test_limits_that_make_no_sense_are_refused_when_written() -> None:
    with pytest.raises(ValueError, match="session"):
        taximeter.request(session_limits=Limits(cost_usd=1))
    with pytest.raises(TypeError, match="polling"):
        Limits(polling="wait")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="overshoot='some'.*one_call"):
        Limits(overshoot="some")  # type: ignore[arg-type]


def test_a_broken_estimate_costs_nothing_but_the_reservation(
    spans: SpanList, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host is safe: the call is made, and its use is counted."""
    monkeypatch.setattr(faults, "reraise", False)
    monkeypatch.setattr("taximeter.runs.estimates._walk", None)
    model = FakeModel()

    @taximeter.agent("worker", limits=Limits(cost_usd=0.0005))
    def work() -> None:
        while True:
            call(model)

    with pytest.raises(taximeter.CostBudgetReached):
        work()
    assert len(model.bodies) == 2


def test_errors_of_the_sdks_stay_theirs(spans: SpanList) -> None:
    from taximeter.testing import Answer

    model = FakeModel(lambda body: Answer(status=400))

    @taximeter.agent("worker", limits=Limits(cost_usd=1, deadline_s=60))
    def work() -> None:
        with pytest.raises(anthropic.BadRequestError):
            call(model)
        with pytest.raises(openai.BadRequestError):
            model.openai().chat.completions.create(model=GPT, messages=ASK)

    work()
