"""Random runs through the shim and into a store: what the guard counted is what the store shows.

Seconds long: each run makes real SDK calls, and the equality is worth little on a handful of runs.
A thousand: ``GUARD_RUNS=1000 GUARD_SEED=7 pytest tests/instrumentation/test_guard_is_the_ledger.py``.
"""

from __future__ import annotations

import asyncio
import os
import random
from asyncio import CancelledError
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import anthropic
import openai
import pytest
from opentelemetry import trace
from tests.instrumentation.ledger import counted, shown, stored_runs
from tests.instrumentation.models import ASK, CLAUDE, GPT

import taximeter
from taximeter.runs.current import AgentRun, current_agent
from taximeter.runs.limits import Limits, Used
from taximeter.testing import Answer, FakeModel, SpanList
from taximeter_collector.store.store import Store

RUNS = int(os.environ.get("GUARD_RUNS", "150"))
SEED = int(os.environ.get("GUARD_SEED", "8"))
_REASONS = ("iteration_cap", "tool_call_cap", "token_budget", "cost_budget", "thrashing",
            "error_cascade", "low_confidence", "handoff", "completed", "error")  # fmt: skip
_ENDINGS = (None, ConnectionError("no"), taximeter.Denied("not you"), CancelledError(),
            KeyboardInterrupt())  # fmt: skip
"""Of tool calls."""


@dataclass(slots=True)
class Played:
    """What the guard knows of one run."""

    run: AgentRun
    span_id: str
    reason: str = "completed"
    repeats: int = 1
    cycles: int = 0
    used: Used | None = None
    """As the exception tells it, where a limit of the run's own ended it."""

    def see_order(self) -> None:
        self.repeats = max(self.repeats, self.run.order.repeats)
        self.cycles = max(self.cycles, self.run.order.cycles)


@dataclass(slots=True)
class Player:
    """Plays random runs: model calls of three kinds, tools, sub-agents, failures, limits."""

    rng: random.Random
    model: FakeModel
    played: list[Played] = field(default_factory=list)
    claude: anthropic.Anthropic = field(init=False)
    gpt: openai.OpenAI = field(init=False)

    def __post_init__(self) -> None:
        self.model.answers = self._answer
        self.claude, self.gpt = self.model.anthropic(), self.model.openai()

    def _answer(self, body: dict[str, Any]) -> Answer:
        rng = self.rng
        return Answer(
            input_tokens=rng.randrange(1, 900), output_tokens=rng.randrange(1, 200),
            cache_read_tokens=rng.choice((0, 0, 4_000)), cache_write_tokens=rng.choice((0, 0, 700)),
            status=529 if rng.random() < 0.06 else 200,
        )  # fmt: skip

    def run(self, depth: int = 0) -> None:
        """Play one agent run."""

        @taximeter.agent(f"agent-{depth}", limits=self._limits())
        def agent() -> None:
            run = current_agent.get()
            assert run is not None
            span_id = trace.get_current_span().get_span_context().span_id
            mine = Played(run, f"{span_id:016x}")
            self.played.append(mine)
            try:
                self._steps(mine, depth)
            except taximeter.LimitReached as reached:
                mine.reason = reached.reason
                mine.used = reached.used if reached.run is run else None
                if isinstance(reached, taximeter.ErrorCascadeDetected):
                    mine.see_order()  # its call was made; other limits refuse theirs
                raise
            except Exception:
                mine.reason = "error"
                raise

        with suppress(
            taximeter.LimitReached, anthropic.AnthropicError, openai.OpenAIError, OSError
        ):
            agent()

    def _steps(self, mine: Played, depth: int) -> None:
        steps: list[Callable[[], None]] = [self._call, self._call, self._tool, self._tool]
        for _ in range(self.rng.randrange(1, 9)):
            kind = self.rng.random()
            if kind < 0.06 and depth < 2:
                self.run(depth + 1)
            elif kind < 0.07:
                taximeter.handoff("a person should look")
            elif kind < 0.10:
                taximeter.confidence(self.rng.random())
            elif kind < 0.12:
                raise OSError("the agent's own")
            else:
                self.rng.choice(steps)()
            mine.see_order()

    def _call(self) -> None:
        model = self.rng.choice((CLAUDE, CLAUDE, GPT, "home-made"))
        with suppress(anthropic.InternalServerError, openai.InternalServerError):
            if model == CLAUDE:
                self.claude.messages.create(model=model, max_tokens=200, messages=ASK)
            else:
                self.gpt.chat.completions.create(model=model, messages=ASK)

    def _tool(self) -> None:
        name, asked = self.rng.choice("ab"), self.rng.choice(("x", "x", "x", "y"))
        ending = self.rng.choices(_ENDINGS, (75, 15, 5, 3, 2))[0]

        @taximeter.tool(name=name)
        def tool(asked: str) -> str:
            if ending is not None:
                raise ending
            return asked

        with suppress(*map(type, filter(None, _ENDINGS))):
            tool(asked)

    def _limits(self) -> Limits:
        rng = self.rng

        def perhaps(*values: Any) -> Any:
            return rng.choice(values) if rng.random() < 0.25 else None

        return Limits(
            iterations=perhaps(1, 2, 3), tool_calls=perhaps(1, 2), tokens=perhaps(500, 5_000),
            cost_usd=perhaps(0.001, 0.01), repeats=perhaps(1, 2), cycles=perhaps(1, 2),
            tool_errors=perhaps(0, 1), min_confidence=perhaps(0.5), tool_calls_per_turn=perhaps(1, 2),
            on_limit=rng.choice(("raise", "partial")),
        )  # fmt: skip


def test_guard_is_the_ledger(spans: SpanList, store: Store) -> None:
    """Tokens, cost, loop length, tools and reason of every run are what `agent_runs` says."""
    player = Player(random.Random(SEED), FakeModel())
    for number in range(RUNS):
        limits = Limits(cost_usd=0.02) if number % 5 == 0 else Limits()
        with suppress(taximeter.LimitReached), taximeter.request(limits=limits):
            player.run()
    ledger = stored_runs(spans.spans, store)
    assert len(player.played) == len(ledger) >= RUNS
    assert {played.reason for played in player.played} == set(_REASONS)
    for played in player.played:
        assert guarded(played) == told(played, player.played, ledger), played


def guarded(played: Played) -> dict[str, Any]:
    used = played.used or played.run.used()
    return counted(used) | {
        "reason": played.reason,
        "repeats": played.repeats if used.tool_calls else 0,
        "cycles": played.cycles if played.cycles >= 3 else 0,
    }


def told(played: Played, all_played: list[Played], ledger: dict[str, Any]) -> dict[str, Any]:
    row = ledger[played.span_id]
    below = [ledger[other.span_id] for other in all_played if played.run in other.run.levels]
    return shown(row, below) | {
        "reason": row["termination_reason"],
        "repeats": row["max_consecutive_repeat"],
        "cycles": row["cycle_repeats"],
    }


@pytest.mark.parametrize("sdk", ["openai", "anthropic"])
def test_a_cancelled_call_that_is_made_again_is_another_decision(
    spans: SpanList, store: Store, sdk: str
) -> None:
    model = FakeModel(delay_s=0.2)
    seen: list[AgentRun] = []

    @taximeter.agent("a", limits=Limits(iterations=9))
    async def run() -> None:
        def ask() -> Any:
            if sdk == "openai":
                return model.async_openai().chat.completions.create(model=GPT, messages=ASK)
            client = model.async_anthropic()
            return client.messages.create(model=CLAUDE, max_tokens=200, messages=ASK)

        seen.extend(filter(None, [current_agent.get()]))
        for wait_s in (0.05, 0.05, 9):
            with suppress(TimeoutError):
                await asyncio.wait_for(ask(), wait_s)

    async def ask_once() -> None:
        async with taximeter.request():
            await run()

    asyncio.run(ask_once())
    (row,) = stored_runs(spans.spans, store).values()
    assert (seen[0].iterations, row["loop_length"]) == (3, 3)
