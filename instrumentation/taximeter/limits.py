"""The limits of a run, and how it ends when one is reached. Pure."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

OnLimit = Literal["raise", "partial"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one agent run may use; None = no limit."""

    iterations: int | None = None
    """Model decisions."""
    tool_calls: int | None = None
    tokens: int | None = None
    """Of all kinds, cached included."""
    cost_usd: float | None = None
    deadline_s: float | None = None
    """Wall-clock seconds from the start of the run."""
    repeats: int | None = None
    """Identical tool calls in a row; the first counts as one."""
    tool_errors: int | None = None
    """Failed tool calls in a row."""
    on_limit: OnLimit = "raise"
    """``partial``: the run returns its best partial result instead of raising."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name != "on_limit" and value is not None and value < 0:
                raise ValueError(f"Limits({field.name}={value!r}): a limit is 0 or more")
        if self.on_limit not in ("raise", "partial"):
            raise ValueError(f"Limits(on_limit={self.on_limit!r}): use 'raise' or 'partial'")

    def items(self) -> list[tuple[str, float]]:
        """Return the limits that are set, by name."""
        names = [field.name for field in fields(self) if field.name != "on_limit"]
        return [(name, value) for name in names if (value := getattr(self, name)) is not None]


@dataclass(frozen=True, slots=True)
class Used:
    """What a run had used when it ended."""

    iterations: int
    tool_calls: int
    tokens: int
    cost_usd: float
    unpriced_calls: int
    elapsed_s: float
    unsettled_usd: float = 0.0
    """What streams that broke off may have cost: counted in the budget, not in ``cost_usd``."""


class LimitReached(Exception):
    """A run reached a limit and ends here, predictably: reason, what was used, partial result."""

    reason: ClassVar[str] = "unknown"
    """A termination reason of the closed list."""

    def __init__(
        self, agent: str, limit: float | None, used: Used, partial: Any = None, *, why: str = ""
    ) -> None:
        self.agent, self.limit, self.used, self.partial = agent, limit, used, partial
        """``limit`` is None where no number was reached: a hand-off, a guardrail, an open circuit."""
        self.run: object = None
        """The run whose limit it is; for the shim's own use."""
        said = why or ("" if limit is None else f"{limit:g}")
        super().__init__(f"agent {agent!r} reached its limit ({self.reason}: {said})")


class IterationCapReached(LimitReached):
    """No further model decision."""

    reason = "iteration_cap"


class ToolCallCapReached(LimitReached):
    """No further tool call."""

    reason = "tool_call_cap"


class TokenBudgetReached(LimitReached):
    """The token budget is used up."""

    reason = "token_budget"


class CostBudgetReached(LimitReached):
    """The money is used up."""

    reason = "cost_budget"


class DeadlineReached(LimitReached):
    """The time is over."""

    reason = "deadline"


class ThrashingDetected(LimitReached):
    """The same tool call was repeated too often in a row."""

    reason = "thrashing"


class ErrorCascadeDetected(LimitReached):
    """Too many tool calls failed in a row."""

    reason = "error_cascade"


class LowConfidenceDetected(LimitReached):
    """The run is less sure of its result than it has to be."""

    reason = "low_confidence"


class HandoffRequested(LimitReached):
    """The run gives its task to a human."""

    reason = "handoff"


class GuardrailBlocked(LimitReached):
    """A guardrail refused what came in, what a tool was to do, or what goes out."""

    reason = "guardrail"


class CircuitOpened(LimitReached):
    """What the run needs is out of service."""

    reason = "circuit_open"
