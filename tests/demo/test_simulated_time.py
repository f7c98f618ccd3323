"""Agents on a stage live through the durations that their script has, in no real time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextvars import copy_context

import anthropic
import pytest

from taximeter.demo import clock
from taximeter.demo.agents.models import connect, models
from taximeter.demo.fake_api import FakeApi
from taximeter.demo.replies import STALL, Fault, Reply, Tokens
from taximeter.demo.stage import Outcome, Script, ToolError, act, act_async, on_stage, together

USAGE = Tokens(uncached_input=10, output=5)
START_NS = 1_700_000_000 * 10**9


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with FakeApi() as running:
        yield running


def seconds_since_start(simulated: clock.SimulatedTime) -> float:
    return (simulated.now_ns - START_NS) / 1e9


def say_hello(**options: bool) -> object:
    message = models().claude.messages.create(
        model="claude-haiku-5-5",
        max_tokens=10,
        messages=[{"role": "user", "content": "hello"}],
        stream=options.get("stream", False),
    )
    return list(message) if isinstance(message, anthropic.Stream) else message


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_call_takes_its_scripted_latency_of_simulated_time(api: FakeApi, stream: bool) -> None:
    script = Script((Reply(text="hi", tokens=USAGE, latency_s=12.5, first_token_s=1.5),))
    connect(api.anthropic_url)
    began = time.monotonic()
    with clock.living_at(START_NS) as simulated, on_stage(script):
        say_hello(stream=stream)
    assert seconds_since_start(simulated) == pytest.approx(12.5, abs=0.01)
    assert time.monotonic() - began < 12  # nobody really waited


def test_retries_take_the_time_that_the_provider_asked_for(api: FakeApi) -> None:
    faults = (Fault(529, retry_after_s=4, after_s=1), Fault(429, retry_after_s=8, after_s=2))
    script = Script((Reply(text="hi", tokens=USAGE, latency_s=3, faults=faults),))
    connect(api.anthropic_url)
    with clock.living_at(START_NS) as simulated, on_stage(script):
        say_hello()
    assert seconds_since_start(simulated) == pytest.approx(4 + 1 + 8 + 2 + 3, abs=0.01)
    assert api.ledger.as_json()["failures"] == {"429": 1, "529": 1}


def test_a_time_out_is_a_real_one_that_is_not_waited_for(api: FakeApi) -> None:
    faults = (Fault(529, 1), Fault(529, 1), Fault(STALL, after_s=60))
    script = Script((Reply(faults=faults),))
    connect(api.anthropic_url)
    with (
        clock.living_at(START_NS) as simulated,
        on_stage(script),
        pytest.raises(anthropic.APITimeoutError),
    ):
        say_hello()
    assert seconds_since_start(simulated) > 60


def test_concurrent_sub_agents_take_as_long_as_the_slowest() -> None:
    async def work() -> str:
        return await act_async()

    branches = tuple(Script(outcomes=(Outcome(f"{s} s", s),)) for s in (5.0, 20.0))
    with (
        clock.living_at(START_NS) as simulated,
        on_stage(Script(branches=branches)),
        asyncio.Runner() as runner,
    ):
        results = runner.run(together([work, work]), context=copy_context())
    assert results == ["5.0 s", "20.0 s"]
    assert seconds_since_start(simulated) == pytest.approx(20, abs=0.01)


def test_a_tool_fails_as_its_script_says() -> None:
    script = Script(outcomes=(Outcome(seconds=2, error="no such order"),))
    with (
        clock.living_at(START_NS),
        on_stage(script),
        pytest.raises(ToolError, match="no such order"),
    ):
        act()


def test_two_looks_at_the_simulated_clock_differ() -> None:
    with clock.living_at(START_NS):
        assert clock.now_ns() < clock.now_ns()
