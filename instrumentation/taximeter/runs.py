"""The requests and agent runs under way in this context, and what they have used."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Final

from taximeter.limits import (
    CostBudgetReached,
    DeadlineReached,
    ErrorCascadeDetected,
    IterationCapReached,
    LimitReached,
    Limits,
    ThrashingDetected,
    TokenBudgetReached,
    ToolCallCapReached,
    Used,
)

PICO: Final = 10**12


@dataclass(slots=True)
class Request:
    """One request, as ``with taximeter.request() as request`` gives it."""

    name: str
    attributes: dict[str, Any] = field(default_factory=dict)
    """Stamped on every span of the request."""
    cost_pico: int = 0
    unpriced_calls: int = 0
    """Calls whose cost is not in ``cost_usd`` because a price, or what they used, is unknown."""
    model_calls: int = 0
    tool_calls: int = 0
    loop_length: int = 0
    """Model decisions of the longest agent run; without an agent, of the request."""
    own_calls: int = 0
    lock: Lock = field(default_factory=Lock, repr=False)

    @property
    def cost_usd(self) -> float:
        """What the priced calls have cost so far."""
        return self.cost_pico / PICO


@dataclass(slots=True)
class AgentRun:
    """One invocation of an agent."""

    name: str
    limits: Limits
    parent: AgentRun | None
    request: Request | None
    clock: Callable[[], float] = time.monotonic
    started: float = 0.0
    iterations: int = 0
    tool_calls: int = 0
    tokens: int = 0
    cost_pico: int = 0
    unpriced_calls: int = 0
    unsettled_tokens: int = 0
    unsettled_pico: int = 0
    """What streams that broke off may have used: in the budgets, never in the cost."""
    last_call: tuple[str, str | None] | None = None
    repeats: int = 0
    tool_errors: int = 0
    partial: Any = None
    """The best result so far; a limit hands it over."""
    confidence: float | None = None
    lock: Lock = field(default_factory=Lock, repr=False)

    def __post_init__(self) -> None:
        self.started = self.clock()

    def lineage(self) -> list[AgentRun]:
        """Return the run and those it runs under, innermost first."""
        found: list[AgentRun] = []
        run: AgentRun | None = self
        while run is not None:
            found.append(run)
            run = run.parent
        return found

    def used(self) -> Used:
        """Return what the run has used, sub-agents included."""
        return Used(
            iterations=self.iterations,
            tool_calls=self.tool_calls,
            tokens=self.tokens,
            cost_usd=self.cost_pico / PICO,
            unpriced_calls=self.unpriced_calls,
            unsettled_usd=self.unsettled_pico / PICO,
            elapsed_s=self.clock() - self.started,
        )

    def check_model_call(self) -> None:
        """Raise LimitReached where one more model decision is not allowed."""
        if self.limits.iterations is not None and self.iterations >= self.limits.iterations:
            raise self._reached(IterationCapReached, self.limits.iterations)
        self.check_budgets()

    def check_tool_call(self) -> None:
        """Raise LimitReached where one more tool call is not allowed."""
        if self.limits.tool_calls is not None and self.tool_calls >= self.limits.tool_calls:
            raise self._reached(ToolCallCapReached, self.limits.tool_calls)
        self.check_budgets()

    def check_budgets(self) -> None:
        """Raise LimitReached where tokens, money or time are used up."""
        limits = self.limits
        if limits.tokens is not None and self.tokens + self.unsettled_tokens >= limits.tokens:
            raise self._reached(TokenBudgetReached, limits.tokens)
        spent = self.cost_pico + self.unsettled_pico
        if limits.cost_usd is not None and spent >= limits.cost_usd * PICO:
            raise self._reached(CostBudgetReached, limits.cost_usd)
        if limits.deadline_s is not None and self.clock() - self.started >= limits.deadline_s:
            raise self._reached(DeadlineReached, limits.deadline_s)

    def note_tool_call(self, name: str, fingerprint: str | None) -> None:
        """Count a tool call; raise ThrashingDetected where it repeats the last too often."""
        with self.lock:
            self.tool_calls += 1
            same = fingerprint is not None and self.last_call == (name, fingerprint)
            self.repeats = self.repeats + 1 if same else 1
            self.last_call = (name, fingerprint)
        if self.limits.repeats is not None and self.repeats > self.limits.repeats:
            raise self._reached(ThrashingDetected, self.limits.repeats)

    def note_tool_end(self, failed: bool) -> None:
        """Count failures in a row; raise ErrorCascadeDetected where they are too many."""
        with self.lock:
            self.tool_errors = self.tool_errors + 1 if failed else 0
        if self.limits.tool_errors is not None and self.tool_errors > self.limits.tool_errors:
            raise self._reached(ErrorCascadeDetected, self.limits.tool_errors)

    def note_usage(self, tokens: int | None, cost_pico: int | None) -> None:
        """Add a finished model call."""
        with self.lock:
            self.tokens += tokens or 0
            self.cost_pico += cost_pico or 0
            self.unpriced_calls += cost_pico is None

    def note_broken_stream(self, tokens: int, cost_pico: int) -> None:
        """Let a call of unknown cost use up budgets by a bound of what it used."""
        with self.lock:
            self.unsettled_tokens += tokens
            self.unsettled_pico += cost_pico
            self.unpriced_calls += 1

    def _reached(self, kind: type[LimitReached], limit: float) -> LimitReached:
        reached = kind(self.name, limit, self.used(), self.partial)
        reached.run = self
        return reached


current_request: Final[ContextVar[Request | None]] = ContextVar("taximeter_request", default=None)
current_agent: Final[ContextVar[AgentRun | None]] = ContextVar("taximeter_agent", default=None)


def seconds_left() -> float | None:
    """Return the seconds before the nearest deadline of the current run and of those above it.

    0.0 where it is over, None where there is none.
    """
    run = current_agent.get()
    left = [
        level.started + level.limits.deadline_s - level.clock()
        for level in (run.lineage() if run else ())
        if level.limits.deadline_s is not None
    ]
    return max(0.0, min(left)) if left else None


def ending(kind: type[LimitReached], why: str) -> LimitReached:
    """Return the exception that ends the current run for a reason without a number; raise it."""
    run = current_agent.get()
    if run is None:
        return kind("", None, Used(0, 0, 0, 0.0, 0, 0.0), why=why)
    reached = kind(run.name, None, run.used(), run.partial, why=why)
    reached.run = run
    return reached
