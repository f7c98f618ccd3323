"""The limits of a run, a request or a session, and how it ends when one is reached. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Final, Literal

from taximeter.settings.numbers import checked_number

OnLimit = Literal["raise", "partial"] | Callable[["LimitReached"], Any]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one agent run, request or session may use; None = no limit."""

    iterations: int | None = None
    """Model decisions; of a request and a session those of all its agents."""
    tool_calls: int | None = None
    tokens: int | None = None
    """Of all kinds, cached included; this and what follows include what sub-agents use."""
    cost_usd: float | None = None
    deadline_s: float | None = None
    """Wall-clock seconds from the start; of a session from its first request in this process."""
    repeats: int | None = None
    """Identical tool calls in a row; the first counts as one."""
    tool_errors: int | None = None
    """Failed tool calls in a row."""
    input_tokens: int | None = None
    """Whole prompts, cached tokens included."""
    output_tokens: int | None = None
    tool_calls_per_turn: int | None = None
    """After one model decision, until the next."""
    cycles: int | None = None
    """How often two or three different tool calls come in the same order (A B A B …); once is one."""
    min_confidence: float | None = None
    """The least that `confidence` may say, from 0 to 1."""
    polling: tuple[str, ...] = ()
    """Tools whose repeats are no repeats, by name or pattern: ``("*_status", "wait")``."""
    unpriced: Literal["bound", "refuse"] = "bound"
    """A model without a price under ``cost_usd``: by the provider's dearest price, or not at all."""
    overshoot: Literal["one_call", "none", "in_flight"] = "one_call"
    """By how much the calls under way may pass ``cost_usd`` and the token limits."""
    on_limit: OnLimit = "raise"
    """``partial``: the run returns its best partial result instead of raising; a function is given
    the `LimitReached` and returns the result: the hand-off to a human."""

    def __post_init__(self) -> None:
        for name, value in self.items():
            checked_number(
                "Limits", name, value, most=1.0 if name == "min_confidence" else math.inf
            )
        polling = () if isinstance(self.polling, str) else tuple(self.polling)
        if isinstance(self.polling, str) or not all(isinstance(name, str) for name in polling):
            raise TypeError(f"Limits(polling={self.polling!r}): give a tuple of names or patterns")
        object.__setattr__(self, "polling", polling)
        for name, words in _WORDS.items():
            if getattr(self, name) not in words:
                raise ValueError(f"Limits({name}={getattr(self, name)!r}): use {_either(words)}")
        if not callable(self.on_limit) and self.on_limit not in ("raise", "partial"):
            raise ValueError(
                f"Limits(on_limit={self.on_limit!r}): use 'raise', 'partial' or a function"
            )

    def items(self) -> list[tuple[str, float]]:
        """Return the limits that are set, by name."""
        return [(name, value) for name in _NUMBERS if (value := getattr(self, name)) is not None]


_WORDS = {"unpriced": ("bound", "refuse"), "overshoot": ("one_call", "none", "in_flight")}
_NUMBERS = tuple(
    field.name for field in fields(Limits) if field.name not in (*_WORDS, "polling", "on_limit")
)
NO_LIMITS = Limits()
CANCELLATIONS: Final = frozenset({"CancelledError", "Cancelled", "GeneratorExit"})
"""What ends a call that nobody waits for any more, of asyncio, trio and a closed coroutine: no failure,
as in the store (sql/ingest/store_spans.sql)."""


def checked_limits(owner: str, limits: object) -> None:
    """Raise TypeError where these are no `Limits`."""
    if not isinstance(limits, Limits):
        raise TypeError(f"{owner}: limits are Limits(…), not {type(limits).__name__}")


def _either(words: tuple[str, ...]) -> str:
    return " or ".join(repr(word) for word in words)


@dataclass(frozen=True, slots=True)
class Used:
    """What a run, request or session had used when it ended."""

    iterations: int
    tool_calls: int
    tokens: int
    cost_usd: float
    unpriced_calls: int
    elapsed_s: float
    unsettled_usd: float = 0.0
    """What calls of unknown cost may have cost: counted in the budget, not in ``cost_usd``."""
    input_tokens: int = 0
    output_tokens: int = 0


class LimitReached(Exception):
    """A run reached a limit and ends here, predictably: reason, what was used, partial result."""

    reason: ClassVar[str] = "unknown"
    """A termination reason of the closed list."""

    def __init__(
        self,
        agent: str,
        limit: float | None,
        used: Used,
        partial: Any = None,
        *,
        level: str = "agent",
        name: str = "",
        why: str = "",
    ) -> None:
        self.agent, self.limit, self.used, self.partial = agent, limit, used, partial
        """``limit`` is None where no number was reached: a hand-off, a guardrail, an open circuit."""
        self.level, self.name, self.why = level, name, why
        """Whose limit it is (``agent``, ``request``, ``session``), which, and what else there is to say."""
        self.run: Any = None
        """The run, request or session whose limit it is; for the shim's own use."""
        said = "" if limit is None else f"{limit:g}"
        said = ": ".join(part for part in (said, why) if part)
        super().__init__(f"{level} {agent!r} reached its limit ({self.reason}: {said})")


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
    """The same tool calls were repeated too often in a row."""

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
