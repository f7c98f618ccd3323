"""One level that has limits (an agent run, a request, a session): what it has used, what it allows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from threading import RLock
from typing import Any, ClassVar, Final, NamedTuple

from taximeter.runs.limits import (
    NO_LIMITS,
    CostBudgetReached,
    DeadlineReached,
    IterationCapReached,
    LimitReached,
    Limits,
    TokenBudgetReached,
    ToolCallCapReached,
    Used,
)
from taximeter.tools.order import ToolOrder

PICO: Final = 10**12


class Amount(NamedTuple):
    """Tokens and money."""

    input_tokens: int = 0
    output_tokens: int = 0
    pico: int = 0

    def plus(self, other: Amount, times: int = 1) -> Amount:
        """Return the sum; ``times=-1``: the difference."""
        return Amount(
            self.input_tokens + times * other.input_tokens,
            self.output_tokens + times * other.output_tokens,
            self.pico + times * other.pico,
        )

    @property
    def tokens(self) -> int:
        """Of all kinds."""
        return self.input_tokens + self.output_tokens


NOTHING: Final = Amount()


@dataclass(frozen=True, slots=True)
class Ask:
    """What a model call may use, as far as its request tells."""

    least: Amount
    """The prompt, at the fewest tokens and the lowest price that it can have."""
    prompt: Amount
    """The prompt, at the most."""
    output_tokens: int | None
    """The most that the request allows; None where it says nothing."""
    output_pico: int = 0
    """What one token of the answer costs at the most."""
    problem: str = ""
    """Why the call can't be priced, where it can't."""

    def most(self, output_tokens: int) -> Amount:
        """Return all of it, with so long an answer."""
        answer = Amount(0, output_tokens, output_tokens * self.output_pico)
        return self.prompt.plus(answer)


ASSUMED_OUTPUT_TOKENS: Final = 4_096
"""How long an answer is taken to be at the most where neither the request nor an earlier one tells."""


def _seconds() -> float:
    from taximeter import lifecycle  # it knows the tracing, which knows the levels

    return lifecycle.seconds()


@dataclass(slots=True, eq=False)
class Level:
    """Limits and what is used of them; safe to share between threads."""

    KIND: ClassVar[str] = "agent"
    name: str
    limits: Limits = NO_LIMITS
    clock: Callable[[], float] = _seconds
    started: float = 0.0
    iterations: int = 0
    """Model decisions; one that failed and was made again is one."""
    attempts: int = 0
    """Model decisions, each attempt of one: what the cap counts."""
    tool_calls: int = 0
    spent: Amount = NOTHING
    unsettled: Amount = NOTHING
    """What calls of unknown use may have used: in the budgets, never in the cost."""
    held: Amount = NOTHING
    """What the calls under way may use."""
    in_flight: int = 0
    unpriced_calls: int = 0
    """Calls whose cost is not in ``spent`` because a price, or what they used, is unknown."""
    longest_output: int = 0
    longest_call: int = 0
    """Tokens of the longest answer, and of the longest prompt with its answer."""
    failed: dict[Any, int] = field(default_factory=dict, repr=False)
    """When the last call of a kind failed, in Unix nanoseconds: the next is an attempt of the same."""
    order: ToolOrder = field(default_factory=ToolOrder, repr=False)
    partial: Any = None
    """The best result so far; a limit hands it over."""
    lock: RLock = field(
        default_factory=RLock, repr=False
    )  # what is dropped may end while it is held

    def __post_init__(self) -> None:
        self.started = self.clock()

    @property
    def cost_pico(self) -> int:
        """What the priced calls have cost so far."""
        return self.spent.pico

    @property
    def cost_usd(self) -> float:
        """What the priced calls have cost so far."""
        return self.spent.pico / PICO

    def used(self) -> Used:
        """Return what is used, sub-agents included."""
        return Used(
            iterations=self.iterations,
            tool_calls=self.tool_calls,
            tokens=self.spent.tokens,
            cost_usd=self.cost_usd,
            unpriced_calls=self.unpriced_calls,
            unsettled_usd=self.unsettled.pico / PICO,
            elapsed_s=self.clock() - self.started,
            input_tokens=self.spent.input_tokens,
            output_tokens=self.spent.output_tokens,
        )

    def admit_model_call(self, ask: Ask | None, *, is_decision: bool) -> Amount:
        """Count an attempt and hold what the call may use; return that.

        Raises LimitReached where the call is not allowed.
        """
        with self.lock:
            cap = self.limits.iterations if is_decision else None
            if cap is not None and max(self.attempts, self.iterations) >= cap:
                raise self.reached(IterationCapReached, "iterations")
            self._check_budgets()
            most = NOTHING
            if ask is not None:
                most = ask.most(self._longest(ask))
                self._check_room(ask, most)
                self.in_flight += 1
                self.held = self.held.plus(most)
            self.attempts += is_decision
        return most

    def take_back_model_call(self, *, is_decision: bool) -> None:
        """Uncount an attempt that was not made."""
        with self.lock:
            self.attempts -= is_decision

    def release(self, held: Amount) -> None:
        """Give back what a call held."""
        with self.lock:
            self.held = self.held.plus(held, -1)
            self.in_flight -= 1

    def admit_tool_call(self, *, is_own: bool) -> None:
        """Count a tool call; raise LimitReached where one more is not allowed."""
        with self.lock:
            cap = self.limits.tool_calls if is_own else None
            if cap is not None and self.tool_calls >= cap:
                raise self.reached(ToolCallCapReached, "tool_calls")
            self._check_budgets()
            self.tool_calls += is_own

    def take_back_tool_call(self, *, is_own: bool) -> None:
        """Uncount a tool call that was not made."""
        with self.lock:
            self.tool_calls -= is_own

    def note_usage(self, used: Amount, *, is_priced: bool = True, bound_pico: int = 0) -> None:
        """Add a finished model call; ``bound_pico`` is what it may have cost where it has no price."""
        with self.lock:
            self.spent = self.spent.plus(used)
            self.longest_output = max(self.longest_output, used.output_tokens)
            self.longest_call = max(self.longest_call, used.tokens)
            if not is_priced:
                self.unpriced_calls += 1
                self.unsettled = self.unsettled.plus(Amount(pico=bound_pico))

    def note_unsettled(self, most: Amount) -> None:
        """Let a call of unknown use take up budgets by a bound of it."""
        with self.lock:
            self.unsettled = self.unsettled.plus(most)
            self.unpriced_calls += 1

    def take_back_unsettled(self, most: Amount) -> None:
        """Free what a call of unknown use took up, once its use is known."""
        with self.lock:
            self.unsettled = self.unsettled.plus(most, -1)
            self.unpriced_calls -= 1

    def reached(self, kind: type[LimitReached], name: str, why: str = "") -> LimitReached:
        """Return the exception for one of this level's limits."""
        limit, used = getattr(self.limits, name), self.used()
        if kind is CostBudgetReached and used.unsettled_usd:
            guess = (
                f"${used.cost_usd:.4f} is known, ${used.unsettled_usd:.4f} more is the most that"
            )
            guess += f" {used.unpriced_calls} calls without a known cost may have cost"
            why = f"{why}: {guess}" if why else guess
        reached = kind(self.name, limit, used, self.partial, level=self.KIND, name=name, why=why)
        reached.run = self
        return reached

    def _longest(self, ask: Ask) -> int:
        if ask.output_tokens is not None:
            return ask.output_tokens
        return max(ASSUMED_OUTPUT_TOKENS, self.longest_output)

    def _check_budgets(self) -> None:
        """Raise where tokens, money or time are used up."""
        limits = self.limits
        if limits is NO_LIMITS:
            return
        for kind, name, limit, unit in self._budgets():
            if getattr(self.spent, unit) + getattr(self.unsettled, unit) >= limit:
                raise self.reached(kind, name)
        if limits.deadline_s is not None and self.clock() - self.started >= limits.deadline_s:
            raise self.reached(DeadlineReached, "deadline_s")

    def _check_room(self, ask: Ask, most: Amount) -> None:
        """Raise where what the call may use does not fit, as ``overshoot`` says."""
        limits = self.limits
        if limits.cost_usd is not None and ask.problem and limits.unpriced == "refuse":
            raise self.reached(CostBudgetReached, "cost_usd", ask.problem)
        is_strict = limits.overshoot == "none"
        is_alone = not is_strict and (not self.in_flight or limits.overshoot == "in_flight")
        for kind, name, limit, unit in self._budgets():
            if is_strict and ask.output_tokens is None and unit != "input_tokens":
                raise self.reached(kind, name, "the request sets no limit to its answer")
            used = getattr(self.spent, unit) + getattr(self.unsettled, unit)
            held = 0 if is_alone else getattr(self.held, unit)
            needs = getattr(ask.least if is_alone else most, unit)
            if used + held + needs > limit:
                scale = PICO if unit == "pico" else 1
                raise self.reached(
                    kind, name,
                    f"{used / scale:g} used, {held / scale:g} held by calls under way, "
                    f"{needs / scale:g} for the next one",
                )  # fmt: skip

    def _budgets(self) -> Iterator[tuple[type[LimitReached], str, int, str]]:
        """Give each budget that is set: its exception, name, limit and unit of `Amount`."""
        limits = self.limits
        for name in ("tokens", "input_tokens", "output_tokens"):
            if (limit := getattr(limits, name)) is not None:
                yield TokenBudgetReached, name, limit, name
        if limits.cost_usd is not None:
            yield CostBudgetReached, "cost_usd", round(limits.cost_usd * PICO), "pico"
