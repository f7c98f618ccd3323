"""Every limit ends a run by its reason: plain, async, in a thread, in a sub-agent, by a stream, in a generator."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import anthropic
import openai
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from tests.instrumentation.models import ASK, CLAUDE, GPT

import taximeter
from taximeter import semconv
from taximeter.guard import faults
from taximeter.runs.limits import LimitReached, Limits
from taximeter.testing import FakeModel, FixedClock, SpanList

Step = Callable[[], None]


@dataclass(slots=True)
class Agent:
    """An agent at work: one step after the other, for ever."""

    spans: SpanList
    clock: FixedClock
    claude: anthropic.Anthropic
    gpt: openai.OpenAI
    steps: int = 0

    def call(self) -> None:
        self.steps += 1
        self.claude.messages.create(model=CLAUDE, max_tokens=100, messages=ASK)

    def stream(self) -> None:
        self.steps += 1
        stream = self.gpt.chat.completions.create(
            model=GPT, messages=ASK, max_completion_tokens=100, stream=True
        )
        assert [chunk.choices[0].finish_reason for chunk in stream] == [None, None, "stop"]

    def same_tool(self) -> None:
        self.call()
        look("same")

    def two_tools(self) -> None:
        self.call()
        look("ab"[self.steps % 2])

    def many_tools(self) -> None:
        for number in range(9):
            look(f"{self.steps}-{number}")

    def broken_tool(self) -> None:
        self.call()
        with pytest.raises(OSError, match="down"):
            broken(self.steps)

    def doubt(self) -> None:
        self.call()
        taximeter.confidence(0.4)

    def give_up(self) -> None:
        self.call()
        taximeter.handoff("the customer asks for a person")

    def wait(self) -> None:
        self.call()
        self.clock.advance(40)


@taximeter.tool
def look(what: str) -> str:
    return what


@taximeter.tool
def broken(number: int) -> None:
    raise OSError("down")


LIMITS: dict[str, tuple[Limits, str, str, int]] = {
    "iterations": (Limits(iterations=3), "call", "iteration_cap", 3),
    "tool_calls": (Limits(tool_calls=2), "two_tools", "tool_call_cap", 3),
    "tool_calls_per_turn": (Limits(tool_calls_per_turn=4), "many_tools", "tool_call_cap", 0),
    "tokens": (Limits(tokens=300), "call", "token_budget", 3),
    "input_tokens": (Limits(input_tokens=200), "call", "token_budget", 2),
    "output_tokens": (Limits(output_tokens=20), "call", "token_budget", 2),
    "cost_usd": (Limits(cost_usd=0.0006), "call", "cost_budget", 2),
    "deadline_s": (Limits(deadline_s=60), "wait", "deadline", 2),
    "repeats": (Limits(repeats=3), "same_tool", "thrashing", 4),
    "cycles": (Limits(cycles=3), "two_tools", "thrashing", 8),
    "tool_errors": (Limits(tool_errors=2), "broken_tool", "error_cascade", 3),
    "min_confidence": (Limits(min_confidence=0.5), "doubt", "low_confidence", 1),
    "handoff": (Limits(), "give_up", "handoff", 1),
}
"""name → (limits, what the agent does over and over, the reason, model decisions until then)

A fake call is 100 tokens in and 10 out: $0.0003 of Claude Sonnet 5.5.
"""


def plain(step: Step, limits: Limits) -> None:
    @taximeter.agent("it", limits=limits)
    def it() -> None:
        while True:
            step()

    it()


def in_a_task(step: Step, limits: Limits) -> None:
    @taximeter.agent("it", limits=limits)
    async def it() -> None:
        while True:
            step()
            await asyncio.sleep(0)

    asyncio.run(it())


def in_a_thread(step: Step, limits: Limits) -> None:
    """The steps run in threads of the run."""

    @taximeter.agent("it", limits=limits)
    def it() -> None:
        while True:
            raised: list[LimitReached] = []

            def work(raised: list[LimitReached] = raised) -> None:
                try:
                    step()
                except LimitReached as error:
                    raised.append(error)

            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
            if raised:
                raise raised[0]

    it()


def as_a_generator(step: Step, limits: Limits) -> None:
    @taximeter.agent("it", limits=limits)
    def it() -> Iterator[int]:
        while True:
            step()
            yield 1

    list(it())


def as_an_async_generator(step: Step, limits: Limits) -> None:
    @taximeter.agent("it", limits=limits)
    async def it() -> AsyncIterator[int]:
        while True:
            step()
            yield 1

    async def read() -> list[int]:
        return [item async for item in it()]

    asyncio.run(read())


def in_a_request(step: Step, limits: Limits) -> None:
    """The request has the limits, two levels of agents are bound by them."""

    @taximeter.agent("inner")
    def inner() -> None:
        while True:
            step()

    @taximeter.agent("it")
    def it() -> None:
        inner()

    with taximeter.request(limits=limits):
        it()


def in_a_session(step: Step, limits: Limits) -> None:
    """Each step is a request of its own; the session has the limits."""

    @taximeter.agent("it")
    def it() -> None:
        step()

    session = str(uuid4())  # sessions outlive a test, and an id() is given again
    while True:
        with taximeter.request(session=session, session_limits=limits):
            it()


WAYS = {
    way.__name__: way
    for way in (plain, in_a_task, in_a_thread, as_a_generator, as_an_async_generator, in_a_request)
}


@pytest.fixture(scope="module")
def model() -> FakeModel:
    return FakeModel()


@pytest.fixture(scope="module")
def claude(model: FakeModel) -> anthropic.Anthropic:
    return model.anthropic()


@pytest.fixture(scope="module")
def gpt(model: FakeModel) -> openai.OpenAI:
    return model.openai()


@pytest.fixture
def agent(
    claude: anthropic.Anthropic, gpt: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Agent]:
    monkeypatch.setattr(faults, "reraise", True)
    taximeter.shutdown()
    spans, clock = SpanList(), FixedClock()
    taximeter.init(service="tests", span_exporter=spans, clock=clock)
    yield Agent(spans, clock, claude, gpt)
    taximeter.shutdown()


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_ends_the_run_by_its_reason(
    agent: Agent, name: str, way: Callable[[Step, Limits], None]
) -> None:
    limits, work, reason, decisions = LIMITS[name]
    with pytest.raises(LimitReached) as ended:
        way(getattr(agent, work), limits)
    reached = ended.value
    assert (reached.reason, reached.used.iterations) == (reason, decisions)
    (run,) = agent.spans.named("invoke_agent it")
    assert said(run, semconv.TERMINATION_REASON) == reason
    if name != "handoff":
        level = "request" if way is in_a_request else "agent"
        assert said(run, semconv.LIMIT_REACHED) == f"{level}.{name}"
        assert reached.limit == getattr(limits, name)


@pytest.mark.parametrize(
    ("name", "calls"),
    [("iterations", 3), ("tokens", 3), ("input_tokens", 2), ("output_tokens", 2), ("cost_usd", 2),
     ("deadline_s", 2)],
)  # fmt: skip
def test_a_limit_ends_a_session(agent: Agent, name: str, calls: int) -> None:
    """Of many requests, each below the limit by itself."""
    limits, work, reason, _ = LIMITS[name]
    with pytest.raises(LimitReached) as ended:
        in_a_session(getattr(agent, work), limits)
    assert (ended.value.reason, ended.value.level, agent.steps) == (reason, "session", calls + 1)
    last = agent.spans.named("request")[-1]
    assert said(last, semconv.TERMINATION_REASON) == reason
    assert said(last, semconv.LIMIT_REACHED) == f"session.{name}"


@pytest.mark.parametrize("name", ["iterations", "tokens", "output_tokens", "cost_usd"])
def test_a_stream_uses_up_limits_as_an_answer_does(agent: Agent, name: str) -> None:
    limits, _, reason, calls = LIMITS[name]
    if name == "cost_usd":
        limits = replace(limits, cost_usd=0.0008)  # $2.50 and $15 a million
    with pytest.raises(LimitReached) as ended:
        plain(agent.stream, limits)
    assert (ended.value.reason, ended.value.used.iterations) == (reason, calls)


@pytest.mark.parametrize("way", [plain, in_a_task, in_a_request], ids=lambda way: way.__name__)
def test_on_limit_gives_the_result(agent: Agent, way: Callable[[Step, Limits], Any]) -> None:
    given: list[LimitReached] = []

    def step() -> None:
        agent.call()
        taximeter.partial(f"draft {agent.steps}")

    way(step, Limits(iterations=2, on_limit=given.append))
    (reached,) = given
    assert reached.used.iterations == 2
    assert reached.partial == (None if way is in_a_request else "draft 2")
    root = agent.spans.named("request" if way is in_a_request else "invoke_agent it")[-1]
    assert said(root, semconv.TERMINATION_REASON) == "iteration_cap"
    assert said(root, semconv.ON_LIMIT) == "handoff"
    assert root.status.status_code.name == "UNSET"


def said(span: ReadableSpan, key: str) -> object:
    return (span.attributes or {}).get(key)
